"""What the kill of a worker by SIGKILL does to the results, at a steady rate, with a large state: see scripts/bench.

The state is loaded and in a checkpoint first. Then lines are appended as by `scripts/bench latency --load`, at half of the
sustained rate, and one worker after the other is killed and started again, with all that it keeps on its disk gone. For each kill: the longest time in which no
new count came to Redis, and after which time every line was counted as fast as before, for a second at least; and the
longest time without a new count after a worker has come again and gets its share of the state. In the end every count in
Redis is compared with one by Python."""

import argparse
import bisect
import os
import shutil
import time

from appending import AFTER_SUSTAINED_S, Appending, make_text
from cluster import DIRECTORY, PARTITIONS, Cluster, add_options, begin, finish, prefer, quantile, run, say
from processes import wait_for

NAME = "recovery"
SETTLE_S = 6  # before the first kill, and from a worker's start to the next kill
AWAY_S = 4  # from a kill to the worker's start
LINGER_MS = 5  # of the producer


def make_state(options):
    """A file with so many different words, once each."""
    path = f"{DIRECTORY}/recovery-state-{options.keys}"
    with open(path, "w", encoding="utf-8") as file:
        for first in range(0, options.keys, 20):
            file.write(" ".join(f"key{number:07}" for number in range(first, min(first + 20, options.keys))) + "\n")
    return path


def expected_counts(appending, state):
    counts = appending.counts()
    with open(state, "rb") as file:
        counts.update(file.read().split())
    return counts


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


def kill_one_after_the_other(cluster, options, warm_up):
    """(when a worker was killed, when it was started again) of each kill. The appending program has begun just now."""
    time.sleep(warm_up + SETTLE_S)
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
    """Of `seen`, which ascend: the longest time without one, from the last one before `begin` to the first one from `end`;
    and when it was over."""
    these = seen[max(bisect.bisect_left(seen, begin) - 1, 0):bisect.bisect_left(seen, end) + 1]
    return max((after - before, after) for before, after in zip(these, these[1:]))


def caught_up_after(samples, kill, usual_s):
    """Seconds from the kill to the last line that was counted later than is usual, before a second in which lines come and
    none of them is late."""
    caught_up, on_time_since = kill, None
    for came, due in sorted((came, due) for due, came in samples if came >= kill):
        if came - due > usual_s:
            caught_up, on_time_since = came, None
        elif on_time_since is None:
            on_time_since = came
        elif came - on_time_since > 1:
            break
    return caught_up - kill


def judge(samples, kills, usual_s):
    """`samples`: (due, seen) of each probe."""
    seen = sorted(came for _, came in samples)
    ends = [*(killed for killed, _ in kills[1:]), seen[-1]]
    result = []
    for (killed, started), end in zip(kills, ends):
        gap_s, gap_over = longest_gap(seen, killed, started)
        # Nobody has caught up while nothing comes, however slow it was before.
        caught_up_s = max(caught_up_after(samples, killed, usual_s), gap_over - killed)
        result.append({"gap_s": gap_s, "caught_up_s": caught_up_s, "gap_of_return_s": longest_gap(seen, started, end)[0]})
    return result


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
        appending = Appending(cluster, NAME, text)
        sustained, warm_up = None, options.warm_up
        if not options.rate:
            options.rate, sustained = appending.rate_of_load(options)
            warm_up = AFTER_SUSTAINED_S
        program = appending.begin(
            rate=options.rate, seconds=SETTLE_S + options.kills * (AWAY_S + SETTLE_S), warm_up=warm_up, linger_ms=LINGER_MS,
            probes=options.probes, samples=samples_path)
        try:
            kills = kill_one_after_the_other(cluster, options, warm_up)
            said = appending.end(program)
        finally:
            program.kill()
        wait_for("the last publication", lambda: summary(connection).published >= summary(connection).applied.batch, 60)
        executors = {executor.worker: executor.keys for executor in connection.control.describe(NAME).executors}
    with open(samples_path, encoding="utf-8") as file:
        samples = [tuple(map(float, line.split())) for line in file]
    before = [came - due for due, came in samples if came < kills[0][0]]
    usual_s = max(2 * quantile(before, 0.99), 0.1)
    return {"kills": judge(samples, kills, usual_s), "usual_s": usual_s, "before_p50_s": quantile(before, 0.5),
            "before_p99_s": quantile(before, 0.99), "appended": said, "keys_by_worker": executors,
            "sustained_lines_per_s": sustained, "exact": cluster.redis.counts(NAME) == expected_counts(appending, state)}


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench recovery",
                                     description="What the kill of a worker does to the results.")
    parser.add_argument("--rate", type=int, help="lines a second (default: a share of what is sustained)")
    parser.add_argument("--load", type=float, default=0.5, help="the share")
    parser.add_argument("--load-seconds", type=int, default=10, help="how long the sustained rate is measured")
    parser.add_argument("--keys", type=int, default=1_000_000, help="different words in the state")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=20, help="seconds before: a broker compiles its code at first")
    parser.add_argument("--probes", type=int, default=500, help="lines a second that are looked for")
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--batch-interval", default="50ms")
    parser.add_argument("--checkpoint-interval", default="1s")
    add_options(parser, "recovery.json")
    return parser.parse_args()


def main():
    options = parse_options()
    begin()
    state, text = make_state(options), make_text(options, 200_000)
    with Cluster(options) as cluster:
        result = measure(cluster, options, state, text)
    shutil.rmtree(cluster.kafka.directory, ignore_errors=True)  # gigabytes
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
