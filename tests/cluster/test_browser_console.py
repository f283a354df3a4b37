"""The console of the gateway's page, in a real browser."""

import pytest

from http_gateway import Gateway
from processes import wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def console(gateway, open_browser):
    page = open_browser(height=1600).open(gateway, "/#/console")
    page.wait_for_text("#status", "Live: words")
    return page


def test_the_console_shows_a_job_from_its_log_to_its_sink(console, gateway, words):
    words.cli("append", "log://text", stdin=b"good\n\xff\xfe\n", text=False)
    for number in range(5):
        assert gateway.submit(f"a w{number}")[0] == 200
    wait_for("the job", lambda: console.rows("#jobs")[0][:3] == ["words", "running", "7"])
    assert [row[1:3] for row in console.rows("#workers")] == [["ready", "2"]] * 2
    wait_for("partitions", lambda: sum(int(row[4]) for row in console.rows("#workers")) == 64)
    wait_for("the waterfall", lambda: {"wait", "map", "reduce", "report"} <= {row[0] for row in console.rows("#waterfall")})
    wait_for("a checkpoint", lambda: console.rows("#checkpoints"))
    wait_for("nothing behind", lambda: [row[3] for row in console.rows("#lag")] == ["0"] * 4)
    wait_for("the dead letter", lambda: len(console.rows("#letters")) == 1 and "UTF-8" in console.rows("#letters")[0][1])
    assert "log://text" in console.text("#plan") and "word_count" in console.text("#plan")
    assert "64 state partitions are there" in console.text("#recovery")
    batches = gateway.ask("GET", "/api/v1/jobs/words/batches?n=100")[2]["batches"]
    wait_for("the timeline", lambda: console.run("return document.querySelectorAll('#timeline rect').length") == 3 * (len(batches) - 1))
    console.run("""const list = document.querySelector('#batch'); list.value = arguments[0]; list.dispatchEvent(new Event('change'));""", str(batches[-1]["batch"]))
    assert console.text("#waterfall-title").startswith(f"Batch {batches[-1]['batch']}:")
    assert console.accessibility() == []
    assert not console.faults()


def test_a_job_is_stopped_and_resumed(console, gateway):
    console.click('#jobs button[data-action="stop"]')
    console.wait_for_text("#done", "words is stopped")
    console.wait_for_text("#status", "the job is stopped")
    console.click('#jobs button[data-action="resume"]')
    console.wait_for_text("#done", "words is running")
    gateway.submit("again")
    wait_for("that it goes on", lambda: console.rows("#jobs")[0][2] == "1")
    console.wait_for_text("#status", "Live: words")


def test_who_may_only_read_cannot_stop_anything(words, directory, open_browser):
    with open(f"{directory}/keys", "w", encoding="utf-8") as file:
        file.write("ann read 0123456789abcdef\n")
    gateway = Gateway(words, flags=[f"--auth={directory}/keys"]).start()
    page = open_browser().open(gateway, "/#/console")
    page.wait_for_text("#access", "asks for an API key")
    page.click("#key-open")
    page.type("#key", "0123456789abcdef\n")
    page.wait_for_text("#access", "may read, not stop or resume")
    wait_for("the job", lambda: page.rows("#jobs"))
    assert not page.find("#jobs button").is_enabled()


def test_a_worker_that_dies_is_seen_and_what_it_held_comes_back(console, words):
    words.workers[0].kill()
    wait_for("one worker", lambda: len(console.rows("#workers")) == 1 and console.rows("#workers")[0][4] == "64", seconds=60)
    console.wait_for_text("#recovery", "All 64 state partitions are there")
    words.workers[0].start()
    wait_for("two workers", lambda: [row[1] for row in console.rows("#workers")] == ["ready"] * 2)


def test_a_master_that_is_away_is_told(console, words):
    words.master.kill()
    console.wait_for_text("#problems", "does not answer")
    assert len(console.rows("#jobs")) == 1, "what was known stays"
    words.master.start()
    wait_for("no problem", lambda: not console.find("#problems").is_displayed())
