"""Append outputs: each record once, whoever is killed, and whoever takes files away."""

import collections
import itertools
import os
import re
import subprocess
import threading

import pytest

from harness import BIN, Feeder, prose
from processes import wait_for
from test_bad_input import one_line


@pytest.fixture(autouse=True)
def allow_the_outputs(monkeypatch, directory):
    monkeypatch.setenv("MILLRACE_OUTPUT_DIRECTORIES", f"/elsewhere,{directory}/outputs")
    os.mkdir(f"{directory}/outputs")


def numbered(lines):
    """No two are the same."""
    return (b"%d " % number + line for number, line in enumerate(lines))


class Collector:
    """Takes files away as they come, in the order of their names, as a spool's reader does."""

    def __init__(self, path):
        self.path, self.lines, self.names, self.over = path, [], [], threading.Event()
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self):
        while not self.over.wait(0.02):
            self.take()

    def take(self):
        for name in sorted(name for name in os.listdir(self.path) if re.fullmatch(r"\d{3}-\d{12}\.txt", name)):
            with open(f"{self.path}/{name}", "rb") as file:
                text = file.read()
            assert text.endswith(b"\n"), f"{name} is not whole"
            os.remove(f"{self.path}/{name}")
            self.names.append(name)
            self.lines += text[:-1].split(b"\n")

    def end(self):
        self.over.set()
        self.thread.join(30)
        self.take()


def check_lines(log, lines):
    """Every record once, those of one log partition in their order."""
    values = {partition: [value for _, value in records] for partition, records in log.items()}
    truth = collections.Counter(itertools.chain(*values.values()))
    found = collections.Counter(lines)
    assert found == truth, f"lost {list((truth - found).items())[:3]}, doubled or new {list((found - truth).items())[:3]}"
    place = {line: index for index, line in enumerate(lines)}
    for partition, records in values.items():
        assert [place[line] for line in records] == sorted(place[line] for line in records), f"order of partition {partition}"


def test_files_are_exact_through_ten_kills_with_a_reader_that_takes_them_away(cluster, directory):
    out = f"{directory}/outputs/lines"
    cluster.open_log("lines")
    cluster.submit("copy_lines", "copy", "log://lines", "none:", "--output", f"lines=file://{out}")
    assert re.search(rf"^output: +lines to file://{out}$", cluster.cli("describe", "copy").stdout, re.M)
    collector = Collector(out)
    # While the master is away nothing can be appended to its log, so it is not among the first.
    feeder = Feeder(cluster, "log://lines", numbered(prose(21)), 4000, ["--retry-for", "60s"])
    kills = 0
    while kills < 10:
        seen = len(collector.names)
        wait_for("further files", lambda: len(collector.names) > seen + 5 + kills % 4, 60)
        victim = [cluster.workers[0], cluster.workers[1], cluster.master][kills % 3]
        victim.kill()
        kills += 1
        victim.start()
    feeder.stop()
    log = cluster.read_log("lines")
    records = sum(map(len, log.values()))
    wait_for("all lines", lambda: len(collector.lines) >= records, 60)
    cluster.cli("stop", "copy")
    cluster.cli("resume", "copy")
    cluster.cli("stop", "copy")
    collector.end()
    check_lines(log, collector.lines)
    assert collector.names == sorted(set(collector.names))
    print(f"exact: {records} records in {len(collector.names)} files through {kills} kills")


def test_a_directory_that_is_away_is_told_waited_for_and_loses_nothing(cluster, directory):
    out = f"{directory}/outputs/lines"
    cluster.open_log("lines")
    cluster.submit("copy_lines", "copy", "log://lines", "none:", "--output", f"lines=file://{out}")
    cluster.cli("append", "log://lines", stdin="one\n")
    wait_for("the first file", lambda: len(os.listdir(out)) == 2)
    os.rename(out, f"{out}-away")
    lines = b"\n".join(numbered(itertools.islice(prose(22), 5000))) + b"\n"
    cluster.cli("append", "log://lines", stdin=lines, text=False)
    wait_for("the problem", lambda: "output 'lines' does not take records" in cluster.describe("copy").summary.problem)
    os.rename(f"{out}-away", out)
    collector = Collector(out)
    wait_for("all lines", lambda: len(collector.lines) == 5001, 60)
    wait_for("no problem", lambda: not cluster.describe("copy").summary.problem)
    collector.end()
    check_lines(cluster.read_log("lines"), collector.lines)


