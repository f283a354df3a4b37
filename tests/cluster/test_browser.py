"""The gateway's page, as people use it: in a real browser, while things die."""

import csv
import os
import re

import pytest

from harness import BIN
from http_gateway import Gateway
from processes import wait_for

pytestmark = pytest.mark.browser
TAB, ENTER, SPACE, CONTROL = "\ue004", "\ue007", " ", "\ue009"


@pytest.fixture
def page(gateway, open_browser):
    browser = open_browser().open(gateway)
    browser.wait_for_text("#status", "Live: words")
    return browser


def test_text_that_is_sent_is_seen_within_a_second_of_its_publication(page, gateway):
    for number in (1, 2, 3):
        page.run("""const word = arguments[0];
            window.seen = new Promise((done) => new MutationObserver(() => {
              for (const row of document.querySelectorAll('#words tbody tr'))
                if (row.cells[1].textContent === word) done(Date.now());
            }).observe(document.querySelector('#words'), { subtree: true, childList: true, characterData: true }));""", f"w{number}")
        page.type("#text", f"hello w{number}")
        page.click("#send button")
        seen_ms = page.driver.execute_async_script("window.seen.then(arguments[0])")
        page.wait_for_count("hello", number)

        def published():
            batches = [batch for batch in gateway.ask("GET", "/api/v1/jobs/words/batches?n=100")[2]["batches"] if batch["records"] > 0]
            return len(batches) == number and batches[-1]["published_us"] > 0 and batches[-1]

        batch = wait_for("the batch", published)
        assert seen_ms - (batch["time_ms"] + batch["published_us"] / 1000) < 1000, (seen_ms, batch)
    assert re.fullmatch(r"Counted [\d.]+ m?s after it was sent", page.text("#sent")), page.text("#sent")
    assert page.text("#total") and page.text("#legend").startswith("hello")
    wait_for("totals", lambda: (page.text("#total"), page.text("#unique")) == ("6", "4"))
    wait_for("the engine's latency", lambda: re.fullmatch(r"[\d.]+ m?s", page.text("#engine-latency")))
    assert "the log “text” of this cluster" in page.text("#notice")
    assert not page.faults()


def test_words_are_found_sorted_and_exported(page, gateway, directory):
    gateway.submit('b a b c b a "quo,ted" =1+1')
    page.wait_for_count("b", 3)
    page.wait_for_count('"quo,ted"', 1)
    assert [row[1] for row in page.rows()][:2] == ["b", "a"]
    page.click('[data-sort="word"]')
    assert [row[1] for row in page.rows() if len(row[1]) == 1] == ["a", "b", "c"]
    assert page.find("th:nth-child(2)").get_attribute("aria-sort") == "ascending"
    page.click('[data-sort="word"]')
    assert [row[1] for row in page.rows() if len(row[1]) == 1] == ["c", "b", "a"]
    page.click('[data-sort="count"]')
    page.click('[data-sort="count"]')
    assert [row[1] for row in page.rows()][-1] == "b"
    wait_for("a checkpoint of them", lambda: gateway.ask("GET", "/api/v1/jobs/words/totals")[2].get("keys") == 5)
    page.click("#export")
    wait_for("the file", lambda: os.path.exists(f"{directory}/words.csv"))
    with open(f"{directory}/words.csv", encoding="utf-8", newline="") as file:
        exported = list(csv.reader(file))[1:]
    assert sorted(exported) == sorted([["a", "2"], ["b", "3"], ["c", "1"], ['"quo,ted"', "1"], ["'=1+1", "1"]]), exported
    page.type("#search", "QUO")
    wait_for("what was found", lambda: page.rows() and [row[1] for row in page.rows()] == ['"quo,ted"'])
    page.wait_for_text("#found-said", "1 of 1 found")
    page.type("#search", "x")
    page.wait_for_text("#found", "No word like that")
    assert not page.faults()


