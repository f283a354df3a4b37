"""The API's page, in a real browser."""

import pytest

from processes import wait_for

pytestmark = pytest.mark.browser


def open_operation(page, path, method):
    """Opens it, and gives the selector of its form."""
    place = page.run("""const all = [...document.querySelectorAll('details.operation')];
        const index = all.findIndex((each) => each.querySelector('.method').textContent === arguments[1] && each.querySelector('summary code').textContent === arguments[0]);
        all[index].id = `operation-${index}`; all[index].open = true; return index""", path, method)
    wait_for("its form", lambda: page.run("return document.querySelector(arguments[0]) !== null", f"#operation-{place} form"))
    return f"#operation-{place} form"


def test_the_api_is_listed_and_can_be_tried(gateway, open_browser):
    page = open_browser().open(gateway, "/docs")
    wait_for("its operations", lambda: page.run("return document.querySelectorAll('.operation').length") == sum(
        map(len, gateway.ask("GET", "/openapi.json")[2]["paths"].values())))
    sending = open_operation(page, "/submit_text", "POST")
    page.click(f"{sending} button")
    page.wait_for_text(f"{sending} [role=status]", "POST /submit_text: 200")
    assert '"log": "text"' in page.text(f"{sending} pre")
    counting = open_operation(page, "/api/v1/jobs/{job}/counts/{word}", "GET")

    def counted():
        page.click(f"{counting} button")
        return '"count": 2' in page.text(f"{counting} pre")

    wait_for("the count of 'be'", counted)
    missing = open_operation(page, "/api/v1/jobs/{job}", "GET")
    page.run("document.querySelector(arguments[0]).value = 'no/such'", f"{missing} input")
    page.click(f"{missing} button")
    page.wait_for_text(f"{missing} [role=status]", "GET /api/v1/jobs/no%2Fsuch: 400")
    assert page.accessibility() == []
    page.scheme(dark=True)
    page.resize(360, 800)
    assert page.accessibility() == []
    assert page.run("return document.documentElement.scrollWidth") <= 360
    assert not page.faults()


def test_a_stream_is_shown_for_a_while(gateway, open_browser):
    page = open_browser().open(gateway, "/docs")
    wait_for("its operations", lambda: page.run("return document.querySelectorAll('.operation').length"))
    stream = open_operation(page, "/api/v1/jobs/{job}/stream", "GET")
    page.click(f"{stream} button")
    page.wait_for_text(f"{stream} [role=status]", "stream: 200")
    assert "event: reset" in page.text(f"{stream} pre")
