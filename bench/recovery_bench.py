"""What the kill of a worker by SIGKILL does to the results, at a steady rate, with a large state: see scripts/bench.

The state is loaded and in a checkpoint first. Then lines are appended as by `scripts/bench latency`, and one worker after
the other is killed and started again, with all that it keeps on its disk gone. For each kill: the longest time in which no
new count came to Redis, and after which time every line was counted as fast as before, for a second at least; and the
longest time without a new count after a worker has come again and gets its share of the state. In the end every count in
Redis is compared with one by Python."""

import argparse
import bisect
import collections
import itertools
import json
import os
import shutil
import subprocess
import time

from cluster import DIRECTORY, PARTITIONS, Cluster, add_options, begin, finish, prefer, quantile, run, say
from processes import wait_for

NAME = "recovery"
SETTLE_S = 6  # before the first kill, and from a worker's start to the next kill
AWAY_S = 4  # from a kill to the worker's start


def make_state(options):
    """A file with so many different words, once each."""
    path = f"{DIRECTORY}/recovery-state-{options.keys}"
    with open(path, "w", encoding="utf-8") as file:
        for first in range(0, options.keys, 20):
            file.write(" ".join(f"key{number:07}" for number in range(first, min(first + 20, options.keys))) + "\n")
    return path


def make_text(options):
    path = f"{DIRECTORY}/recovery-text-{options.vocabulary}"
    with open(path, "wb") as file:
        subprocess.run([f"{options.bin}/make_text", "--lines=200000", f"--vocabulary={options.vocabulary}"], stdout=file,
                       check=True)
    return path


