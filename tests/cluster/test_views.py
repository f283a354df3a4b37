"""Whole tables of one batch: search, export and totals, while the job counts and its workers die."""

import collections
import csv
import io
import threading
import urllib.parse

import pytest

from http_gateway import Gateway
from processes import wait_for

WORDS = 997


def words_of(number):
    """Of record `number`; the first one says afterwards of how many records a table is."""
    return ["all", f"w{number % WORDS}", f"x{number % 89},\"y\""]


def fold(records):
    return dict(collections.Counter(word for number in range(records) for word in words_of(number)))


class Feeder:
    """Appends to a log of one partition, so that any state of the table is that of so many first records."""

    def __init__(self, cluster, enough=None):
        self.cluster, self.enough, self.sent, self.over = cluster, enough, 0, False
        cluster.open_log("text", 1)
        self.thread = threading.Thread(target=self._feed)

    def _feed(self):
        with self.cluster.api() as connection:
            while not self.over and self.sent != self.enough:
                records = [" ".join(words_of(number)).encode() for number in range(self.sent, self.sent + 100)]
                connection.ingest.append("text", 0, records, 0, 0, [])
                self.sent += 100

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


@pytest.fixture
def counted(cluster):
    cluster.open_log("text", 1)
    cluster.submit("word_count", "words", "log://text", "none:", "--checkpoint-interval", "200ms")
    return cluster


def checkpoint(cluster):
    return cluster.describe("words").checkpoint_batch


def test_a_table_read_page_by_page_is_of_one_batch_though_a_worker_is_killed_between_pages(counted):
    gateway = Gateway(counted).start()
    with Feeder(counted) as feeder:
        wait_for("some words", lambda: feeder.sent > 2000 and checkpoint(counted) > 0)
        page = wait_for("a page", lambda: (lambda answer: answer[0] == 200 and answer[2]["counts"] and answer[2])(search(gateway)))
        pages, batch = [page], page["batch"]
        while page["next_page"]:
            seen = checkpoint(counted)
            if len(pages) == 2:
                counted.workers[0].kill()
                counted.workers[0].start()
            wait_for("newer checkpoints", lambda: checkpoint(counted) > seen)
            status, _, page = search(gateway, page["next_page"])
            assert status == 200, page
            pages.append(page)
    assert {page["batch"] for page in pages} == {batch} and len(pages) > 5
    assert checkpoint(counted) > batch
    entries = [(count["key"], count["value"]) for page in pages for count in page["counts"]]
    assert [key.encode() for key, _ in entries] == sorted(key.encode() for key, _ in entries)
    counts = dict(entries)
    assert len(counts) == len(entries) and counts == fold(counts["all"])

    counted.master.kill()
    counted.master.start()
    status, _, gone = wait_for("an answer", lambda: (lambda answer: answer[0] != 503 and answer)(search(gateway, pages[0]["next_page"])))
    assert status == 410 and "begin again" in gone["detail"], gone


def search(gateway, after=""):
    return gateway.ask("GET", f"/api/v1/jobs/words/search?limit=150&after={urllib.parse.quote(after)}")


def counts_of(text):
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["key", "value"]
    return {key: int(value) for key, value in rows[1:]}


def test_exports_and_totals_are_of_one_batch_while_it_counts(counted):
    gateway = Gateway(counted).start()
    with Feeder(counted, 100_000) as feeder:
        wait_for("some words", lambda: feeder.sent > 2000 and checkpoint(counted) > 0)
        batches = set()
        while feeder.thread.is_alive() or not batches:
            status, headers, text = gateway.ask("GET", "/api/v1/jobs/words/export.csv")
            assert status == 200, text
            counts = counts_of(text)
            assert counts == fold(counts["all"])
            batches.add(int(headers["Millrace-Batch"]))
            totals = gateway.ask("GET", "/api/v1/jobs/words/totals")[2]
            assert totals["sum"] % 3 == 0 and totals["keys"] == len(fold(totals["sum"] // 3)), totals
    counted.cli("lag", "words", "--until-zero", "30s")
    expected = fold(feeder.sent)
    wait_for("the last checkpoint", lambda: gateway.ask("GET", "/api/v1/jobs/words/totals")[2]["sum"] == 3 * feeder.sent)
    assert counts_of(counted.cli("export", "words").stdout) == expected
    part = {key: value for key, value in expected.items() if key.startswith("w99")}
    assert counts_of(counted.cli("export", "words", "--prefix", "w99").stdout) == part
    found = counted.cli("search", "words", "w99").stdout.splitlines()
    assert dict(line.split("\t") for line in found) == {key: str(value) for key, value in part.items()}
    assert counted.cli("totals", "words").stdout.startswith(f"{len(expected)} keys, values that sum to {3 * feeder.sent}, as of batch ")
    counted.cli("stop", "words")
    assert "resume it" in counted.cli("export", "words", code=1).stderr
    status, _, answer = search(gateway)
    assert status == 503 and "resume it" in answer["detail"]
