"""A plot, as SVG, of the figures of a part, beside their JSON: `plots.py FILE.json...`; each part draws its own at its end.
Parts without one are left out. Needs matplotlib (scripts/lib/packages-bench)."""

import collections
import json
import statistics
import sys

OURS, THEIRS, MORE = "#1f6f8b", "#b0b0b0", ["#1f6f8b", "#e07a3f", "#5a9e6f", "#8a6fb0", "#b0b0b0"]


def median_of(results, name="lines_per_s"):
    return statistics.median(result[name] for result in results)


def bars(axes, names, values, digits=2, colors=None):
    """Horizontal, the first on top, each with its value."""
    drawn = axes.barh(names, values, color=colors or OURS, height=0.6)
    axes.bar_label(drawn, [f"{value:.{digits}f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(axis="y", length=0)


def beside(axes, count, sides):
    """Bars of so many rounds; `sides`: name -> values. One with several values a round shows their mean."""
    width = 0.8 / len(sides)
    for number, (side, values) in enumerate(sides.items()):
        a_round = max(1, len(values) // count)
        means = [statistics.mean(values[at:at + a_round]) for at in range(0, len(values), a_round)]
        places = [at - 0.4 + (number + 0.5) * width for at in range(1, len(means) + 1)]
        axes.bar(places, means, width * 0.9, label=side, color=THEIRS if side.startswith("R") else MORE[number % len(MORE)])
    axes.set_xticks(range(1, count + 1))
    axes.legend(frameon=False, ncols=len(sides), loc="lower center", bbox_to_anchor=(0.5, 1))


def rounds(figure, figures):
    axes = figure.subplots()
    results = figures["results"]
    beside(axes, min(map(len, results.values())),
           {side: [run["lines_per_s"] / 1e6 for run in runs] for side, runs in results.items()})
    axes.set(xlabel="round", ylabel="million lines a second")


def peers(figure, figures):
    axes = figure.subplots()
    sides = sorted(figures["results"], key=lambda side: -median_of(figures["results"][side]))
    rates = [median_of(figures["results"][side]) / 1e6 for side in sides]
    bars(axes, sides, rates, 3, [OURS if side == "engine" else THEIRS for side in sides])
    axes.set(xscale="log", xlabel="million lines a second (log scale)")
    axes.set_xlim(right=3 * max(rates))


def variants(figure, figures):
    axes = figure.subplots()
    bars(axes, list(figures["results"]), [median_of(runs) / 1e6 for runs in figures["results"].values()])
    axes.set(xlabel="million lines a second")


def percentiles(figure, figures):
    """The tail by equal steps: each nine as far as the one before."""
    axes = figure.subplots()
    shares = [("p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("max", "max_ms")]
    values = [figures[name] for _, name in shares]
    axes.plot([share for share, _ in shares], values, marker="o", color=OURS)
    for place, value in enumerate(values):
        axes.annotate(f"{value:.0f}", (place, value), textcoords="offset points", xytext=(0, 8), ha="center")
    axes.set(ylabel="milliseconds from append to count in Redis", ylim=(0, 1.15 * max(values)))


def kills(figure, figures):
    axes = figure.subplots()
    shown = {"gap_s": "no count for", "caught_up_s": "as fast as before after",
             "gap_of_return_s": "no count when it comes again"}
    beside(axes, len(figures["kills"]), {label: [kill[name] for kill in figures["kills"]] for name, label in shown.items()})
    axes.set(xlabel="kill", ylabel="seconds")


def pauses(figure, figures):
    axes = figure.subplots()
    values = sorted(figures["pauses_ms"])
    axes.plot([100 * (at + 1) / len(values) for at in range(len(values))], values, color=OURS, marker=".")
    axes.set(xlabel="share of the checkpoints, %", ylabel="a lane stands still for, ms", xlim=(0, 101), ylim=(0, 1.1 * max(values)))


def key_memory(figure, figures):
    axes = figure.subplots()
    names = [f"{step['keys']:,} keys, {what}" for step in figures["steps"] for what in ("resident", "tables")]
    bars(axes, names, [step[name] for step in figures["steps"] for name in ("bytes_per_key", "told_bytes_per_key")], 1)
    axes.set(xlabel="bytes a key")


def starts(figure, figures):
    axes = figure.subplots()
    axes.bar(range(1, len(figures["start_s"]) + 1), figures["start_s"], 0.6, color=OURS)
    axes.set(xlabel="start", ylabel="seconds from start to first result")
    axes.set_xticks(range(1, len(figures["start_s"]) + 1))


def line(axes, names, values, ylabel, title=""):
    axes.plot(names, values, marker="o", color=OURS)
    axes.set(title=title, ylabel=ylabel, ylim=(0, 1.1 * max(values)))


def sweeps(figure, figures):
    """Rate above, CPU below: of lines, where lines get longer of words."""
    axes = figure.subplots(2, len(figures["results"]) + 1)
    for column, (axis, points) in enumerate(figures["results"].items()):
        by_value = collections.defaultdict(list)
        for point in points:
            by_value[point["value"]].append(point)
        names = [f"{value:,}" if isinstance(value, int) else value for value in by_value]
        what, title = ("word", "words a line") if axis == "words" else ("line", axis.replace("_", " "))
        each = [same[0]["words_a_line"] if what == "word" else 1 for same in by_value.values()]
        line(axes[0][column], names, [median_of(same) / 1e6 * count for same, count in zip(by_value.values(), each)],
             f"million {what}s a second", title)
        line(axes[1][column], names, [median_of(same, "cpu_us_per_line") / count for same, count in zip(by_value.values(), each)],
             f"us of CPU a {what}")
    for row, (kind, slides) in enumerate(figures["windows"].items()):
        line(axes[row][-1], [f"{length} s" for length in slides], list(slides.values()), "us a slide", f"window, {kind}")


# Part -> title, what draws it, width and height in inches.
PLOTS = {
    "throughput": ("Rate of each round", rounds, (7, 4)),
    "compressed": ("Rate of each round, compressed topics", rounds, (7, 4)),
    "peers": ("The same topic, counted by each", peers, (7, 3.5)),
    "cost": ("What checkpoints and Redis cost", variants, (7, 3)),
    "scaling": ("Lanes and workers", variants, (7, 3)),
    "latency": ("Latency", percentiles, (7, 4)),
    "latency_load": ("Latency at half of the sustained rate", percentiles, (7, 4)),
    "recovery": ("A worker killed by SIGKILL", kills, (8, 4)),
    "checkpoints": ("Pauses by checkpoints", pauses, (7, 4)),
    "memory": ("Memory of the state", key_memory, (7, 3)),
    "footprint": ("Start of the cluster to the first result", starts, (7, 4)),
    "sweeps": ("What the cost depends on", sweeps, (20, 7)),
}


def draw(path):
    """The path of the plot of these figures; None where there is nothing to draw, or nothing to draw with."""
    with open(path, encoding="utf-8") as file:
        figures = json.load(file)
    if figures.get("part") not in PLOTS:
        return None
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("svg")
    from matplotlib import pyplot

    # The same figures give the same file, with text that can be searched.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "millrace", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False})
    title, plot, size = PLOTS[figures["part"]]
    figure = pyplot.figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    plot(figure, figures)
    to = path.removesuffix(".json") + ".svg"
    figure.savefig(to, metadata={"Date": None})
    pyplot.close(figure)
    return to


if __name__ == "__main__":
    for json_file in sys.argv[1:]:
        print(draw(json_file) or f"{json_file}: no plot")
