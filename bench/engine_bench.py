"""The speed of the whole engine, side by side with librdkafka clients that only drop the messages: see scripts/bench.

Per round, one after the other on the same machine and the same text: R (two drop_only processes, each with half of the
partitions), the engine on the Kafka topic, R again, the engine on the embedded log. The engine: a master, two workers
with one lane each, all as processes, exactly once, with checkpoints and Redis. A rate counts the lines between the
first applied batch that is seen and the last one; `published` to the end of the last publication; `start` from the
submit on, with the start of the executors; `by CPU` compares CPU seconds a line, broker and Redis included, which says
something on a busy machine, too. Every count in Redis is compared with one by Python."""

import argparse
import collections
import json
import os
import random
import signal
import statistics
import subprocess
import time

from cluster import DIRECTORY, PARTITIONS, Cluster, add_options, begin, changed, finish, prefer, run, say
from processes import wait_for

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.02
ASKED = 1000  # counts of a job without a sink


class Text:
    """Lines by make_text, and their words' counts by Python; both are kept for the next run."""

    def __init__(self, options):
        self.lines = options.lines
        self.what = {"lines": options.lines, "vocabulary": options.vocabulary, "words_a_line": options.words,
                     "distribution": "Zipf, exponent 1", "seed": options.seed}
        name = f"text-{options.lines}-{options.vocabulary}-{options.words}-{options.seed}"
        self.path = f"{DIRECTORY}/{name}"
        if not os.path.exists(self.path):
            say(f"making a text of {options.lines:,} lines")
            with open(f"{self.path}.part", "wb") as file:
                subprocess.run([f"{options.bin}/make_text", f"--lines={options.lines}",
                                f"--vocabulary={options.vocabulary}", f"--words={options.words}",
                                f"--seed={options.seed}"], stdout=file, check=True)
            os.rename(f"{self.path}.part", self.path)
        self.what["bytes"] = os.path.getsize(self.path)
        self.counts = self._count()
        self.words = sum(self.counts.values())

    def _count(self):
        path = f"{self.path}.counts"
        if not os.path.exists(path):
            say("counting it by Python")
            counts = collections.Counter()
            with open(self.path, "rb") as file:
                while lines := file.readlines(16 << 20):
                    counts.update(b"".join(lines).split())
            with open(f"{path}.part", "w", encoding="utf-8") as file:
                json.dump({word.decode(): count for word, count in counts.items()}, file)
            os.rename(f"{path}.part", path)
        with open(path, encoding="utf-8") as file:
            return {word.encode(): count for word, count in json.load(file).items()}


