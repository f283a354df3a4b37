"""Counting, without faults: every count equals the oracle's, through both kinds of log and with several jobs."""

import datetime
import itertools
import json

import oracle
import pytest
import record_log
from harness import Feeder, check_word_count, prose, with_bad_records
from processes import wait_for


def append(cluster, uri, lines, options=()):
    feeder = Feeder(cluster, uri, lines, 1e9, options)
    feeder.wait()
    return feeder.fed


def test_the_embedded_log_is_counted_exactly(cluster, redis):
    lines = list(itertools.islice(with_bad_records(prose()), 30_000))
    append(cluster, "log://text", lines[:10_000])
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    append(cluster, "log://text", lines[10_000:])
    log = cluster.read_log("text")
    assert sorted(value for records in log.values() for _, value in records) == sorted(lines)
    truth = check_word_count(cluster, redis, "wc", log)
    assert truth.dead_letters


def test_a_kafka_topic_of_four_partitions_is_counted_exactly(cluster, redis, shared_kafka):
    uri = shared_kafka.uri(shared_kafka.topic("text", 4))
    cluster.submit("word_count", "wc", uri, redis.uri, "--checkpoint-interval", "500ms")
    append(cluster, uri, list(itertools.islice(with_bad_records(prose(2)), 30_000)))
    log = record_log.read_kafka(shared_kafka.address, "text")
    assert sum(map(len, log.values())) == 30_000
    check_word_count(cluster, redis, "wc", log)


def test_start_at_latest_counts_only_what_comes_after(cluster, redis, shared_kafka):
    uri = shared_kafka.uri(shared_kafka.topic("late", 2))
    append(cluster, uri, [b"old"] * 100)
    cluster.submit("word_count", "late", uri, redis.uri, "--start", "latest")
    append(cluster, uri, [b"new words"] * 50)
    wait_for("the new words", lambda: redis.counts("late") == {b"new": 50, b"words": 50})


