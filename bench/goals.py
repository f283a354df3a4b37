"""The goals of the engine beside what was measured: reads the JSON that the parts have left in build/bench. Each goal is one
row of GOALS. `scripts/bench goals` prints the table."""

import argparse
import collections
import json
import os
import statistics
import sys

DIRECTORY = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/build/bench"

# `take` gives the figure, from the JSON of `part`.
Goal = collections.namedtuple("Goal", "figure goal stretch unit better part take")


def median_of(side, name):
    return lambda figures: statistics.median(result[name] for result in figures["results"][side])


def ratio_of(side, other):
    return lambda figures: median_of(side, "lines_per_s")(figures) / median_of(other, "lines_per_s")(figures)


def last_step(figures):
    return figures["steps"][-1]["bytes_per_key"]


MORE, LESS = "more", "less"
GOALS = [
    Goal("whole engine on Kafka, of R", 1.8, 2.3, "R", MORE, "throughput", median_of("kafka", "ratio")),
    Goal("whole engine on the embedded log, of R", 2.0, 3.0, "R", MORE, "throughput", median_of("log", "ratio")),
    Goal("times Spark Structured Streaming", 20, 25, "x", MORE, "peers", ratio_of("engine", "spark")),
    Goal("times Flink", 25, 33, "x", MORE, "peers", ratio_of("engine", "flink")),
    Goal("times Kafka Streams", 250, 330, "x", MORE, "peers", ratio_of("engine", "kafka-streams")),
    Goal("lz4 topic, of R on it", 1.3, 1.8, "R", MORE, "compressed", median_of("lz4", "ratio")),
    Goal("zstd topic, of R on it", 1.3, 1.8, "R", MORE, "compressed", median_of("zstd", "ratio")),
    Goal("checkpoints and Redis on, of both off", 0.95, 0.98, "", MORE, "cost", ratio_of("both on", "both off")),
    Goal("append to count in Redis, p99", 20, 7, "ms", LESS, "latency", lambda figures: figures["p99_ms"]),
    Goal("the same at half of the sustained rate, p99", 100, 60, "ms", LESS, "latency_load", lambda figures: figures["p99_ms"]),
    Goal("texts over HTTP a second, times FastAPI", 10, 15, "x", MORE, "gateway", lambda figures: figures["times_fastapi"]),
    Goal("a text over HTTP at half of that, p99", 10, 5, "ms", LESS, "gateway", lambda figures: figures["half"]["p99_ms"]),
    Goal("the same until its count is readable, of FastAPI's and a dict's", 1, 0.5, "", LESS, "gateway",
         lambda figures: figures["readable_p99_ms"] / figures["dict_readable_p99_ms"]),
    Goal("gaps in what 2,000 readers of a stream see", 0, 0, "", LESS, "gateway", lambda figures: figures["gaps"]),
    Goal("a text until they see it, p99", 300, 200, "ms", LESS, "gateway", lambda figures: figures["seen_p99_ms"]),
    Goal("kill -9 to caught up, the longest", 1, 0.3, "s", LESS, "recovery",
         lambda figures: max(kill["caught_up_s"] for kill in figures["kills"])),
    Goal("pause by a checkpoint, p99", 5, 1, "ms", LESS, "checkpoints", lambda figures: figures["pause_p99_ms"]),
    Goal("CPU of a checkpoint in the background", 0.4, 0.25, "s", LESS, "checkpoints",
         lambda figures: statistics.median(figures["cpu_s"])),
    Goal("split and count from memory, a word", 8, 5.5, "ns", LESS, "words",
         lambda figures: statistics.median(figures["ns_per_word"])),
    Goal("bytes shuffled, of bytes read", 0.05, 0.02, "", LESS, "shuffle", lambda figures: statistics.median(figures["share"])),
    Goal("memory of a key of 8 bytes", 64, 40, "B", LESS, "memory", last_step),
    Goal("memory of an empty cluster", 100, 50, "MB", LESS, "footprint", lambda figures: figures["resident_mb"]),
    Goal("start of the cluster to the first result", 0.8, 0.3, "s", LESS, "footprint",
         lambda figures: statistics.median(figures["start_s"])),
    Goal("one lane to two, embedded log", 1.8, 1.9, "x", MORE, "scaling", ratio_of("1 worker of 2 lanes", "1 worker of 1 lane")),
]


def read(directory):
    """Figures by part; None where there are none."""
    found = {}
    for part in dict.fromkeys(goal.part for goal in GOALS):
        try:
            with open(f"{directory}/{part}.json", encoding="utf-8") as file:
                found[part] = json.load(file)
        except FileNotFoundError:
            found[part] = None
    return found


def judge(goal, value):
    sign = 1 if goal.better == MORE else -1
    if sign * value >= sign * goal.stretch:
        return "yes, stretch"
    return "yes" if sign * value >= sign * goal.goal else "no"


def text_of(value, unit=""):
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f} {unit}".rstrip()


def row(goal, figures):
    wanted = [f"{goal.goal:g}", f"{goal.stretch:g}"]
    if figures is None:
        return [goal.figure, *wanted, "-", "not measured", goal.part]
    if not figures.get("exact", True):
        return [goal.figure, *wanted, "-", "NOT EXACT", goal.part]
    try:
        value = goal.take(figures)
    except (KeyError, ValueError, statistics.StatisticsError):  # that run left it out
        return [goal.figure, *wanted, "-", "not measured", goal.part]
    return [goal.figure, *wanted, text_of(value, goal.unit), judge(goal, value), goal.part]


def settings(figures):
    """A part that tells none has what it was run with as fields of its figures."""
    about = figures.get("about") or ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in figures.items()
        if name not in ("part", "quick", "time", "exact") and isinstance(value, str | int) and not isinstance(value, bool))
    return f"{figures.get('time', '')}{' --quick' if figures.get('quick') else ''}: {about}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench goals", description=__doc__)
    parser.add_argument("--directory", default=DIRECTORY, help="where the JSON is")
    found = read(parser.parse_args().directory)
    rows = [["figure", "goal", "stretch", "measured", "reached", "part"], *(row(goal, found[goal.part]) for goal in GOALS)]
    widths = [max(len(one[column]) for one in rows) for column in range(len(rows[0]))]
    for one in rows:
        print("  ".join(text.ljust(width) if column in (0, 4, 5) else text.rjust(width)
                        for column, (text, width) in enumerate(zip(one, widths))).rstrip())
    print()
    for part, figures in found.items():
        if figures:
            print(f"{part}, {settings(figures)}")
    if not all(figures.get("exact", True) for figures in found.values() if figures):
        sys.exit("bench: counts are not exact")


if __name__ == "__main__":
    main()
