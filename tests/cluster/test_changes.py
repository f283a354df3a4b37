"""`millrace changes`: whoever follows a job is told everything, through deaths of workers and of the reader itself."""

import itertools
import json

from harness import BIN, Feeder, check_word_count, prose
from processes import Process, wait_for
from test_bad_input import one_line
from test_word_count import append


class Reader:
    """`millrace --json changes` as a process; `counts` is what follows from all that it has printed."""

    def __init__(self, cluster, name, after=None):
        more = ["--after", after] if after else []
        self.process = Process(f"changes-{after}", [f"{BIN}/millrace", "--json", f"--api={cluster.api_port}", "changes", name, *more], cluster.directory)
        self.process.start()

    def told(self):
        with open(self.process.log, encoding="utf-8") as file:
            lines = file.read().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def resets(self):
        return sum(1 for each in self.told() if each.get("reset"))

    def position(self):
        told = self.told()
        return told[-1]["position"] if told else None

    def fold(self, counts):
        batches = [each for each in self.told() if "changes" in each]
        assert [each["batch"] for each in batches] == sorted({each["batch"] for each in batches})
        for change in itertools.chain.from_iterable(each["changes"] for each in batches):
            assert change["count"] >= counts.get(change["word"], 0), change
            counts[change["word"]] = change["count"]
        return counts


def test_a_reader_is_told_each_change_though_workers_and_the_reader_itself_are_killed(cluster, redis):
    cluster.open_log("text")
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    first = Reader(cluster, "wc")
    feeder = second = None
    try:
        wait_for("the reader's first position", first.position)
        feeder = Feeder(cluster, "log://text", prose(11), 2000)
        for worker in cluster.workers:
            cluster.wait_for_progress("wc", cluster.batch("wc") + 3)
            worker.kill()
            worker.start()
        cluster.wait_for_progress("wc", cluster.batch("wc") + 3)
        first.process.kill()
        cluster.wait_for_progress("wc", cluster.batch("wc") + 3)
        second = Reader(cluster, "wc", after=first.position())
        feeder.stop()
        truth = check_word_count(cluster, redis, "wc", cluster.read_log("text"))
        counts = {word.decode(): count for word, count in truth.counts.items()}
        wait_for("all changes", lambda: second.fold(first.fold({})) == counts)
        assert (first.resets(), second.resets()) == (1, 0)
    finally:
        first.process.end()
        if feeder:
            feeder.end()
        if second:
            second.process.end()


def test_the_last_changes_before_a_stop_are_told(cluster):
    cluster.open_log("text")
    cluster.submit("word_count", "wc", "log://text", "none:")
    reader = Reader(cluster, "wc")
    try:
        position = wait_for("the reader's first position", reader.position)
        reader.process.kill()
        append(cluster, "log://text", [b"a b a"])
        cluster.wait_for_records("wc", 1)
        cluster.cli("stop", "wc")
        last = cluster.cli("changes", "wc", "--after", position, "--batches", "1").stdout
        assert sorted(line.split("\t")[1:] for line in last.splitlines()) == [["a", "2"], ["b", "1"]]
    finally:
        reader.process.end()


def test_a_position_that_is_none_and_a_job_that_is_none_are_refused(cluster):
    one_line(cluster.cli("changes", "wc", "--after", "7", code=2).stderr, "'7' is no position", "JOB-INCARNATION-BATCH")
    one_line(cluster.cli("changes", "wc", code=1).stderr, "wc")
