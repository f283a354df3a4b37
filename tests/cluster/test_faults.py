"""Whole clusters through SIGKILL, on real Kafka and Redis: nothing is lost or doubled, and no client sees time go back."""

import collections
import datetime
import itertools
import json
import os
import random
import time

import pytest

import record_log
from harness import Feeder, Watcher, as_json, check_word_count, prose, with_bad_records
from processes import wait_for
from test_word_count import check_two_sum

WORDS = [b"w0", b"w1", b"Thew3", "naïve-w5".encode(), b"not-there"]


class Chaos:
    """Kills things while records flow, and says between which batches each kill fell."""

    def __init__(self, cluster, name, feeder, pause):
        self.cluster, self.name, self.feeder, self.pause = cluster, name, feeder, pause
        self.begin = time.monotonic()

    def kill(self, what, processes, again=None):
        """SIGKILL while records are there that are not applied; after a pause `again` (default: the same) start."""
        assert self.feeder.feeding(), "the stream ended before the kill: make it longer"
        self.cluster.wait_for_progress(self.name, self.cluster.batch(self.name) + 4)
        before = wait_for("a batch in the works", self._open_batch)
        begin = time.monotonic()
        for process in processes:
            process.kill()
        time.sleep(self.pause)
        for process in processes if again is None else again:
            process.start()
        after = self.cluster.wait_for_progress(self.name, before, 90)
        took = time.monotonic() - begin
        print(f"{begin - self.begin:5.1f} s: kill -9 of {what} after batch {before} with records open; "
              f"went on with batch {after}, {took:.1f} s later")
        assert self.feeder.feeding(), "the stream ended before the job went on: make it longer"

    def _open_batch(self):
        with self.cluster.api() as connection:
            lag = connection.control.lag(self.name)
        behind = sum(entry.end_offset - entry.applied_offset for entry in lag.partitions)
        return lag.as_of.batch if behind > 0 and lag.as_of.batch > 0 else None


def run(cluster, redis, kafka, rounds, pace, pause, seed=0):
    """`rounds`: [(what, processes, again)], in this order. Two jobs read one topic meanwhile."""
    uri = kafka.uri(kafka.topic("chaos", 4))
    cluster.submit("word_count", "wc", uri, redis.uri)
    cluster.submit("two_sum", "sums", uri, redis.uri)
    feeder = Feeder(cluster, uri, with_bad_records(prose(seed)), pace)
    try:
        with Watcher(cluster, "wc", WORDS) as watcher, Watcher(cluster, "sums", WORDS[:2]) as second:
            cluster.wait_for_progress("wc", 0)
            cluster.wait_for_progress("sums", 0)
            chaos = Chaos(cluster, "wc", feeder, pause)
            for what, processes, again in rounds:
                chaos.kill(what, processes, again)
            feeder.stop()
            log = record_log.read_kafka(kafka.address, "chaos")
            truth = check_word_count(cluster, redis, "wc", log)
            check_two_sum(cluster, redis, "sums", log)
    finally:
        feeder.end()
    assert truth.records >= feeder.fed and truth.dead_letters
    watcher.check(log)
    second.check(log)
    print(f"{truth.records} records, {truth.words} words: exact; {watcher.view.answers} answers, none went back")


def test_kafka_to_redis_is_exact_through_the_death_of_everything(make_cluster, make_redis, own_kafka):
    cluster, redis = make_cluster(2).start(), make_redis()
    one, two = cluster.workers
    rounds = [
        ("one worker", [one], None),
        ("the master", [cluster.master], None),
        ("both workers", [one, two], None),
        ("Redis", [redis.process], None),
        ("the broker", [own_kafka.process], None),
        ("master and workers", [cluster.master, one, two], None),
    ]
    run(cluster, redis, own_kafka, rounds, pace=3000, pause=0.5)


