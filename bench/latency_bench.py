"""From the append of a record to Kafka to its count in Redis, exactly once, at a steady rate: see scripts/bench.

One record in so many has a word of its own; its latency runs from the time when the record was due, whether or not it
could be sent then (so what waits behind something slow is counted, too), to the first answer of Redis with the word,
which is asked up to two thousand times a second. With --load the rate is a share of the sustained one, which is
measured first, by the same appending program. In the end every count in Redis is compared with one by Python."""

import argparse
import shutil

from appending import AFTER_SUSTAINED_S, Appending, make_text
from cluster import DIRECTORY, PARTITIONS, Cluster, add_options, begin, finish, prefer, quantile, say
from processes import wait_for

NAME = "latency"
MOST_LINES = 1_000_000  # of text; where more are appended, they come again


def measure(cluster, options, text):
    cluster.kafka.topic("lines", PARTITIONS)
    cluster.cli("submit", "word_count", "--name", NAME, "--source", cluster.kafka.uri("lines"), "--sink",
                cluster.redis.uri, "--start", "earliest", "--batch-interval", options.batch_interval,
                "--checkpoint-interval", options.checkpoint_interval)
    with cluster.api() as connection:
        wait_for("a batch", lambda: connection.control.describe(NAME).summary.applied.batch > 0, 30)
        if options.prefer:
            prefer(cluster.executor_pids())
        appending = Appending(cluster, NAME, text)
        result = {}
        warm_up = options.warm_up
        if options.load:
            options.rate, result["sustained_lines_per_s"] = appending.rate_of_load(options)
            warm_up = AFTER_SUSTAINED_S
        result |= appending.end(appending.begin(rate=options.rate, seconds=options.seconds, warm_up=warm_up,
                                                linger_ms=options.linger_ms, probes=options.probes))
        counts = appending.counts()
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
    parser.add_argument("--load", type=float, help="instead: a share of the rate that is sustained, as 0.5")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=45, help="seconds before that: a broker compiles its code at first")
    parser.add_argument("--linger-ms", type=int, help="of the producer; it is a part of the latency (default: 2, with "
                        "--load 5)")
    parser.add_argument("--probes", type=int, default=1000, help="lines a second that are looked for, at most")
    parser.add_argument("--vocabulary", type=int, default=200_000)
    parser.add_argument("--batch-interval", help="default: 10ms, with --load 50ms")
    parser.add_argument("--checkpoint-interval", default="1s")
    parser.add_argument("--load-seconds", type=int, default=10, help="how long the sustained rate is measured")
    add_options(parser, "latency.json")
    options = parser.parse_args()
    options.linger_ms = options.linger_ms or (5 if options.load else 2)
    options.batch_interval = options.batch_interval or ("50ms" if options.load else "10ms")
    if options.load and options.json == parser.get_default("json"):
        options.json = f"{DIRECTORY}/latency_load.json"
    return options


def main():
    options = parse_options()
    begin()
    lines = MOST_LINES if options.load else min(options.rate * (options.warm_up + options.seconds), MOST_LINES)
    text = make_text(options, lines)
    with Cluster(options) as cluster:
        result = measure(cluster, options, text)
    shutil.rmtree(cluster.kafka.directory, ignore_errors=True)  # gigabytes
    say(f"append to Kafka (batches of {options.linger_ms} ms) -> count in Redis, {options.rate:,} lines/s for {options.seconds} "
        f"s, batches of {options.batch_interval}, checkpoints each {options.checkpoint_interval}, exactly once")
    say("".join(f"{name:>10}" for name in ("p50", "p90", "p99", "p99.9", "max")))
    say("".join(f"{result[name]:>7.1f} ms" for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")))
    say(f"{result['probes']:,} probes; the latest append was {result['latest_append_ms']:.1f} ms late; the broker had half "
        f"of the lines after {result['acknowledged_p50_ms']:.1f} ms, 99 % after {result['acknowledged_p99_ms']:.1f} ms, all "
        f"after {result['acknowledged_max_ms']:.1f} ms; exact: {'yes' if result['exact'] else 'NO'}")
    say("milliseconds, p50 / p99: of the newest record before its batch's cut, then of the batch since it: " + ", ".join(
        f"{name} {times[0.5]:.1f} / {times[0.99]:.1f}" for name, times in result["batches"].items()))
    finish(options, {"rate": options.rate, "load": options.load, "seconds": options.seconds, "linger_ms": options.linger_ms,
                     "batch_interval": options.batch_interval, "checkpoint_interval": options.checkpoint_interval,
                     **result}, result["exact"])


if __name__ == "__main__":
    main()
