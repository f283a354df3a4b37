"""What the gateway's page says of jobs and clusters that come and go, in a real browser: it stops saying so, too."""

import json
import os
import signal

import pytest

from processes import wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def page(gateway, open_browser):
    """Of a job in which nothing changes."""
    browser = open_browser().open(gateway, "/#/?job=words")
    browser.wait_for_text("#status", "Live: words")
    gateway.submit("before")
    browser.wait_for_count("before", 1)
    return browser


def signal_workers(words, number):
    """Without them no batch comes, and the stream is silent."""
    for worker in words.workers:
        os.killpg(worker.pid, number)  # its executors, too


def goes_on(page, gateway):
    page.wait_for_text("#status", "Live: words", seconds=40)
    assert gateway.submit("after")[0] == 200
    page.wait_for_count("after", 1)
    wait_for("the status of every day", lambda: page.text("#status") == "Live: words")
    assert page.counts() == {"before": 1, "after": 1} and not page.faults()


def test_a_master_that_was_killed_and_is_there_again_is_not_missed_any_more(page, gateway, words):
    words.master.kill()
    page.wait_for_text("#status", "Connection lost")
    words.master.start()
    goes_on(page, gateway)


def answer(page, path, function="window.asked"):
    """Has what the page asks of a path answered by a function of JavaScript; without one, by the gateway."""
    page.run(f"""window.asked ??= window.fetch;
        window.fetch = (path, options) => (path.split('?')[0] === '{path}' ? {function} : window.asked)(path, options)""")


def refusal(status, detail):
    return f"(async () => Response.json({{ detail: '{detail}' }}, {{ status: {status} }}))"


NOTHING = "(() => Promise.reject(new TypeError('no network')))"


def test_a_look_at_the_cluster_that_failed_is_forgotten_though_nothing_changes(page, gateway, words):
    signal_workers(words, signal.SIGSTOP)
    answer(page, "/api/v1/jobs", NOTHING)
    page.wait_for_text("#status", "Connection lost")
    answer(page, "/api/v1/jobs")
    page.wait_for_text("#status", "Live: words")
    signal_workers(words, signal.SIGCONT)
    goes_on(page, gateway)


def test_a_job_that_was_stopped_and_goes_on_is_shown_as_live(page, gateway, words):
    words.cli("stop", "words")
    page.wait_for_text("#status", "the job is stopped")
    # The stream is faster than the news of the job's state.
    late = gateway.ask("GET", "/api/v1/jobs")[2]
    answer(page, "/api/v1/jobs", f"(async () => Response.json({json.dumps(late)}))")
    words.cli("resume", "words")
    gateway.submit("meanwhile")
    page.wait_for_count("meanwhile", 1)
    signal_workers(words, signal.SIGSTOP)
    assert page.text("#status") == "Nothing new: the job is stopped"
    answer(page, "/api/v1/jobs")
    page.wait_for_text("#status", "Live: words")


def test_a_job_that_was_killed_and_is_submitted_again_is_shown(page, gateway, words):
    words.cli("kill", "words")
    page.wait_for_text("#status", "Nothing to show")
    words.submit("word_count", "words", "log://text", "none:")
    page.wait_for_text("#status", "Live: words")
    wait_for("the new job's counts", lambda: page.counts() == {"before": 1})
    goes_on(page, gateway)


def test_a_job_without_a_rank_is_shown_when_another_of_its_name_has_one(page, words):
    words.cli("kill", "words")
    words.submit("two_sum", "words", "log://text", "none:")
    page.wait_for_text("#status", "Nothing to show: job 'words' has no rank")
    words.cli("kill", "words")
    words.submit("word_count", "words", "log://text", "none:")
    page.wait_for_text("#status", "Live: words")
    page.wait_for_count("before", 1)


def test_a_text_whose_answer_is_lost_may_be_stored(page):
    page.type("#text", "a")
    for function, said in [(NOTHING, "It may be stored or not"), (refusal(504, "late"), "It may be stored or not: late"), (refusal(429, "too fast"), "Not sent: too fast")]:
        answer(page, "/submit_text", function)
        page.click("#send button")
        page.wait_for_text("#sent", said)
        assert page.run("return document.querySelector('#text').value") == "a"


def test_an_export_that_fails_says_so(page):
    export = "/api/v1/jobs/words/export.csv"
    for function, said in [(refusal(503, "not now"), "Not exported: not now"), (refusal(400, "no table"), "Exported 1 words")]:
        answer(page, export, function)
        page.click("#export")
        page.wait_for_text("#exported", said)


def test_a_tab_that_is_not_looked_at_holds_no_stream(gateway, open_browser):
    page = open_browser()
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """Object.defineProperty(document, 'hidden', { get: () => !window.looked });
        window.asked = window.fetch; window.streams = 0;
        window.fetch = (path, options) => { window.streams += path.includes('/stream'); return window.asked(path, options); };"""})
    page.open(gateway)
    wait_for("the job", lambda: page.run("return document.querySelector('#job').value") == "words")
    assert page.run("return window.streams") == 0
    page.run("window.looked = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_text("#status", "Live: words")
    assert page.run("return window.streams") == 1


def test_the_view_that_is_shown_is_the_current_one(page):
    current = "return [...document.querySelectorAll('nav a')].map((link) => link.getAttribute('aria-current'))"
    assert page.run(current) == ["page", None, None]
    page.click("#to-console")
    wait_for("the console", lambda: page.run(current) == [None, "page", None])