@pytest.mark.parametrize("outputs, expected", [
    ([], "add --output lines=file:///DIR"), (["other=file:///D/x"], "no output 'other'"),
    (["lines=file:///etc"], "--output_directories"), (["lines=file:///D/../x"], "--output_directories"),
    (["lines=redis://h"], "'redis' is not what it can be"), (["lines"], "expected NAME=file:///DIR"),
    (["lines=file:///D/a", "lines=file:///D/b"], "twice"), (["lines=file:///D/none/below"], "make it, or mount it"),
])
def test_what_is_wrong_with_an_output_is_said(cluster, directory, outputs, expected):
    cluster.open_log("lines")
    options = [part for output in outputs for part in ("--output", output.replace("/D/", f"{directory}/outputs/"))]
    done = cluster.cli("submit", "copy_lines", "--name", "n", "--source", "log://lines", "--sink", "none:", *options, code=2)
    one_line(done.stderr, expected)


def test_a_directory_has_one_job_and_a_job_that_appends_does_not_go_back(cluster, directory):
    out = f"lines=file://{directory}/outputs/lines"
    cluster.open_log("lines")
    cluster.submit("copy_lines", "first", "log://lines", "none:", "--output", out)
    done = cluster.cli("submit", "copy_lines", "--name", "second", "--source", "log://lines", "--sink", "none:",
                       "--output", out, code=1)
    one_line(done.stderr, "a directory of its own")
    cluster.cli("stop", "first")
    done = cluster.cli("resume", "first", "--from", 1, code=None)
    one_line(done.stderr, "nothing can be taken back")


def run_here(*arguments, stdin=b""):
    command = [f"{BIN}/millrace", "run", "copy_lines", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def test_run_prints_lines_as_they_come(directory):
    lines = list(numbered(itertools.islice(prose(23), 3000)))
    done = run_here("--lanes", 1, stdin=b"\n".join(lines) + b"\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"\n".join(lines) + b"\n"
    done = run_here("--set", "contains=7", stdin=b"17\n18\n70\n")
    assert done.stdout == b"17\n70\n"


def test_run_writes_files_and_ends_when_all_is_there(directory):
    lines = list(numbered(itertools.islice(prose(24), 3000)))
    out = f"{directory}/outputs/lines"
    done = run_here("--output", f"lines=file://{out}", stdin=b"\n".join(lines) + b"\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    collector = Collector(out)
    collector.end()
    assert collections.Counter(collector.lines) == collections.Counter(lines)


def committed_lines(uri):
    """Of a topic, as whoever reads committed records only sees it: librdkafka does."""
    return run_here("--source", uri, "--until", "latest", "--lanes", 1).stdout.splitlines()


def test_a_topic_is_exact_for_who_reads_committed_records_through_ten_kills_also_of_the_broker(
        cluster, own_kafka, directory):
    uri = own_kafka.uri(own_kafka.topic("copied", 1))
    config = f"{directory}/output.properties"
    with open(config, "w", encoding="utf-8") as file:
        file.write("sasl.username=millrace\nsasl.password=my-secret-77\n")
    cluster.open_log("lines")
    cluster.submit("copy_lines", "copy", "log://lines", "none:", "--output", f"lines={uri}", "--output-config", config)
    feeder = Feeder(cluster, "log://lines", numbered(prose(25, line_words=(1, 24))), 4000, ["--retry-for", "60s"])
    for kills in range(10):
        cluster.wait_for_progress("copy", cluster.batch("copy") + 5)
        victim = own_kafka.process if kills == 4 else [cluster.workers[0], cluster.workers[1], cluster.master][kills % 3]
        victim.kill()
        victim.start()
        wait_for("an answer", lambda: cluster.cli("jobs", code=None).returncode == 0)
    feeder.stop()
    log = cluster.read_log("lines")
    records = sum(map(len, log.values()))
    cluster.wait_for_records("copy", records, 60)
    cluster.cli("stop", "copy")
    cluster.cli("resume", "copy")
    cluster.cli("stop", "copy")
    check_lines(log, committed_lines(uri))
    for shown in (cluster.cli("describe", "copy").stdout, cluster.cli("--json", "describe", "copy").stdout, cluster.logs()):
        assert "secret-77" not in shown
    print(f"exact: {records} records in a topic through 10 kills")
    # The broker forgets with the topic how far the output had come.
    own_kafka.delete_topic("copied")
    own_kafka.topic("copied", 1)
    cluster.cli("resume", "copy", code=None)
    failed = wait_for("the job's end", lambda: (now := cluster.describe("copy").summary).state == "failed" and now)
    assert "it is forgotten how far topic 'copied'" in failed.problem and "output 'lines'" in failed.problem


def test_a_topic_that_is_not_there_is_refused(cluster, shared_kafka):
    cluster.open_log("lines")
    done = cluster.cli("submit", "copy_lines", "--name", "n", "--source", "log://lines", "--sink", "none:",
                       "--output", f"lines={shared_kafka.uri('nowhere')}", code=None)
    assert done.returncode != 0
    one_line(done.stderr, "topic 'nowhere'", "does not exist; create it or correct --output")