def test_a_page_that_pauses_stands_still_and_then_catches_up(page, gateway):
    gateway.submit("a")
    page.wait_for_count("a", 1)
    page.click("#pause")
    assert page.text("#status").startswith("Paused.") and page.find("#pause").get_attribute("aria-pressed") == "true"
    gateway.submit("a b")
    page.wait_for_text("#held", "1 waiting")
    assert page.counts() == {"a": 1} and page.text("#pause") == "Pause"
    page.click("#pause")
    page.wait_for_count("a", 2)
    assert page.counts() == {"a": 2, "b": 1} and "Paused" not in page.text("#status")


def test_a_page_that_refreshes_now_and_then_shows_the_same(page, gateway):
    page.run("""const list = document.querySelector('#refresh'); list.value = '1000'; list.dispatchEvent(new Event('change'));""")
    gateway.submit("a b a")
    page.wait_for_count("a", 2)
    page.wait_for_text("#status", "Refreshed")


def test_the_page_goes_on_while_a_worker_is_killed(page, gateway, words):
    for _ in range(3):
        gateway.submit("again")
    page.wait_for_count("again", 3)
    words.workers[0].kill()
    page.wait_for_text("#health", "1 of 1 ready")
    assert gateway.submit("again")[0] == 200
    page.wait_for_count("again", 4, seconds=60)
    words.workers[0].start()
    page.wait_for_text("#health", "2 of 2 ready")
    assert not page.faults()


def test_the_page_comes_back_when_its_gateway_does_and_says_so(page, gateway):
    gateway.submit("before")
    page.wait_for_count("before", 1)
    gateway.process.kill()
    page.wait_for_text("#status", "Connection lost")
    page.wait_for_text("#health", "it does not answer")
    assert page.counts() == {"before": 1}, "what was known stays"
    gateway.start()
    page.wait_for_text("#status", "Connected again. Live: words")
    gateway.submit("before after")
    page.wait_for_count("after", 1)
    page.wait_for_count("before", 2)
    wait_for("the status of every day", lambda: page.text("#status") == "Live: words")


def odd_words():
    """A thousand, each once."""
    shapes = [
        "שלום{}", "مرحبا{}", "\u202eright{}", "\u2066left{}\u2069", "👩‍👩‍👧‍👦{}", "🏳️‍🌈{}", "e\u0301\u0323{}", "Z" + "\u0335\u0321\u0489" * 40 + "{}", "\u200b{}\u200d",
        "<script>window.hacked=1</script>{}", '<img/src=x/onerror="window.hacked=1">{}', "&lt;b&gt;{}", "'--{}", "${{window.hacked=1}}{}", "javascript:window.hacked=1//{}",
        "日本語{}", "ไทย{}", "𝔘𝔫𝔦{}", "\u00a0{}", "__proto__{}", "W" * 3000 + "{}", "=1+1|{}", "\ufeff{}", "İ{}", "ﷺ{}",
    ]
    fixed = ["__proto__", "constructor", "\u200b", "\u200b\u200d", "\u202e", "<script>window.hacked=1</script>", "</textarea>", "null", "undefined", "\u0301"]
    made = [shapes[number % len(shapes)].format(number) for number in range(1000 - len(fixed))]
    return fixed + made


def test_a_thousand_odd_words_are_shown_as_what_they_are(page, gateway):
    wanted = odd_words()
    assert len(set(wanted)) == 1000
    for begin in range(0, 1000, 100):
        assert gateway.submit(" ".join(wanted[begin : begin + 100]))[0] == 200
    page.wait_for_text("#found", "of 1,000 words", seconds=60)
    while page.find("#more").is_displayed():
        page.run("document.querySelector('#more').click()")
    shown = page.run("return [...document.querySelectorAll('#words .word')].map((word) => word.classList.contains('points') ? [word.textContent] : word.textContent)")
    told = {word for word in shown if isinstance(word, str)}
    points = {word[0] for word in shown if not isinstance(word, str)}
    assert len(shown) == 1000 and told <= set(wanted), sorted(told - set(wanted))[:5]
    assert points == {"U+200B", "U+200B U+200D", "U+202E"}, points
    assert page.run("return window.hacked ?? null") is None
    assert page.run("return document.querySelectorAll('body script, main img').length") == 0
    assert page.run("return document.documentElement.scrollWidth - innerWidth") <= 0
    heights = page.run("return [...document.querySelectorAll('#words tbody tr')].map((row) => row.offsetHeight)")
    assert max(heights) < 60, "a word breaks out of its row"
    assert not page.faults()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_narrow_screen(page, gateway, width):
    gateway.submit("a b a " + "long" * 60)
    page.wait_for_count("a", 2)
    page.resize(width, 800)
    for path in ["#/", "#/console"]:
        page.run("location.hash = arguments[0]", path)
        wait_for("the view", lambda: page.find("#console").is_displayed() == (path == "#/console"))
        wide = page.run("""return [...document.querySelectorAll('body *')].filter((each) => !each.closest('.scroll, .unseen, .skip, svg') &&
            each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 100))""")
        assert page.run("return document.documentElement.scrollWidth") <= width, wide[:5]