def test_two_topics_of_one_source_are_exact_through_the_death_of_a_worker_and_the_master(cluster, redis, shared_kafka):
    topics = ["orders", "payments"]
    uris = [shared_kafka.uri(shared_kafka.topic(topic, partitions)) for topic, partitions in zip(topics, (3, 1))]
    cluster.submit("word_count", "wc", shared_kafka.uri(",".join(topics)), redis.uri, "--checkpoint-interval", "300ms")
    lines = [prose(11), with_bad_records(prose(12))]
    feeders = [Feeder(cluster, uri, of_topic, 3000) for uri, of_topic in zip(uris, lines)]
    try:
        cluster.wait_for_progress("wc", 0)
        chaos = Chaos(cluster, "wc", feeders[1], 0.3)
        chaos.kill("a worker", [cluster.workers[0]])
        shared_kafka.grow("orders", 5)
        wait_for("the new partitions", lambda: len(as_json(cluster.cli("--json", "lag", "wc"))["partitions"]) == 6)
        chaos.kill("the master and a worker", [cluster.master, cluster.workers[1]])
        for feeder in feeders:
            feeder.stop()
        log = {}
        for number, topic in enumerate(topics):
            for partition, records in record_log.read_kafka(shared_kafka.address, topic).items():
                log[number, partition] = records
        truth = check_word_count(cluster, redis, "wc", log, topics=topics)
    finally:
        for feeder in feeders:
            feeder.end()
    assert truth.records >= sum(feeder.fed for feeder in feeders) and truth.dead_letters
    assert all(log[0, partition] for partition in (0, 1, 2))
    ends = [f"{topics[number]}:{partition}:{len(log[number, partition])}" for number, partition in sorted(log)]
    assert redis.status("wc")["offsets"] == ",".join(ends)
    first = min(truth.dead_letters)
    letters = cluster.cli("dead-letters", "wc", "--from-topic", "payments", "--limit", "1").stdout.splitlines()
    assert letters[1].split()[:3] == ["payments", "0", str(first[1])]
    assert "reads no topic 'refunds', only kafka://" in cluster.cli("dead-letters", "wc", "--from-topic", "refunds", code=1).stderr
    shown = [line.split()[:2] for line in cluster.cli("lag", "wc").stdout.splitlines()]
    assert shown[:2] == [["TOPIC", "PARTITION"], ["orders", "0"]] and ["payments", "0"] in shown


def test_the_embedded_log_survives_the_death_of_its_master(cluster, redis):
    feeder = Feeder(cluster, "log://text", prose(5), 3000)
    try:
        cluster.open_log("text")
        cluster.submit("word_count", "wc", "log://text", redis.uri)
        cluster.wait_for_progress("wc", 0)
        chaos = Chaos(cluster, "wc", feeder, 0.5)
        chaos.kill("the master", [cluster.master])
        chaos.kill("one worker", [cluster.workers[0]])
        chaos.kill("everything", [cluster.master, *cluster.workers])
        feeder.stop()
        log = cluster.read_log("text")
        assert sum(map(len, log.values())) == feeder.fed, "a line was lost or stored twice"
        check_word_count(cluster, redis, "wc", log)
    finally:
        feeder.end()


def test_a_redis_that_comes_back_empty_gets_everything_again(cluster, make_redis):
    redis = make_redis(durable=False)
    feeder = Feeder(cluster, "log://text", prose(6), 2000)
    try:
        cluster.open_log("text")
        cluster.submit("word_count", "wc", "log://text", redis.uri)
        wait_for("counts in Redis", lambda: len(redis.counts("wc")) > 50)
        redis.process.kill()
        assert os.listdir(redis.directory) == [], "it would come back with its data"
        redis.start()
        feeder.stop()
        check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    finally:
        feeder.end()


def test_a_worker_that_never_returns_is_replaced_by_the_other(cluster, redis):
    feeder = Feeder(cluster, "log://text", prose(7), 2000)
    try:
        cluster.open_log("text")
        cluster.submit("word_count", "wc", "log://text", redis.uri)
        cluster.wait_for_progress("wc", 3)
        Chaos(cluster, "wc", feeder, 0).kill("one worker for ever", [cluster.workers[1]], again=[])
        feeder.stop()
        check_word_count(cluster, redis, "wc", cluster.read_log("text"))
        assert len(cluster.ready_workers()) == 1
    finally:
        feeder.end()


def events(seed):
    """Impressions of ten ads and clicks of them, a click at times before its impression."""
    random_ = random.Random(seed)
    for number in range(1_000_000):
        kind = random_.choice(["impression", "impression", "click"])
        event = {"type": kind, "id": str(max(0, number - random_.randrange(200)))}
        if kind == "impression":
            event["ad"] = f"ad{random_.randrange(10)}"
        yield json.dumps(event).encode()


def clicks(lines):
    """How many clicks each ad got: of each id every impression with every click."""
    ads, clicked = collections.defaultdict(list), collections.Counter()
    for event in map(json.loads, lines):
        if event["type"] == "click":
            clicked[event["id"]] += 1
        else:
            ads[event["id"]].append(event["ad"])
    counts = collections.Counter()
    for number, of_id in ads.items():
        for ad in of_id:
            counts[ad] += clicked[number]
    return counts


def feed_through_the_death_of_everything(cluster, redis, type_, name, lines, *settings):
    """Of `lines()` those that were fed to the job, which has counted them."""
    feeder = Feeder(cluster, "log://lines", lines(), 2000)
    try:
        cluster.open_log("lines")
        cluster.submit(type_, name, "log://lines", redis.uri, *settings)
        cluster.wait_for_progress(name, 0)
        chaos = Chaos(cluster, name, feeder, 0.5)
        chaos.kill("one worker", [cluster.workers[0]])
        chaos.kill("the master", [cluster.master])
        chaos.kill("everything", [cluster.master, *cluster.workers])
        fed = feeder.stop()
    finally:
        feeder.end()
    cluster.cli("lag", name, "--until-zero", "60s")
    return list(itertools.islice(lines(), fed))


