"""From the append of a record to Kafka to its count in Redis, exactly once, at a steady rate: see scripts/bench.

One record in so many has a word of its own; its latency runs from the time when the record was due, whether or not it
could be sent then (so what waits behind something slow is counted, too), to the first answer of Redis with the word,
which is asked up to two thousand times a second. In the end every count in Redis is compared with one by Python."""

import argparse
import collections
import itertools
import json
import os
import subprocess

from cluster import DIRECTORY, PARTITIONS, Cluster, add_options, begin, finish, prefer, quantile, run, say
from processes import wait_for

NAME = "latency"


def make_text(options):
    """At most as many lines as are appended."""
    lines = min(options.rate * (options.warm_up + options.seconds), 1_000_000)
    path = f"{DIRECTORY}/latency-text-{lines}-{options.vocabulary}"
    if not os.path.exists(path):
        with open(f"{path}.part", "wb") as file:
            subprocess.run([f"{options.bin}/make_text", f"--lines={lines}", f"--vocabulary={options.vocabulary}"],
                           stdout=file, check=True)
        os.rename(f"{path}.part", path)
    return path


def expected_counts(options, text):
    with open(text, "rb") as file:
        lines = file.read().splitlines()
    first_probe = options.rate * options.warm_up
    appended = first_probe + options.rate * options.seconds
    counts = collections.Counter()
    for line in itertools.islice(itertools.cycle(lines), appended):
        counts.update(line.split())
    step = max(1, options.rate // options.probes)
    counts.update(b"probe-%d" % number for number in range(first_probe, appended) if number % step == 0)
    return counts


def measure(cluster, options, text):
    cluster.kafka.topic("lines", PARTITIONS)
    cluster.cli("submit", "word_count", "--name", NAME, "--source", cluster.kafka.uri("lines"), "--sink",
                cluster.redis.uri, "--start", "earliest", "--batch-interval", options.batch_interval,
                "--checkpoint-interval", options.checkpoint_interval)
    with cluster.api() as connection:
        wait_for("a batch", lambda: connection.control.describe(NAME).summary.applied.batch > 0, 30)
        if options.prefer:
            prefer(cluster.executor_pids())
        result = json.loads(run([
            f"{options.bin}/latency", f"--brokers={cluster.kafka.address}", "--topic=lines", f"--partitions={PARTITIONS}",
            f"--redis_port={cluster.redis.port}", f"--hash={{{NAME}}}:counts", f"--text={text}", f"--rate={options.rate}",
            f"--probes={options.probes}", f"--seconds={options.seconds}", f"--warm_up={options.warm_up}",
            f"--linger_ms={options.linger_ms}"]))
        counts = expected_counts(options, text)
        words = sum(counts.values())
        wait_for("all words", lambda: connection.control.describe(NAME).summary.emitted >= words, 60)
        wait_for("the last publication", lambda: published(connection), 60)
        result["batches"] = profile(connection.control.batches(NAME, 600, 0).batches)
    result["exact"] = cluster.redis.counts(NAME) == counts
    return result


def profile(batches):
    """Of the newest batches with records, in milliseconds: how old the newest record was at the cut, and until which
    step was over since then."""
    batches = [batch for batch in batches if batch.records > 0 and batch.published_us > 0]
    ages = [batch.time_ms - batch.newest_ms for batch in batches if batch.newest_ms > 0]
    steps = {"durable": "durable_us", "mapped": "mapped_us", "applied": "applied_us", "published": "published_us"}
    return {"age": {share: quantile(ages, share) for share in (0.5, 0.99)}} | {
        name: {share: quantile([getattr(batch, field) / 1000 for batch in batches], share) for share in (0.5, 0.99)}
        for name, field in steps.items()}


def published(connection):
    summary = connection.control.describe(NAME).summary
    return summary.published >= summary.applied.batch


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench latency",
                                     description="From an append to Kafka to the count in Redis, in milliseconds.")
    parser.add_argument("--rate", type=int, default=1000, help="lines a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=20, help="seconds before that: a broker compiles its code at first")
    parser.add_argument("--linger-ms", type=int, default=2, help="of the producer; it is a part of the latency")
    parser.add_argument("--probes", type=int, default=1000, help="lines a second that are looked for, at most")
    parser.add_argument("--vocabulary", type=int, default=200_000)
    parser.add_argument("--batch-interval", default="10ms")
    parser.add_argument("--checkpoint-interval", default="1s")
    add_options(parser, "latency.json")
    return parser.parse_args()


def main():
    options = parse_options()
    begin()
    text = make_text(options)
    with Cluster(options) as cluster:
        result = measure(cluster, options, text)
    say(f"append to Kafka (linger {options.linger_ms} ms) -> count in Redis, {options.rate:,} lines/s for {options.seconds} "
        f"s, batches of {options.batch_interval}, checkpoints each {options.checkpoint_interval}, exactly once")
    say("".join(f"{name:>10}" for name in ("p50", "p90", "p99", "p99.9", "max")))
    say("".join(f"{result[name]:>7.1f} ms" for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")))
    say(f"{result['probes']:,} probes; the latest append was {result['latest_append_ms']:.1f} ms late; the broker had half "
        f"of the lines after {result['acknowledged_p50_ms']:.1f} ms, 99 % after {result['acknowledged_p99_ms']:.1f} ms, all "
        f"after {result['acknowledged_max_ms']:.1f} ms; exact: {'yes' if result['exact'] else 'NO'}")
    say("milliseconds, p50 / p99: of the newest record before its batch's cut, then of the batch since it: " + ", ".join(
        f"{name} {times[0.5]:.1f} / {times[0.99]:.1f}" for name, times in result["batches"].items()))
    finish(options, {"rate": options.rate, "seconds": options.seconds, "linger_ms": options.linger_ms,
                     "batch_interval": options.batch_interval, "checkpoint_interval": options.checkpoint_interval,
                     **result}, result["exact"])


if __name__ == "__main__":
    main()