def expected_counts(options, state, text):
    counts = collections.Counter()
    with open(state, "rb") as file:
        counts.update(file.read().split())
    with open(text, "rb") as file:
        lines = [line.split() for line in file]
    first_probe = options.rate * options.warm_up
    appended = first_probe + options.rate * options.seconds
    whole, rest = divmod(appended, len(lines))
    for words in lines:
        for word in words:
            counts[word] += whole
    for words in itertools.islice(lines, rest):
        counts.update(words)
    step = max(1, options.rate // options.probes)
    counts.update(b"probe-%d" % number for number in range(first_probe, appended) if number % step == 0)
    return +counts


def summary(connection):
    return connection.control.describe(NAME).summary


def load(cluster, connection, options, state):
    with open(state, "rb") as file:
        run([f"{options.bin}/load_topic", f"--brokers={cluster.kafka.address}", "--topic=lines",
             f"--partitions={PARTITIONS}"], stdin=file)

    def kept():
        description = connection.control.describe(NAME)
        job = description.summary
        return (job.emitted >= options.keys and job.published >= job.changed
                and description.checkpoint_batch >= job.changed)

    wait_for("the state to be counted, published and in a checkpoint", kept, 120)


def kill_one_after_the_other(cluster, options):
    """(when a worker was killed, when it was started again) of each kill. The appending program has begun just now."""
    time.sleep(options.warm_up + SETTLE_S)
    kills = []
    for number in range(options.kills):
        worker = cluster.workers[number % 2]
        killed = time.monotonic()
        worker.kill()
        time.sleep(AWAY_S)
        shutil.rmtree(f"{DIRECTORY}/{worker.name}", ignore_errors=True)
        kills.append((killed, time.monotonic()))
        worker.start()
        if options.prefer:
            prefer([worker.pid])
        time.sleep(SETTLE_S)
    return kills


def longest_gap(seen, begin, end):
    """Of `seen`, which ascend: the longest time without one, from the last one before `begin` to the first one from `end`."""
    these = seen[max(bisect.bisect_left(seen, begin) - 1, 0):bisect.bisect_left(seen, end) + 1]
    return max(after - before for before, after in zip(these, these[1:]))


def caught_up_after(samples, kill, usual_s):
    """Seconds from the kill to the last line that was counted later than is usual, before a second without one."""
    caught_up = kill
    for came in sorted(came for due, came in samples if came >= kill and came - due > usual_s):
        if came - caught_up > 1:
            break
        caught_up = came
    return caught_up - kill


def judge(samples, kills, usual_s):
    """`samples`: (due, seen) of each probe."""
    seen = sorted(came for _, came in samples)
    ends = [*(killed for killed, _ in kills[1:]), seen[-1]]
    return [{"gap_s": longest_gap(seen, killed, started), "caught_up_s": caught_up_after(samples, killed, usual_s),
             "gap_of_return_s": longest_gap(seen, started, end)} for (killed, started), end in zip(kills, ends)]


def measure(cluster, options, state, text):
    cluster.kafka.topic("lines", PARTITIONS)
    cluster.cli("submit", "word_count", "--name", NAME, "--source", cluster.kafka.uri("lines"), "--sink",
                cluster.redis.uri, "--start", "earliest", "--batch-interval", options.batch_interval,
                "--checkpoint-interval", options.checkpoint_interval)
    samples_path = f"{DIRECTORY}/recovery-samples"
    with cluster.api() as connection:
        load(cluster, connection, options, state)
        if options.prefer:
            prefer(cluster.executor_pids())
        appender = subprocess.Popen([
            f"{options.bin}/latency", f"--brokers={cluster.kafka.address}", "--topic=lines", f"--partitions={PARTITIONS}",
            f"--redis_port={cluster.redis.port}", f"--hash={{{NAME}}}:counts", f"--text={text}", f"--rate={options.rate}",
            f"--probes={options.probes}", f"--seconds={options.seconds}", f"--warm_up={options.warm_up}",
            f"--samples={samples_path}"], stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            kills = kill_one_after_the_other(cluster, options)
            said, _ = appender.communicate(timeout=120)
        finally:
            if appender.poll() is None:
                appender.kill()
        if appender.returncode != 0:
            raise SystemExit("bench: the appending program failed")
        wait_for("the last publication", lambda: summary(connection).published >= summary(connection).applied.batch, 60)
        executors = {executor.worker: executor.keys for executor in connection.control.describe(NAME).executors}
    with open(samples_path, encoding="utf-8") as file:
        samples = [tuple(map(float, line.split())) for line in file]
    before = [came - due for due, came in samples if came < kills[0][0]]
    usual_s = max(2 * quantile(before, 0.99), 0.1)
    return {"kills": judge(samples, kills, usual_s), "usual_s": usual_s, "before_p50_s": quantile(before, 0.5),
            "before_p99_s": quantile(before, 0.99), "appended": json.loads(said), "keys_by_worker": executors,
            "exact": cluster.redis.counts(NAME) == expected_counts(options, state, text)}


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench recovery",
                                     description="What the kill of a worker does to the results.")
    parser.add_argument("--rate", type=int, default=5000, help="lines a second")
    parser.add_argument("--keys", type=int, default=1_000_000, help="different words in the state")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=20, help="seconds before: a broker compiles its code at first")
    parser.add_argument("--probes", type=int, default=500, help="lines a second that are looked for")
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--batch-interval", default="50ms")
    parser.add_argument("--checkpoint-interval", default="1s")
    add_options(parser, "recovery.json")
    options = parser.parse_args()
    options.seconds = SETTLE_S + options.kills * (AWAY_S + SETTLE_S)
    return options


def main():
    options = parse_options()
    begin()
    state, text = make_state(options), make_text(options)
    with Cluster(options) as cluster:
        result = measure(cluster, options, state, text)
    say(f"a worker killed by SIGKILL, {options.keys:,} keys of state, {options.rate:,} lines/s from Kafka to Redis, batches of "
        f"{options.batch_interval}, checkpoints each {options.checkpoint_interval}, 2 workers of 1 lane, {os.cpu_count()} cores")
    say(f"before: p50 {1000 * result['before_p50_s']:.0f} ms, p99 {1000 * result['before_p99_s']:.0f} ms; caught up is "
        f"who counts each line within {1000 * result['usual_s']:.0f} ms again")
    say(f"{'kill':<6}{'longest gap':>14}{'caught up after':>18}{'gap when a worker comes again':>32}")
    for number, kill in enumerate(result["kills"], 1):
        say(f"{number:<6}{kill['gap_s']:>12.2f} s{kill['caught_up_s']:>16.2f} s{kill['gap_of_return_s']:>30.2f} s")
    say(f"exact: {'yes' if result['exact'] else 'NO'}")
    finish(options, {"rate": options.rate, "keys": options.keys, "batch_interval": options.batch_interval,
                     "checkpoint_interval": options.checkpoint_interval, **result}, result["exact"])


if __name__ == "__main__":
    main()