def test_a_join_that_is_counted_behind_a_second_shuffle_is_exact_through_the_death_of_everything(cluster, redis):
    truth = clicks(feed_through_the_death_of_everything(
        cluster, redis, "click_through", "ct", lambda: events(8), "--set", "time-to-live=1h"))
    assert len(truth) == 10
    found = cluster.cli("get", "ct", *sorted(truth)).stdout
    assert found == "".join(f"{ad}\t{truth[ad]}\n" for ad in sorted(truth))
    assert redis.texts("ct", "clicks") == {ad.encode(): str(count).encode() for ad, count in truth.items()}


def visits(seed):
    """One a second, mostly bursts of one user; out of order by at most 100 seconds."""
    random_ = random.Random(seed)
    for begin in itertools.count(0, 100):
        block = [(second, second // 37 % 40 if random_.random() < 0.9 else random_.randrange(40))
                 for second in range(begin, begin + 100)]
        random_.shuffle(block)
        for second, user in block:
            time_ = (datetime.datetime(2020, 1, 1) + datetime.timedelta(seconds=second)).isoformat() + "Z"
            yield json.dumps({"user": f"u{user}", "time": time_}).encode()


def ended_sessions(lines, gap, watermark):
    """[sessions, visits, seconds] by user, of the sessions that the watermark has passed."""
    times = collections.defaultdict(list)
    for visit in map(json.loads, lines):
        times[visit["user"]].append(datetime.datetime.fromisoformat(visit["time"]).timestamp())
    ended = collections.defaultdict(lambda: [0, 0, 0])
    for user, seconds in times.items():
        seconds.sort()
        borders = [i for i in range(1, len(seconds)) if seconds[i] - seconds[i - 1] >= gap]
        for first, last in zip([0, *borders], [*borders, len(seconds)]):
            if seconds[last - 1] + gap > watermark:
                continue
            of_user = ended[user]
            of_user[0] += 1
            of_user[1] += last - first
            of_user[2] += int(seconds[last - 1] - seconds[first])
    return {user: json.dumps(of_user, separators=(",", ":")) for user, of_user in ended.items()}


def test_sessions_by_event_time_are_exact_through_the_death_of_everything(cluster, redis):
    lines = feed_through_the_death_of_everything(
        cluster, redis, "user_sessions", "us", lambda: visits(9), "--set", "gap=5m", "--set", "delay=200s")

    def shown_is_true():
        job = cluster.describe("us").summary
        assert (job.late, job.dead_letters, job.records) == (0, 0, len(lines))
        truth = ended_sessions(lines, 300, job.watermark_ms / 1000)
        assert len(truth) == 40
        return redis.texts("us", "sessions") == {user.encode(): text.encode() for user, text in truth.items()}

    wait_for("the sessions that have ended", shown_is_true)


RUNS = int(os.environ.get("MILLRACE_CHAOS_RUNS", "4"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(RUNS))
def test_a_minute_of_chaos_is_exact(make_cluster, make_redis, own_kafka, seed):
    cluster, redis = make_cluster(3).start(), make_redis()
    one, two, third = cluster.workers
    rounds = [
        ("one worker", [one], None),
        ("a worker, not restarted", [third], []),
        ("the master", [cluster.master], None),
        ("both workers", [one, two], None),
        ("Redis", [redis.process], None),
        ("the broker", [own_kafka.process], None),
        ("a worker again", [two], None),
        ("everything of ours", [cluster.master, one, two], None),
    ]
    random.Random(seed).shuffle(rounds)
    run(cluster, redis, own_kafka, rounds, pace=4000, pause=3, seed=seed)


@pytest.mark.slow
def test_twenty_quick_kills_of_a_worker_are_exact(make_cluster, redis, shared_kafka):
    cluster = make_cluster(2).start()
    uri = shared_kafka.uri(shared_kafka.topic("quick", 4))
    cluster.submit("word_count", "wc", uri, redis.uri, "--checkpoint-interval", "300ms")
    feeder = Feeder(cluster, uri, prose(8), 4000)
    draw = random.Random(8)
    try:
        cluster.wait_for_progress("wc", 0)
        for _ in range(20):
            Chaos(cluster, "wc", feeder, draw.random() * 0.3).kill("a worker", [draw.choice(cluster.workers)])
        feeder.stop()
        check_word_count(cluster, redis, "wc", record_log.read_kafka(shared_kafka.address, "quick"))
    finally:
        feeder.end()
