"""Sockets and directories as sources of a job on a cluster: through a log, by one of the job's executors."""

import collections
import itertools
import os
import re
import signal

import pytest

from harness import prose
from processes import free_port, wait_for
from test_bad_input import one_line
from test_receivers import make_server, put  # noqa: F401 (one is a fixture)


def text_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def receiving_worker(cluster):
    """The worker whose executor has the receiver's thread."""
    for worker in cluster.workers:
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                parent = text_of(f"/proc/{process}/stat").rsplit(")", 1)[1].split()[1]
                threads = os.listdir(f"/proc/{process}/task") if parent == str(worker.pid) else []
                if any(text_of(f"/proc/{process}/task/{thread}/comm") == "receiver\n" for thread in threads):
                    return worker
            except FileNotFoundError:  # it has ended
                pass
    return None


def kill_receiver(cluster):
    """Its worker with it; returns once another one receives."""
    worker = wait_for("a receiver", lambda: receiving_worker(cluster))
    worker.kill()
    other = wait_for("the receiver of another worker", lambda: receiving_worker(cluster))
    assert other is not worker
    worker.start()


def submit(cluster, source, through, redis):
    return cluster.submit("network_word_count", "typed", source, redis.uri, "--through", through)


def test_words_from_a_socket_are_counted_and_its_receiver_goes_on_elsewhere(cluster, redis, make_server):  # noqa: F811
    port = free_port()
    submit(cluster, f"socket://127.0.0.1:{port}", "log://typed", redis)
    wait_for("the problem", lambda: f"cannot connect to 127.0.0.1:{port}" in cluster.describe("typed").summary.problem)
    assert re.search(rf"^receiver: +socket://127.0.0.1:{port}$", cluster.cli("describe", "typed").stdout, re.M)
    server = make_server(port)
    server.type(b"a b a\n")
    wait_for("the words", lambda: redis.counts("typed") == {b"a": 2, b"b": 1})
    wait_for("no problem", lambda: not cluster.describe("typed").summary.problem)
    server.kill()
    kill_receiver(cluster)
    server = make_server(port)
    server.type(b"b c\n")
    wait_for("the words", lambda: redis.counts("typed") == {b"a": 2, b"b": 2, b"c": 1})
    cluster.master.kill()
    server.type(b"c\n")
    cluster.master.start()
    wait_for("what came while there was no master", lambda: redis.counts("typed") == {b"a": 2, b"b": 2, b"c": 2})
    cluster.cli("stop", "typed")
    wait_for("no receiver", lambda: receiving_worker(cluster) is None)


def test_the_lines_of_files_are_in_the_log_once_each_whoever_is_killed(cluster, redis, directory):
    spool = f"{directory}/spool"
    os.mkdir(spool)
    lines = list(itertools.islice(prose(11), 40_000))

    def bring(number):
        put(spool, f"file-{number}", b"\n".join(lines[number * 8_000:(number + 1) * 8_000]))

    bring(0)
    submit(cluster, f"directory://{spool}", "log://files", redis)
    taken = f"{spool}/.taken"
    wait_for("the first file", lambda: os.path.exists(taken) and os.listdir(taken) == ["file-0"])
    for number, disturb in [(1, kill_receiver), (2, kill_receiver), (3, lambda cluster: cluster.master.kill()),
                            (4, lambda cluster: cluster.master.start())]:
        bring(number)
        disturb(cluster)
    wait_for("all files", lambda: len(os.listdir(taken)) == 5, 60)
    log = cluster.read_log("files")
    assert collections.Counter(value for records in log.values() for _, value in records) == collections.Counter(lines)
    truth = collections.Counter(word for line in lines for word in line.split())
    wait_for("the counts", lambda: redis.counts("typed") == truth, 60)