def test_everything_can_be_done_by_keyboard(page, gateway):
    gateway.submit("a")
    page.wait_for_count("a", 1)
    reached, unmarked = [], []
    for _ in range(60):
        page.press(TAB)
        name, marked = page.run("""const it = document.activeElement; const style = getComputedStyle(it);
            return [it === document.body ? 'body' : it.id || it.dataset?.sort || it.className || it.textContent.trim(), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]""")
        if name == "body" or name in reached:
            break  # it begins anew
        reached.append(name)
        if not marked:
            unmarked.append(name)
    assert {"skip", "to-console", "job", "key-open", "theme", "shown", "refresh", "pause", "text", "main", "search", "export", "word", "count", "rise"} <= set(reached), reached
    assert not unmarked, f"the focus is not seen on {unmarked}"
    page.run("document.querySelector('#text').focus()")
    page.press("by keyboard")
    page.press(TAB, ENTER)
    page.wait_for_count("keyboard", 1)
    page.run("document.querySelector('#pause').focus()")
    page.press(SPACE)
    assert page.text("#status").startswith("Paused")
    page.press(SPACE)
    page.run("document.querySelector('#key-open').focus()")
    page.press(ENTER)
    assert page.run("return document.activeElement.id") == "key"
    page.press("\ue00c")  # Escape
    assert page.run("return document.activeElement.id") == "key-open" and not page.find("#key-dialog").is_displayed()


@pytest.mark.parametrize("path", ["/", "/#/console"])
def test_nothing_is_in_the_way_of_people_with_disabilities(gateway, open_browser, path):
    gateway.submit("a b a naïve שלום \u200b")
    page = open_browser().open(gateway, path)
    page.wait_for_text("#status", "Live: words")
    page.wait_for_count("a", 2)
    assert page.accessibility() == []
    page.scheme(dark=True)
    page.resize(390, 800)
    assert page.accessibility() == []
    page.click("#key-open")
    assert page.accessibility() == []


def test_the_theme_is_what_was_chosen(page):
    ground = lambda: page.run("return getComputedStyle(document.body).backgroundColor")
    light = ground()
    page.scheme(dark=True)
    dark = ground()
    assert light != dark
    page.click("#theme")
    assert (page.text("#theme"), ground()) == ("Theme: light", light)
    page.click("#theme")
    page.scheme(dark=False)
    assert (page.text("#theme"), ground()) == ("Theme: dark", dark)
    page.driver.refresh()
    assert ground() == dark


def test_a_key_is_asked_for_and_forgotten_with_the_tab(words, directory, open_browser):
    with open(f"{directory}/keys", "w", encoding="utf-8") as file:
        file.write("ann operate 0123456789abcdef\n")
    gateway = Gateway(words, flags=[f"--auth={directory}/keys"]).start()
    page = open_browser().open(gateway)
    page.wait_for_text("#status", "asks for an API key")
    page.click("#key-open")
    page.type("#key", "0123456789abcdef")
    page.press(ENTER)
    page.wait_for_text("#status", "Live: words")
    page.type("#text", "hello")
    page.click("#send button")
    page.wait_for_count("hello", 1)
    stored = page.run("return [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]")
    assert "0123456789abcdef" not in stored[0] + stored[2] and "0123456789abcdef" in stored[1]


