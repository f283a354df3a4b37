"""Jobs through stop, resume, kill and submit again, and through the end of every process in good order."""

import itertools
import urllib.error
import urllib.request

import pytest

from harness import Feeder, as_json, check_word_count, prose
from processes import wait_for
from test_word_count import append


@pytest.fixture
def lines():
    return list(itertools.islice(prose(4), 5000))


def test_resume_goes_on_where_stop_left(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    cluster.cli("stop", "wc")
    stopped = cluster.describe("wc")
    assert stopped.summary.state == "stopped" and stopped.checkpoint_batch == stopped.summary.applied.batch
    append(cluster, "log://text", lines)
    assert redis.status("wc")["records"] == "5000"
    cluster.cli("resume", "wc")
    assert check_word_count(cluster, redis, "wc", cluster.read_log("text")).records == 10_000


def test_waiting_for_a_job_that_goes_by_time_ends_when_all_that_changed_is_published(cluster, redis):
    cluster.open_log("text")
    cluster.submit("recent_words", "recent", "log://text", redis.uri, "--set", "window=1h", "--set", "slide=100ms")
    for _ in range(8):
        append(cluster, "log://text", [b"a b"])
        cluster.cli("lag", "recent", "--until-zero", "20s")
    wait_for("the newest slide in Redis", lambda: redis.counts("recent") == {b"a": 8, b"b": 8})


def test_a_job_goes_back_to_a_checkpoint_and_counts_again_what_came_after_it(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri, "--checkpoint-interval", "1h")
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    cluster.cli("stop", "wc")
    cluster.cli("resume", "wc")
    append(cluster, "log://text", lines + [b"only later \xff", b"only later"])
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    refused = cluster.cli("resume", "wc", "--from", "1", code=1)
    assert "is running; stop it" in refused.stderr
    cluster.cli("stop", "wc")
    older, newer = as_json(cluster.cli("--json", "checkpoints", "wc"))["checkpoints"]
    assert older["batch"] < newer["batch"] == cluster.batch("wc") and (newer["incarnation"], newer["version"]) == (1, 1)
    assert older["files"] > 0 and older["size_bytes"] > 0
    refused = cluster.cli("resume", "wc", "--from", str(newer["batch"] + 1), code=1)
    assert f"kept are {older['batch']}, {newer['batch']}" in refused.stderr and refused.stderr.count("\n") == 1
    cluster.cli("resume", "wc", "--from", str(older["batch"]))
    cluster.master.kill()
    cluster.master.start()
    truth = check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    assert truth.records == 10_002 and len(truth.dead_letters) == 1
    assert cluster.describe("wc").summary.applied.incarnation == 2 and redis.status("wc")["incarnation"] == "2"
    assert as_json(cluster.cli("--json", "checkpoints", "wc"))["checkpoints"] == [older]


def test_a_restart_of_everything_goes_on_where_it_was(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    cluster.submit("word_count", "idle", "log://text", redis.uri)
    cluster.wait_for_records("wc", 1)
    cluster.cli("stop", "idle")
    for worker in cluster.workers:
        assert worker.stop() == 0
    assert cluster.master.stop() == 0
    cluster.start()
    append(cluster, "log://text", lines)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    assert cluster.describe("idle").summary.state == "stopped"
    cluster.cli("resume", "idle")
    check_word_count(cluster, redis, "idle", cluster.read_log("text"))


def test_a_worker_told_to_leave_hands_over_what_it_holds(cluster, redis):
    feeder = Feeder(cluster, "log://text", prose(9), 3000)
    try:
        cluster.open_log("text")
        cluster.submit("word_count", "wc", "log://text", redis.uri)
        cluster.wait_for_progress("wc", 5)
        assert cluster.workers[0].stop() == 0
        cluster.wait_for_progress("wc", cluster.batch("wc"))
        assert len(cluster.ready_workers()) == 1
        feeder.stop()
        check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    finally:
        feeder.end()


def test_a_worker_whose_master_is_dead_says_so_and_leaves_when_told(cluster):
    worker = cluster.workers[0]
    [http] = [known.http for known in cluster.ready_workers() if known.name.endswith(f":{worker.pid}")]

    def health():
        try:
            with urllib.request.urlopen(f"http://{http}/health", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    assert health() == 200
    cluster.master.kill()
    wait_for("the worker to miss its master", lambda: health() == 503)
    cluster.master.start()
    wait_for("the worker to see it again", lambda: health() == 200)
    cluster.master.kill()
    wait_for("the worker to miss its master again", lambda: health() == 503)
    assert worker.stop() == 0


def test_a_worker_that_comes_later_gets_a_share(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    late = cluster.make_worker(len(cluster.workers))
    cluster.workers.append(late)
    late.start()
    cluster.wait_until_up(3)
    append(cluster, "log://text", lines)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    wait_for("shares of three workers", lambda: len({e.worker for e in cluster.describe("wc").executors if e.state_partitions}) == 3)


def test_a_killed_job_is_forgotten_and_its_keys_belong_to_it(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    cluster.cli("kill", "wc")
    assert "wc" not in cluster.cli("jobs").stdout
    before = redis.counts("wc")
    assert before, "kill without --purge leaves the results"
    append(cluster, "log://other", [b"quite other words"])
    refused = cluster.cli("submit", "word_count", "--name", "wc", "--source", "log://other", "--sink", redis.uri, code=1)
    assert "--take-over" in refused.stderr
    assert redis.counts("wc") == before and "wc" not in cluster.cli("jobs").stdout
    cluster.submit("word_count", "wc", "log://other", redis.uri, "--take-over")
    check_word_count(cluster, redis, "wc", cluster.read_log("other"))


def test_kill_with_purge_removes_the_keys(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    cluster.cli("kill", "wc", "--purge")
    assert not redis.client.keys("*wc*")
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))


def test_the_command_line_agrees_with_redis(cluster, redis, lines):
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    truth = check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    word, count = truth.top()[0]
    assert cluster.cli("get", "wc", word.decode()).stdout == f"{word.decode()}\t{count}\n"
    top = cluster.cli("top", "wc", "-n", "5").stdout.splitlines()
    assert top == [f"{word.decode()}\t{count}" for word, count in truth.top(5)]
    answer = as_json(cluster.cli("--json", "get", "wc", word.decode()))
    assert str(count) in str(answer) and "batch" in str(answer)
    for command in (["jobs"], ["describe", "wc"], ["lag", "wc"], ["workers"], ["dead-letters", "wc"]):
        assert cluster.cli(*command).stdout
        assert isinstance(as_json(cluster.cli("--json", *command)), dict)
    assert "wc" in cluster.cli("jobs").stdout
    assert int(redis.client.hget("{wc}:counts", word)) == count


def test_several_writers_share_an_embedded_log(cluster, redis):
    writers = [Feeder(cluster, "log://shared", itertools.islice(prose(seed), 2000), 1e9) for seed in range(4)]
    for writer in writers:
        writer.wait()
    cluster.submit("word_count", "wc", "log://shared", redis.uri)
    assert check_word_count(cluster, redis, "wc", cluster.read_log("shared")).records == 8000