def test_a_receiver_that_was_frozen_and_goes_on_doubles_nothing(make_cluster, redis, directory):
    cluster = make_cluster().start()
    spool = f"{directory}/spool"
    os.mkdir(spool)
    submit(cluster, f"directory://{spool}", "log://files", redis)
    frozen = wait_for("a receiver", lambda: receiving_worker(cluster))
    executors = [int(process) for process in filter(str.isdigit, os.listdir("/proc"))
                 if os.path.exists(f"/proc/{process}/stat")
                 and text_of(f"/proc/{process}/stat").rsplit(")", 1)[1].split()[1] == str(frozen.pid)]
    lines = list(itertools.islice(prose(12), 200_000))
    put(spool, "file", b"\n".join(lines))
    wait_for("its begin", lambda: any(cluster.read_log("files").values()))
    for process in [frozen.pid, *executors]:
        os.kill(process, signal.SIGSTOP)
    try:
        wait_for("the file", lambda: os.path.exists(f"{spool}/.taken/file"), 60)
    finally:
        for process in [*executors, frozen.pid]:
            os.kill(process, signal.SIGCONT)
    truth = collections.Counter(word for line in lines for word in line.split())
    wait_for("the counts", lambda: redis.counts("typed") == truth, 60)
    put(spool, "last", b"last")
    wait_for("the last file", lambda: redis.counts("typed") == truth + collections.Counter([b"last"]), 60)


def test_a_topic_holds_what_a_socket_brought(cluster, redis, shared_kafka, make_server):  # noqa: F811
    port = free_port()
    uri = shared_kafka.uri(shared_kafka.topic("typed", 2))
    server = make_server(port)
    submit(cluster, f"socket://127.0.0.1:{port}", uri, redis)
    server.type(b"a b a\n")
    wait_for("the words", lambda: redis.counts("typed") == {b"a": 2, b"b": 1}, 60)
    server.type(b"c\n")
    wait_for("the next line", lambda: redis.counts("typed") == {b"a": 2, b"b": 1, b"c": 1}, 60)


@pytest.fixture(autouse=True)
def allow_the_spool(monkeypatch, directory):
    monkeypatch.setenv("MILLRACE_RECEIVER_DIRECTORIES", f"/elsewhere,{directory}/spool")


def test_files_are_taken_only_where_the_master_allows_it(cluster, redis, directory):
    for source in [f"{directory}/other", f"{directory}/spool2", f"{directory}/spool/../other", "/"]:
        done = cluster.cli("submit", "word_count", "--name", "n", "--source", f"directory://{source}/x",
                           "--through", "log://a", "--sink", "none:", code=2)
        one_line(done.stderr, "jobs may not take files", f"only below /elsewhere, {directory}/spool",
                 "--receiver_directories")
    submit(cluster, f"directory://{directory}/spool/below", "log://files", redis)


@pytest.mark.parametrize("source, through, more, expected", [
    ("socket://h:1", "", [], "--through is missing"), ("log://a", "log://b", [], "--through goes with"),
    ("socket://h", "log://a", [], "the port is missing"), ("socket://h:1/x", "log://a", [], "socket://HOST:PORT"),
    ("directory://x", "log://a", [], "three slashes"), ("socket://h:1", "redis://a", [], "log://NAME"),
    ("socket://h:1", "log://a", ["--max-record-bytes", 16 << 20], "8 MiB at most"),
])
def test_what_is_wrong_with_a_received_source_is_said(cluster, source, through, more, expected):
    through = ["--through", through] if through else []
    options = ["--name", "n", "--source", source, *through, "--sink", "none:", *more]
    done = cluster.cli("submit", "word_count", *options, code=2)
    one_line(done.stderr, expected)


def test_a_directory_that_is_missing_is_told_and_taken_up_when_it_is_there(cluster, redis, directory):
    submit(cluster, f"directory://{directory}/spool", "log://files", redis)
    wait_for("the problem", lambda: "/spool' cannot be read" in cluster.describe("typed").summary.problem)
    os.mkdir(f"{directory}/spool")
    put(f"{directory}/spool", "file", b"a")
    wait_for("its words", lambda: redis.counts("typed") == {b"a": 1})
    wait_for("no problem", lambda: not cluster.describe("typed").summary.problem)