def test_words_of_a_window_vanish_when_it_has_passed(words, gateway, open_browser):
    words.submit("recent_words", "recent", "log://text", "none:", "--set", "window=2s", "--set", "slide=1s")
    page = open_browser().open(gateway)
    wait_for("both jobs", lambda: page.run("return document.querySelectorAll('#job option').length") == 2)
    page.run("const list = document.querySelector('#job'); list.value = 'recent'; list.dispatchEvent(new Event('change'));")
    page.wait_for_text("#status", "Live: recent")
    page.driver.refresh()
    page.wait_for_text("#status", "Live: recent")
    gateway.submit("passing by")
    page.wait_for_count("passing", 1)
    wait_for("nothing", lambda: page.rows() == [], seconds=30)
    assert page.find("#bars-empty").is_displayed()


def test_a_job_of_more_words_than_a_rank_has_shows_the_highest_and_finds_the_others(page, gateway, directory):
    for begin in range(0, 3000, 500):
        gateway.submit(" ".join(f"w{number:04} w{number:04}" for number in range(begin, begin + 500)))
    page.driver.refresh()
    page.wait_for_text("#status", "Live: words")
    gateway.submit("w2999 w2999 rare")
    page.wait_for_count("w2999", 4)
    wait_for("all words", lambda: (page.text("#total"), page.text("#unique")) == ("6,003", "3,001"))
    assert page.rows()[0][1] == "w2999" and page.rows()[1][2] == "2"
    assert page.text("#legend").endswith("all others99.7%"), page.text("#legend")
    known = page.text("#found")
    assert known == "100 of 1,001 words, the highest", "one that is not among them is known"
    lowest = sorted(set(f"w{number:04}" for number in range(3000)))[-2]  # ties go by the word, so it is not among the highest
    page.type("#search", lowest)
    wait_for("what the whole table has", lambda: [row[1:3] for row in page.rows()] == [[lowest, "2"]])
    assert "beginning with it among all" in page.text("#found")
    page.run("document.querySelector('#search').value = ''; document.querySelector('#search').dispatchEvent(new Event('input'));")
    page.click("#export")
    page.wait_for_text("#exported", "Exported all words, as of batch")
    wait_for("the file", lambda: os.path.exists(f"{directory}/words.csv"))
    with open(f"{directory}/words.csv", encoding="utf-8", newline="") as file:
        exported = dict(list(csv.reader(file))[1:])
    assert len(exported) == 3001 and exported["w2999"] == "4" and exported["w0000"] == "2"
    page.type("#search", lowest)
    page.click("#export")
    page.wait_for_text("#exported", f"Exported all words that begin with “{lowest}”, as of batch")


def test_a_short_rank_is_no_whole_table_and_of_several_tables_one_is_shown(make_cluster, open_browser, directory):
    cluster = make_cluster(environment={"MILLRACE_ALLOW_JOB_LIBRARIES": "true"}).start()
    cluster.open_log("text")
    cluster.submit(f"{BIN}/../tests/unit/libshort_rank.so", "words", "log://text", "none:")
    gateway = Gateway(cluster).start()
    gateway.submit("aa aa aa aa bb bb bb cc cc d e f")
    page = open_browser().open(gateway)
    page.wait_for_count("cc", 2)
    wait_for("all words", lambda: page.text("#unique") == "6")
    assert page.counts() == {"aa": 4, "bb": 3, "cc": 2}, "the words of the rank"
    page.wait_for_text("#legend", "aa33.3%bb25%cc16.7%")
    assert page.text("#legend").endswith("all others25%")
    gateway.submit("cc d new")
    page.wait_for_count("cc", 3)
    wait_for("all words", lambda: page.text("#unique") == "7")
    assert page.counts() == {"aa": 4, "bb": 3, "cc": 3, "d": 2}, "what changes is of the same table, and what may not be among the highest is not taken"
    page.type("#search", "new")
    wait_for("one that is not in the rank", lambda: [row[1:3] for row in page.rows()] == [["new", "1"]])
    page.click("#export")
    page.wait_for_text("#exported", "Exported all words that begin with “new”")
    wait_for("the file", lambda: os.path.exists(f"{directory}/words.csv"))
    with open(f"{directory}/words.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["key", "value"], ["new", "1"]]
    assert not page.faults()