class CpuTimes:
    """CPU seconds of the processes of a run, by role, and of the machine."""

    def __init__(self, roles):
        self.roles = roles  # name -> pids
        self.before = self._read()
        self.machine_before = self._machine()

    @staticmethod
    def _of(task):
        """`task`: a pid, or PID/task/TID."""
        try:
            with open(f"/proc/{task}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    @classmethod
    def by_thread(cls, pids):
        """Name of a thread -> CPU seconds of all threads of that name, most first."""
        seconds = collections.Counter()
        for pid in pids:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as file:
                    seconds[file.read().strip()] += cls._of(f"{pid}/task/{task}")
        return {name: round(spent, 2) for name, spent in seconds.most_common() if spent > 0}

    @staticmethod
    def _machine():
        with open("/proc/stat", encoding="utf-8") as file:
            user, nice, system, _, _, irq, softirq = (int(field) for field in file.readline().split()[1:8])
        return (user + nice + system + irq + softirq) / TICKS_PER_SECOND

    def _read(self):
        return {role: {pid: self._of(pid) for pid in pids()} for role, pids in self.roles.items()}

    def spent(self):
        """Role -> seconds since this was made, of the processes that are there now; `others`: what was not ours."""
        after = self._read()
        spent = {role: round(sum(seconds - self.before[role].get(pid, 0) for pid, seconds in after[role].items()), 2)
                 for role in self.roles}
        spent["others"] = round(max(0.0, self._machine() - self.machine_before - sum(spent.values())), 2)
        return spent


def spent_us_per_line(spent, lines):
    return sum(seconds for role, seconds in spent.items() if role != "others") / lines * 1e6


class Bench(Cluster):
    def __init__(self, options):
        super().__init__(options)
        self.jobs = 0
        self.texts = {}  # by the URI of the source that it was loaded into

    def load_topic(self, text, topic="lines", partitions=PARTITIONS, compression="none"):
        """The URI of a new Kafka topic with the text."""
        begin = time.monotonic()
        self.kafka.topic(topic, partitions)
        self.fill_topic(text, topic, partitions, compression)
        say(f"loaded the Kafka topic {topic} in {time.monotonic() - begin:.1f} s")
        self.texts[self.kafka.uri(topic)] = text
        return self.kafka.uri(topic)

    def fill_topic(self, text, topic, partitions=PARTITIONS, compression="none"):
        with open(text.path, "rb") as file:
            run([f"{self.bin}/load_topic", f"--brokers={self.kafka.address}", f"--topic={topic}",
                 f"--partitions={partitions}", f"--compression={compression}"], stdin=file)

    def load_log(self, text):
        begin = time.monotonic()
        with open(text.path, "rb") as file:
            self.cli("append", "log://lines", "--partitions", str(PARTITIONS), stdin=file)
        say(f"loaded the embedded log in {time.monotonic() - begin:.1f} s")
        self.texts["log://lines"] = text
        return "log://lines"

    # --- the two sides ---

    def measure_r(self, source):
        """Lines a second of two librdkafka processes that only drop."""
        cpu = CpuTimes({"kafka": self.kafka_pids})
        half = PARTITIONS // 2
        topic = source.rpartition("/")[2]
        clients = [subprocess.Popen([f"{self.bin}/drop_only", f"--brokers={self.kafka.address}", f"--topic={topic}",
                                     f"--first_partition={number * half}", f"--partitions={half}"],
                                    stdout=subprocess.PIPE, text=True, start_new_session=True) for number in (0, 1)]
        self.prefer(client.pid for client in clients)
        answers = []
        for client in clients:
            out, _ = client.communicate(timeout=600)
            if client.returncode != 0:
                raise SystemExit("bench: drop_only failed")
            answers.append(json.loads(out))
        spent = cpu.spent()
        spent["clients"] = round(sum(answer["cpu_s"] for answer in answers), 2)
        spent["others"] = round(max(0.0, spent["others"] - spent["clients"]), 2)
        lines = sum(answer["messages"] for answer in answers)
        if lines != self.texts[source].lines:
            raise SystemExit(f"bench: drop_only saw {lines} lines of {self.texts[source].lines}")
        seconds = max(answer["end"] for answer in answers) - min(answer["first"] for answer in answers)
        return {"lines_per_s": lines / seconds, "seconds": seconds, "cpu_s": spent,
                "cpu_us_per_line": spent_us_per_line(spent, lines)}

    def measure_engine(self, source, look=None, **changes):
        """A job over the whole of a full source: rates, CPU seconds by process, batches and checkpoints. `changes`: of the
        options; look(connection, name) adds to the result what can be seen while the job is still there."""
        options = changed(self.options, **changes)
        text = self.texts[source]
        self.jobs += 1
        name = f"bench{self.jobs}"
        sink = self.redis.uri if options.sink == "redis" else "none:"
        perf = self.start_perf(source.split(":")[0])
        cpu = CpuTimes({"executors": self.executor_pids, "master": lambda: [self.master.pid],
                        "redis": lambda: [self.redis.process.pid], "kafka": self.kafka_pids})
        settings = [part for setting in options.set for part in ("--set", setting)]
        begin = time.monotonic()
        self.cli("submit", "word_count", "--name", name, "--source", source, "--sink", sink, "--start", "earliest",
                 "--batch-interval", options.batch_interval, "--checkpoint-interval", options.checkpoint_interval, *settings)
        with self.api() as connection:
            result = self.follow(connection, name, text, begin)
            result["cpu_s"] = cpu.spent()
            result["cpu_us_per_line"] = spent_us_per_line(result["cpu_s"], text.lines)
            if perf:
                perf.send_signal(signal.SIGINT)
                perf.wait(60)
            if look:
                result |= look(connection, name)
            result["executor_threads_cpu_s"] = CpuTimes.by_thread(self.executor_pids())  # with what look() waits for
            result["exact"] = (result["emitted"] == text.words and result["dead_letters"] == 0
                               and self.has_counts(connection, name, sink, text))
        self.cli("kill", name, "--purge")
        return result

    def has_counts(self, connection, name, sink, text):
        """Of a job without a sink some of the counts are asked for."""
        if sink != "none:":
            return self.redis.counts(name) == text.counts
        words = random.Random(42).sample(sorted(text.counts), min(len(text.counts), ASKED))
        values = connection.query.get(name, words, 0, "").values
        return [value.text for value in values] == [str(text.counts[word]) for word in words]

    def start_perf(self, source):
        if not self.options.perf:
            return None
        path = f"{DIRECTORY}/perf-{source}.data"
        if os.path.exists(path):
            os.remove(path)
        perf = subprocess.Popen(["perf", "record", "-a", "-g", "-e", "cpu-clock", "-F", "499", "-o", path],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("perf", lambda: os.path.exists(path) and os.path.getsize(path) > 0)
        return perf

    def follow(self, connection, name, text, begin):
        first = applied_at = None
        rounds = set()
        checkpoints = set()
        deadline = time.monotonic() + self.options.limit
        while True:
            description = connection.control.describe(name)
            now = time.monotonic()
            job = description.summary
            if job.state == "failed" or now > deadline:
                raise SystemExit(f"bench: job {name} is {job.state} with {job.records} of {text.lines} lines "
                                 f"counted; {job.problem}")
            rounds.add(job.published)
            checkpoints.add(description.checkpoint_batch)
            if self.options.prefer and first is None:
                prefer(self.executor_pids())
            if first is None and job.records > 0:
                first = (now, job.records)
            if applied_at is None and job.records == text.lines:
                applied_at = (now, job.applied.batch)
            if applied_at and job.published >= applied_at[1]:
                break
            time.sleep(POLL_SECONDS)
        counted = text.lines - first[1]
        if counted == 0:
            raise SystemExit("bench: all lines were in the first batch; more --lines are needed")
        return {"lines_per_s": counted / (applied_at[0] - first[0]), "seconds": applied_at[0] - first[0],
                "published_lines_per_s": counted / (now - first[0]),
                "start_lines_per_s": text.lines / (now - begin), "first_batch_s": first[0] - begin,
                "emitted": job.emitted, "dead_letters": job.dead_letters, "batches": applied_at[1],
                "rounds": len(rounds - {0}), "checkpoints": len(checkpoints - {0})}


def median(values):
    return statistics.median(values) if values else None


def show_round(what, result):
    ratio = f"{result['ratio']:6.3f} R" if "ratio" in result else " " * 8
    cpu = "  ".join(f"{role} {seconds:.1f}" for role, seconds in result["cpu_s"].items() if seconds >= 0.05)
    more = ""
    if "exact" in result:
        more = (f"; {result['batches']} batches, {result['rounds']} publications, {result['checkpoints']} checkpoints, "
                f"exact: {'yes' if result['exact'] else 'NO'}")
    say(f"  {what:<14} {result['lines_per_s'] / 1e6:6.2f} M lines/s  {ratio}  {result['cpu_us_per_line']:.2f} us CPU a line: {cpu}{more}")
    if "executor_threads_cpu_s" in result:
        threads = list(result["executor_threads_cpu_s"].items())[:8]
        say("                 threads of the executors: " + "  ".join(f"{name} {spent:.2f}" for name, spent in threads))


def say_round(number, options):
    say(f"round {number + 1} of {options.rounds}; load average {os.getloadavg()[0]:.1f}")


def compare(result, r):
    """What an engine's result has besides, of the R before it."""
    for rate in ("", "published_", "start_"):
        result[f"{rate}ratio"] = result[f"{rate}lines_per_s"] / r["lines_per_s"]
    result["cpu_ratio"] = r["cpu_us_per_line"] / result["cpu_us_per_line"]


def measure(bench, options, sources):
    """One list of results by side."""
    results = collections.defaultdict(list)
    for number in range(options.rounds):
        say_round(number, options)
        for side, source in sources.items():
            if "kafka" in sources:
                results["R"].append(bench.measure_r(sources["kafka"]))
                show_round("R", results["R"][-1])
            result = bench.measure_engine(source)
            if "kafka" in sources:
                compare(result, results["R"][-1])
            results[side].append(result)
            show_round(f"engine, {side}", result)
    return results


def print_table(options, text, results):
    names = {"R": "R: two librdkafka clients that only drop", "kafka": "whole engine on Kafka",
             "log": "whole engine on the embedded log"}
    say(f"\n{'medians of ' + str(options.rounds) + ' rounds':<42}{'M lines/s':>10}{'ratio':>8}{'published':>11}{'from start':>12}{'by CPU':>8}")
    for side, name in names.items():
        if side not in results:
            continue
        line = f"{name:<42}{median([result['lines_per_s'] for result in results[side]]) / 1e6:>10.2f}"
        if side != "R" and "ratio" in results[side][0]:
            for ratio, width in (("ratio", 8), ("published_ratio", 11), ("start_ratio", 12), ("cpu_ratio", 8)):
                line += f"{median([result[ratio] for result in results[side]]):>{width}.3f}"
        say(line)
    say(about(options, text))


def about(options, text=None, sink=None, partitions=f"{PARTITIONS} partitions", compression="no compression",
          workers="2 workers of 1 lane"):
    """The settings behind the figures, in a sentence."""
    sink = sink or {"redis": "Redis on (one process, not durable)", "none": "no sink"}[options.sink]
    said = f"{text.lines:,} lines of {options.words} words, {text.what['bytes'] / text.lines:.0f} bytes a line, " if text else ""
    return (f"{said}{options.vocabulary:,} words in the vocabulary (Zipf, exponent 1, seed {options.seed}), {partitions}, "
            f"{compression}; master and {workers}; batch interval {options.batch_interval}, checkpoint interval "
            f"{options.checkpoint_interval}, {sink}, {', '.join(options.set) or 'rank of 1,000'}; {os.cpu_count()} cores for "
            "everything, broker included")


def add_rate_options(parser, lines, quick_lines):
    """Those of parts that measure how fast a text is counted."""
    parser.add_argument("--lines", type=int, default=lines)
    parser.add_argument("--quick", action="store_true", help=f"{quick_lines:,} lines and one round: does it run at all")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=200_000)
    parser.add_argument("--words", type=int, default=10, help="words a line")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--batch-interval", default="100ms")
    parser.add_argument("--checkpoint-interval", default="1s")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a run of the engine has failed")
    parser.set_defaults(sink="redis", perf=False, set=[], quick_lines=quick_lines)


def parse_rate_options(parser):
    options = parser.parse_args()
    if options.quick:
        options.lines, options.rounds = options.quick_lines, 1
    return options


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench throughput", description="The engine against librdkafka that only drops.")
    add_rate_options(parser, 10_000_000, 3_000_000)
    parser.add_argument("--sources", default="kafka,log", help="kafka, log or both (R needs kafka)")
    parser.add_argument("--sink", choices=["redis", "none"])
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="a setting of the job")
    parser.add_argument("--perf", action="store_true", help="record profiles of the engine: build/bench/perf-SOURCE.data")
    add_options(parser, "throughput.json")
    options = parse_rate_options(parser)
    options.sources = options.sources.split(",")
    if set(options.sources) - {"kafka", "log"}:
        parser.error("--sources takes kafka and log")
    return options


def main():
    options = parse_options()
    begin()
    text = Text(options)
    with Bench(options) as bench:
        loads = {"kafka": bench.load_topic, "log": bench.load_log}
        results = measure(bench, options, {side: loads[side](text) for side in options.sources})
    print_table(options, text, results)
    finish(options, {"about": about(options, text), "text": text.what, "partitions": PARTITIONS, "sink": options.sink,
                     "batch_interval": options.batch_interval, "checkpoint_interval": options.checkpoint_interval,
                     "settings": options.set, "results": results},
           all(result["exact"] for source in options.sources for result in results[source]))


if __name__ == "__main__":
    main()