@pytest.mark.parametrize("kafka", [True, False])
def test_start_at_a_time_and_at_offsets(cluster, redis, shared_kafka, kafka):
    uri = shared_kafka.uri(shared_kafka.topic("timed", 1)) if kafka else "log://timed"
    options = () if kafka else ("--partitions", "1")
    append(cluster, uri, [b"old"] * 100, options)
    begin = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=2)
    begin = begin.replace(microsecond=begin.microsecond // 1000 * 1000)
    wait_for("the next moment", lambda: datetime.datetime.now(datetime.timezone.utc) > begin)
    append(cluster, uri, [b"new words"] * 50, options)
    cluster.submit("word_count", "t", uri, redis.uri, "--start", begin.isoformat(timespec="milliseconds")[:23] + "Z")
    wait_for("the new words", lambda: redis.counts("t") == {b"new": 50, b"words": 50})
    cluster.submit("word_count", "o", uri, redis.uri, "--start", "0=120")
    wait_for("the last thirty", lambda: redis.counts("o") == {b"new": 30, b"words": 30})
    for start, said in [("0=151", "partition 0 holds the offsets 0 to 150; 151 is none of them"),
                              ("0=1,1=1", "--start names partition 1; the source has partitions 0 to 0"),
                              ("1=1", "--start names no offset of partition 0"),
                              ("yesterday", "a time in UTC like 2026-11-21T20:30:00Z")]:
        submit = ("submit", "word_count", "--name", "x", "--source", uri, "--sink", redis.uri, "--start", start)
        assert said in cluster.cli(*submit, code=2).stderr


def test_two_embedded_logs_are_one_source_and_start_at_offsets_by_their_names(cluster, redis):
    append(cluster, "log://some", [b"old", b"a b", b"a"], ["--partitions", "1"])
    append(cluster, "log://more", [b"b c", b"\xff"], ["--partitions", "1"])
    cluster.submit("word_count", "two", "log://some,more", redis.uri, "--start", "more:0=0,some:0=1")
    wait_for("all records", lambda: redis.status("two").get("offsets") == "some:0:3,more:0:2")
    assert redis.counts("two") == {b"a": 2, b"b": 2, b"c": 1}
    letters = cluster.cli("dead-letters", "two").stdout.splitlines()
    assert letters[1].split()[:3] == ["more", "0", "1"]
    run = ("run", "word_count", "--source", "log://more,some", "--logs", f"{cluster.directory}/master/logs", "--until", "latest")
    done = cluster.cli(*run)
    assert done.stdout.splitlines()[:3] == ["a\t2", "b\t2", "c\t1"]
    assert "partition 0 of topic 'more', offset 1" in done.stderr
    for source, start, said in [
        ("log://some,more", "0=1,more:0=0", "--start names no offset of partition 0 of topic 'some'"),
        ("log://some,more", "some:0=4,more:0=0", "--start: partition 0 of topic 'some' holds the offsets 0 to 3; 4 is none of them"),
        ("log://some,more", "some:0=0,more:0=0,other:0=0", "--start names partition other:0, which the source does not have"),
        ("log://some,some", "latest", "'some' is named twice in 'some,some'"),
        ("log://some,,more", "latest", "a name is missing beside a comma"),
        ("kafka://127.0.0.1:1/some,mo re", "latest", "'mo re' is no name of a topic"),
    ]:
        submit = ("submit", "word_count", "--name", "x", "--source", source, "--sink", redis.uri, "--start", start)
        assert said in cluster.cli(*submit, code=2).stderr
    absent = ("submit", "word_count", "--name", "x", "--source", "log://some,absent", "--sink", redis.uri)
    assert "embedded log 'absent' does not exist" in cluster.cli(*absent, code=1).stderr


def test_a_record_that_is_too_long_is_a_dead_letter(cluster, redis):
    append(cluster, "log://long", [b"short line", b"x" * 300, b"y " * 90])
    cluster.submit("word_count", "long", "log://long", redis.uri, "--max-record-bytes", "200")
    truth = check_word_count(cluster, redis, "long", cluster.read_log("long"), max_record_bytes=200)
    assert len(truth.dead_letters) == 1
    letters = cluster.cli("dead-letters", "long").stdout
    assert "300" in letters or "long" in letters


def test_the_field_of_json_records_is_counted(cluster, redis):
    lines = [json.dumps({"id": n, "text": f"the word{n % 3} naïve"}).encode() for n in range(300)]
    append(cluster, "log://json", [*lines, b"no json", b'{"other": "field"}'])
    cluster.submit("word_count", "json", "log://json", redis.uri, "--set", "field=text")
    wait_for("all records", lambda: redis.status("json").get("records") == "302")
    assert redis.counts("json") == {b"the": 300, "naïve".encode(): 300, b"word0": 100, b"word1": 100, b"word2": 100}
    assert redis.status("json")["dead_letters"] == "2"


def test_two_jobs_at_once_do_not_disturb_each_other(cluster, redis):
    lines = list(itertools.islice(prose(3), 10_000))
    append(cluster, "log://text", lines)
    cluster.submit("word_count", "one", "log://text", redis.uri)
    cluster.submit("two_sum", "two", "log://text", redis.uri, "--batch-interval", "50ms")
    log = cluster.read_log("text")
    check_word_count(cluster, redis, "one", log)
    check_two_sum(cluster, redis, "two", log)
    cluster.cli("kill", "one", "--purge")
    append(cluster, "log://text", lines)
    check_two_sum(cluster, redis, "two", cluster.read_log("text"))
    assert not redis.client.keys("{one}:*")


def test_the_documents_of_each_word_are_told_page_by_page_though_a_worker_is_killed(cluster, redis):
    texts = {f"doc {n}": " ".join(["sea"] * (n % 3 + 1) + [f"w{n % 7}"]) for n in range(60)}
    lines = [json.dumps({"name": name, "body": text}).encode() for name, text in texts.items()]
    append(cluster, "log://documents", lines[:30])
    cluster.submit("inverted_index", "index", "log://documents", redis.uri, "--set", "id=name", "--set", "field=body")
    cluster.wait_for_records("index", 30)
    cluster.workers[0].kill()
    append(cluster, "log://documents", lines[30:])
    wait_for("all documents", lambda: cluster.cli("get", "index", "sea", code=None).stdout == "sea\t60\n")

    def pages(word):
        found, after = [], ()
        while True:
            page = json.loads(cluster.cli("docs", "index", word, "--limit", "7", *after, "--json").stdout)
            assert len(page["docs"]) <= 7
            found += [(doc["doc"], doc["count"]) for doc in page["docs"]]
            if not page["next"]:
                assert page["count"] == len(found)
                return found
            after = ("--after", page["next"])

    for word in ["sea", "w3"]:
        counts = [(name, text.split().count(word)) for name, text in texts.items() if word in text.split()]
        assert pages(word) == sorted(counts, key=lambda each: (-each[1], each[0]))
        wait_for(f"{word} in Redis", lambda: redis.client.zcard(f"{{index}}:words:{word}") == len(counts))
        in_redis = redis.client.zrange(f"{{index}}:words:{word}", 0, -1, withscores=True)
        assert sorted((name.decode(), int(count)) for name, count in in_redis) == sorted(counts)
    assert pages("nowhere") == []
    first = cluster.cli("docs", "index", "sea", "--limit", "1")
    assert (first.stdout, first.stderr) == ("doc 11\t3\n", "more of them: --after 3:doc%2011\n")
    assert "is no cursor" in cluster.cli("docs", "index", "sea", "--after", "x", code=None).stderr
    cluster.cli("kill", "index", "--purge")
    assert not redis.client.keys("{index}:*")


def check_two_sum(cluster, redis, name, log):
    truth = oracle.fold(log, with_sums=True)
    cluster.wait_until_at_rest(name, truth.offsets)
    expected = {word: b"%d %d" % (count, truth.sums[word]) for word, count in truth.counts.items()}
    wrong = oracle.differences(expected, redis.texts(name, "sums"))
    assert not wrong, f"{{{name}}}:sums is wrong: {wrong}"
