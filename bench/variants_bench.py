"""How the rate of the engine changes with one thing at a time; see scripts/bench.

compressed: topics by lz4 and zstd, each beside R on the same topic. cost: checkpoints and Redis on, and both off. scaling:
workers and lanes, on the embedded log. sweeps: vocabulary, length of the lines, partitions, batch interval, and the length
of a window, which window_bench measures without log and network. Variants take turns within each round; every count is
checked."""

import argparse
import collections
import json

from cluster import PARTITIONS, add_options, begin, changed, finish, run, say
from engine_bench import (Bench, Text, about, add_rate_options, compare, median, parse_rate_options, say_round, show_round)

NEVER = "24h"  # a checkpoint interval
COMPRESSIONS = ("lz4", "zstd")
CLUSTERS = {"1 worker of 1 lane": (1,), "1 worker of 2 lanes": (2,), "2 workers of 1 lane": (1, 1)}
# What is swept, with its values. Where lines get longer there are fewer of them, so that the text is as long as before.
SWEEPS = {
    "vocabulary": (1_000, 20_000, 200_000, 2_000_000),
    "words": (1, 10, 100),
    "partitions": (1, 4, 16, 64),
    "batch_interval": ("10ms", "50ms", "100ms", "500ms", "1s"),
}
QUICK_SWEEPS = {"vocabulary": (20_000, 200_000), "words": (10, 100), "partitions": (4, 16), "batch_interval": ("50ms", "100ms")}


def rates(results):
    return median([result["lines_per_s"] for result in results])


def compressed(options):
    text = Text(options)
    results = collections.defaultdict(list)
    with Bench(options) as bench:
        topics = {kind: bench.load_topic(text, kind, compression=kind) for kind in COMPRESSIONS}
        for number in range(options.rounds):
            say_round(number, options)
            for kind, topic in topics.items():
                r = bench.measure_r(topic)
                results[f"R, {kind}"].append(r)
                show_round(f"R, {kind}", r)
                result = bench.measure_engine(topic)
                compare(result, r)
                results[kind].append(result)
                show_round(f"engine, {kind}", result)
    for kind in COMPRESSIONS:
        say(f"{kind}: {median([result['ratio'] for result in results[kind]]):.2f} of R ({rates(results[kind]) / 1e6:.2f} M lines/s)")
    return results, about(options, text, compression="lz4 and zstd")


def cost(options):
    text = Text(options)
    variants = {"both on": {}, "no Redis": {"sink": "none"}, "no checkpoints": {"checkpoint_interval": NEVER},
                "both off": {"sink": "none", "checkpoint_interval": NEVER}}
    results = collections.defaultdict(list)
    with Bench(options) as bench:
        topic = bench.load_topic(text)
        for number in range(options.rounds):
            say_round(number, options)
            for name, changes in variants.items():
                results[name].append(bench.measure_engine(topic, **changes))
                show_round(name, results[name][-1])
    off = rates(results["both off"])
    for name in variants:
        say(f"{name}: {rates(results[name]) / off:.3f} of both off")
    return results, about(options, text)


def scaling(options):
    text = Text(options)
    results = collections.defaultdict(list)
    with Bench(options) as bench:
        log = bench.load_log(text)
        for number in range(options.rounds):
            say_round(number, options)
            for name, lanes in CLUSTERS.items():
                bench.replace_workers(lanes)
                results[name].append(bench.measure_engine(log))
                show_round(name, results[name][-1])
    one = rates(results["1 worker of 1 lane"])
    for name in CLUSTERS:
        say(f"{name}: {rates(results[name]) / one:.2f} of one lane")
    return results, about(options, text, workers="workers as named")


def measure_point(bench, options, axis, value):
    changes = {axis: value} if axis in ("vocabulary", "words") else {}
    if axis == "words":
        changes["lines"] = options.lines * options.words // value
    swept = changed(options, **changes)
    partitions = value if axis == "partitions" else PARTITIONS
    topic = f"lines-{swept.lines}-{swept.vocabulary}-{partitions}"
    source = bench.kafka.uri(topic)
    if source not in bench.texts:
        bench.load_topic(Text(swept), topic, partitions)
    result = bench.measure_engine(source, **({axis: value} if axis == "batch_interval" else {}))
    show_round(f"{axis} {value}", result)
    return result | {"value": value, "words_a_line": swept.words}


def windows(options):
    """Of each kind of window: microseconds of a slide by the length of the window in seconds."""
    lengths = "60,600" if options.quick else "10,60,600,3600"
    kinds = json.loads(run([f"{options.bin}/window_bench", f"--lengths_s={lengths}"]))
    for kind, slides in kinds.items():
        say(f"window, {kind}: " + ", ".join(f"{length} s {us:.0f} us a slide" for length, us in slides.items()))
    return kinds


def sweeps(options):
    results = collections.defaultdict(list)
    with Bench(options) as bench:
        for number in range(options.rounds):
            say_round(number, options)
            for axis, values in (QUICK_SWEEPS if options.quick else SWEEPS).items():
                results[axis] += [measure_point(bench, options, axis, value) for value in values]
    options.windows = windows(options)
    say(f"\n{'':<28}{'M lines/s':>10}{'us CPU a line':>15}{'ns CPU a word':>15}")
    for axis, points in results.items():
        for value in dict.fromkeys(point["value"] for point in points):
            same = [point for point in points if point["value"] == value]
            cpu = median([point["cpu_us_per_line"] for point in same])
            say(f"{axis.replace('_', ' '):<18}{value:>10}{rates(same) / 1e6:>10.2f}{cpu:>15.2f}"
                f"{1000 * cpu / same[0]['words_a_line']:>15.0f}")
    return results, f"unless swept: {options.lines:,} lines of {options.words} words, {about(options)}"


# Part -> function, lines, lines of --quick, sink.
PARTS = {"compressed": (compressed, 10_000_000, 3_000_000, "redis"), "cost": (cost, 10_000_000, 3_000_000, "redis"),
         "scaling": (scaling, 10_000_000, 3_000_000, "none"), "sweeps": (sweeps, 3_000_000, 3_000_000, "redis")}


def parse_options():
    chooser = argparse.ArgumentParser(add_help=False)
    chooser.add_argument("part", choices=PARTS)
    part = chooser.parse_known_args()[0].part
    parser = argparse.ArgumentParser(prog=f"scripts/bench {part}", description=__doc__)
    parser.add_argument("part", help=argparse.SUPPRESS)
    _, lines, quick_lines, sink = PARTS[part]
    add_rate_options(parser, lines, quick_lines)
    parser.set_defaults(sink=sink)
    add_options(parser, f"{part}.json")
    return parse_rate_options(parser)


def main():
    options = parse_options()
    begin()
    measure = PARTS[options.part][0]
    results, settings = measure(options)
    say(settings)
    finish(options, {"about": settings, "partitions": PARTITIONS, "batch_interval": options.batch_interval,
                     "checkpoint_interval": options.checkpoint_interval, "lines": options.lines, "results": results,
                     **({"windows": options.windows} if options.part == "sweeps" else {})},
           all(result.get("exact", True) for side in results.values() for result in side))


if __name__ == "__main__":
    main()
