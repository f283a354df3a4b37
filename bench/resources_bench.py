"""What the engine takes besides time between log and sink: see scripts/bench.

words: split and count from memory, on one core. shuffle: bytes that the executors send each other, as TCP counts them. memory:
of the executors, per distinct key. checkpoints: how long a lane does nothing else for one, and what it takes in the
background, under full load, all of a million keys changed between two of them. views: what it costs the counting that
all counts are exported over and over meanwhile. footprint: resident memory of master and two workers
without a job, and the time from their start to a job's first result."""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import threading
import time

from cluster import DIRECTORY, PARTITIONS, add_options, begin, changed, finish, prefer, quantile, run, say
from engine_bench import Bench, CpuTimes, Text, add_rate_options, about, median, parse_rate_options, say_round, show_round
from processes import wait_for

KEYS_A_LINE = 20
NEVER = "24h"  # a checkpoint interval


class Keys:
    """A text of so many distinct words of 8 bytes, from `first` on, all of them so many times over."""

    def __init__(self, keys, passes=1, first=0):
        self.path = f"{DIRECTORY}/keys-{keys}-{passes}-{first}"
        self.lines = passes * ((keys + KEYS_A_LINE - 1) // KEYS_A_LINE)
        self.words = keys * passes
        self.counts = {b"k%07d" % number: passes for number in range(first, first + keys)}
        words = list(self.counts)
        once = b"\n".join(b" ".join(words[at:at + KEYS_A_LINE]) for at in range(0, keys, KEYS_A_LINE)) + b"\n"
        with open(self.path, "wb") as file:
            for _ in range(passes):
                file.write(once)
        self.what = {"lines": self.lines, "bytes": os.path.getsize(self.path), "keys": keys, "passes": passes}


def pss_mb(pids):
    """Megabytes of memory that are these processes' own, shared pages in shares."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
    return total * 1024 / 1e6


def settled_pss_mb(pids, seconds=10):
    """Once it does not change any more: of two looks with a second between the first that agree, or the last."""
    last = pss_mb(pids())
    for _ in range(seconds):
        time.sleep(1)
        now = pss_mb(pids())
        if abs(now - last) < 0.005 * last:
            break
        last = now
    return now


# --- words ---

def words(options):
    lines = 100_000 if options.quick else 1_000_000
    names = {"engine": f"split_and_count/word_count/{lines}", "least": f"least/{lines}"}
    command = [f"{options.bin}/stream_benchmark", f"--benchmark_filter=^({'|'.join(names.values())})$",
               f"--benchmark_repetitions={options.rounds}", "--benchmark_enable_random_interleaving=true",
               "--benchmark_format=json"]
    if options.prefer:
        prefer([os.getpid()])
    answer = json.loads(run(command, timeout=600))
    ns = {side: [one["per_word"] * 1e9 for one in answer["benchmarks"]
                 if one["run_type"] == "iteration" and one["run_name"].startswith(name)] for side, name in names.items()}
    if not all(ns.values()):
        raise SystemExit("bench: stream_benchmark has no split_and_count, or no least")
    say(f"split and count from memory: {median(ns['engine']):.1f} ns of one core a word; the least loop that counts them: "
        f"{median(ns['least']):.1f} ns")
    return ({"ns_per_word": ns["engine"], "least_ns_per_word": ns["least"], "exact": True},
            f"batches of {lines:,} lines of 10 words, vocabulary of 200,000 (Zipf, exponent 1), one thread, CPU time; the table is "
            "cleared after each batch. Least: the same words in a table of 32 bytes a slot, without partitions, long words and "
            "anything that could be sent")


# --- shuffle ---

def sent_between(pids):
    """Bytes that TCP connections between these processes have sent."""
    ends, sent = set(), []
    for line in run(["ss", "-HtinpO", "state", "established"]).splitlines():
        fields = line.split()
        pid = re.search(r"pid=(\d+)", line)
        if pid and int(pid.group(1)) in pids:
            count = re.search(r"bytes_sent:(\d+)", line)
            ends.add(fields[2])
            sent.append((fields[3], int(count.group(1)) if count else 0))
    return sum(count for peer, count in sent if peer in ends)


def shuffle(options):
    text = Text(options)
    results = []
    with Bench(options) as bench:
        topic = bench.load_topic(text)
        for number in range(options.rounds):
            say_round(number, options)
            result = bench.measure_engine(topic, look=lambda *_: {"sent_bytes": sent_between(bench.executor_pids())})
            result["share"] = result["sent_bytes"] / text.what["bytes"]
            results.append(result)
            show_round("engine, kafka", result)
            say(f"  bytes between the executors: {result['sent_bytes'] / 1e6:.1f} MB, {result['share']:.4f} of the text, of "
                f"{text.lines / result['batches']:,.0f} lines a batch")
    if not all(result["sent_bytes"] for result in results):
        raise SystemExit("bench: no connection between the executors was found")
    return ({"share": [result["share"] for result in results], "lines_a_batch": text.lines / results[-1]["batches"],
             "results": {"engine": results}, "exact": all(result["exact"] for result in results)}, about(options, text))


# --- memory ---

def memory(options):
    first, all_keys = (100_000, 1_000_000) if options.quick else (1_000_000, 10_000_000)
    parts = [Keys(first), Keys(all_keys - first, first=first)]
    name, steps, exact = "memory", [], True
    with Bench(options) as bench:
        bench.kafka.topic("keys", PARTITIONS)
        bench.cli("submit", "word_count", "--name", name, "--source", bench.kafka.uri("keys"), "--sink", "none:",
                  "--batch-interval", options.batch_interval, "--checkpoint-interval", options.checkpoint_interval)
        with bench.api() as connection:
            def description():
                return connection.control.describe(name)

            wait_for("executors", lambda: len(description().executors) == 2, 30)
            before = settled_pss_mb(bench.executor_pids)
            keys = 0
            for part in parts:
                keys += part.words
                bench.fill_topic(part, "keys")
                wait_for("all keys in a checkpoint",
                         lambda: description().summary.emitted >= keys
                         and description().checkpoint_batch >= description().summary.changed, options.limit)
                resident = settled_pss_mb(bench.executor_pids)
                told = wait_for("all keys to be told of", lambda: told_of(description(), keys), 30)
                steps.append({"keys": keys, "bytes_per_key": (resident - before) * 1e6 / keys, "resident_mb": resident,
                              "told_bytes_per_key": told / keys})
                exact = exact and bench.has_counts(connection, name, "none:", part)
                say(f"{keys:,} keys: {steps[-1]['bytes_per_key']:.1f} bytes of memory a key; executors {resident:.0f} MB, "
                    f"{before:.0f} MB before; tables, as told: {steps[-1]['told_bytes_per_key']:.1f} bytes a key")
    return ({"steps": steps, "before_mb": before, "exact": exact},
            "distinct words of 8 bytes, Pss of both executors, after the last checkpoint, less that before the first line; no sink; "
            f"batches of {options.batch_interval}, checkpoints each {options.checkpoint_interval}, 2 workers of 1 lane")


def told_of(description, keys):
    """Bytes of the tables, once executors have told of all keys."""
    if sum(executor.keys for executor in description.executors) != keys:
        return None
    return sum(executor.memory_bytes for executor in description.executors)


# --- checkpoints ---

def pauses_ms(connection, name):
    """Of all batches that began a checkpoint: the longest for which a lane copied and did nothing else. At least of one."""
    wait_for("a checkpoint", lambda: connection.control.describe(name).checkpoint_batch > 0, 30)
    steps = [step for batch in connection.control.batches(name, 600, 0).batches for step in batch.steps
             if step.name == "checkpoint" and step.lanes > 0]
    return {"pauses_ms": [step.lane_most_us / 1000 for step in steps]}


def background_s(result):
    """The checkpoints' threads, and the executors' loops, which sort for them."""
    threads = result["executor_threads_cpu_s"]
    return threads.get("checkpoints", 0.0), threads.get("executor", 0.0)


def checkpoints(options):
    keys, passes = (200_000, 100) if options.quick else (1_000_000, 60)
    text = Keys(keys, passes)
    results = collections.defaultdict(list)
    with Bench(options) as bench:
        topic = bench.load_topic(text)
        for number in range(options.rounds):
            say_round(number, options)
            for side, changes in (("without", {"checkpoint_interval": NEVER}), ("with", {"look": pauses_ms})):
                results[side].append(bench.measure_engine(topic, **changes))
                show_round(side, results[side][-1])
    pauses = [pause for result in results["with"] for pause in result["pauses_ms"]]
    cpu = []
    for without, with_them in zip(results["without"], results["with"]):
        files, loops = background_s(with_them)
        cpu.append((files + max(0.0, loops - background_s(without)[1])) / len(with_them["pauses_ms"]))
    figures = {"keys": keys, "pauses_ms": pauses, "pause_p50_ms": quantile(pauses, 0.5), "pause_p99_ms": quantile(pauses, 0.99),
               "cpu_s": cpu, "results": results, "exact": all(result["exact"] for side in results.values() for result in side)}
    say(f"{len(pauses)} checkpoints: a lane does nothing else for {figures['pause_p50_ms']:.1f} ms (p50), {figures['pause_p99_ms']:.1f} "
        f"ms (p99); {median(cpu):.2f} s of CPU in the background each")
    return figures, (f"{keys:,} distinct words of 8 bytes, each {passes} times, in turn, as fast as they can be counted; the lane "
                     f"with most to copy; CPU of the threads of checkpoints, and what the executors' loops take more than without; "
                     f"batches of {options.batch_interval}, checkpoints each {options.checkpoint_interval}, no sink, 2 workers of 1 "
                     "lane")


# --- views ---

class Exports:
    """`millrace export` of a job, one after the other, within `with`: keys that were read, and those it takes them from."""

    def __init__(self, bench, name):
        self.command = ["nice", f"{bench.bin}/millrace", f"--api={bench.api_address}", "export", name]
        self.keys, self.whole, self.over = 0, 0, False
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over:
            with subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
                while part := reader.stdout.read(1 << 20):
                    self.keys += part.count(b"\n")
                    if self.over:
                        reader.kill()
            self.whole += reader.returncode == 0
            time.sleep(0.01)  # until the job has a checkpoint

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


def views(options):
    keys, passes = (1_000_000, 20) if options.quick else (10_000_000, 6)
    text = Keys(keys, passes)
    results, exported = collections.defaultdict(list), []
    with Bench(options) as bench:
        topic = bench.load_topic(text)
        for number in range(options.rounds):
            say_round(number, options)
            results["without"].append(bench.measure_engine(topic))
            show_round("without", results["without"][-1])
            with Exports(bench, f"bench{bench.jobs + 1}") as exports:
                results["exporting"].append(bench.measure_engine(topic))
            show_round("exporting", results["exporting"][-1])
            exported.append({"keys": exports.keys, "whole_tables": exports.whole})
            say(f"  {exports.keys:,} lines exported meanwhile, {exports.whole} whole tables")
    rates = {side: median([result["lines_per_s"] for result in runs]) for side, runs in results.items()}
    if not all(one["keys"] for one in exported):
        raise SystemExit("bench: nothing was exported")
    share = rates["exporting"] / rates["without"]
    say(f"counting while all is exported: {share:.3f} of without")
    return ({"keys": keys, "share": share, "exported": exported, "results": results,
             "exact": all(result["exact"] for side in results.values() for result in side)},
            f"{keys:,} distinct words of 8 bytes, each {passes} times, in turn, as fast as they can be counted; exports (`nice "
            f"millrace export`) from the first checkpoint to the end; batches of {options.batch_interval}, checkpoints each "
            f"{options.checkpoint_interval}, no sink, 2 workers of 1 lane")


# --- footprint ---

def first_result_s(bench, source, text, number):
    """From the start of master and workers to the first count in Redis."""
    name = f"first{number}"
    begin = time.monotonic()
    bench.start_engine()
    wait_for("the master", lambda: bench.known_workers() is not None, 30, 0.002)
    bench.cli("submit", "word_count", "--name", name, "--source", source, "--sink", bench.redis.uri, "--start", "earliest",
              "--batch-interval", bench.options.batch_interval, "--checkpoint-interval", bench.options.checkpoint_interval)
    wait_for("a count", lambda: bench.redis.client.exists(f"{{{name}}}:counts"), 30, 0.002)
    seconds = time.monotonic() - begin
    wait_for("all counts", lambda: bench.redis.counts(name) == text.counts, 30)
    return seconds


def footprint(options):
    text = Text(changed(options, lines=1000))
    with Bench(options) as bench:
        source = bench.load_topic(text)
        empty = settled_pss_mb(lambda: [bench.master.pid, *(worker.pid for worker in bench.workers)])
        executors_before = bench.executor_pids()
        starts = [first_result_s(bench, source, text, number) for number in range(options.rounds)]
    if executors_before:
        raise SystemExit("bench: a worker has executors without a job")
    say(f"master and two workers without a job: {empty:.0f} MB of memory together")
    say(f"from their start to the first count in Redis: {statistics.median(starts):.2f} s, {min(starts):.2f} to {max(starts):.2f} s")
    return ({"resident_mb": empty, "start_s": starts, "exact": True},
            f"Pss of master and two workers of 1 lane; from the start of the three processes to the first count in Redis, of a topic "
            f"of {text.lines:,} lines; Kafka and Redis run already; batches of {options.batch_interval}")


# Part -> function, rounds, lines, lines of --quick, batch interval, sink.
PARTS = {"words": (words, 5, 0, 0, "100ms", "none"), "shuffle": (shuffle, 2, 10_000_000, 3_000_000, "1s", "redis"),
         "memory": (memory, 1, 0, 0, "100ms", "none"), "checkpoints": (checkpoints, 3, 0, 0, "100ms", "none"),
         "views": (views, 2, 0, 0, "100ms", "none"),
         "footprint": (footprint, 5, 0, 0, "100ms", "redis")}


def parse_options():
    chooser = argparse.ArgumentParser(add_help=False)
    chooser.add_argument("part", choices=PARTS)
    part = chooser.parse_known_args()[0].part
    _, rounds, lines, quick_lines, interval, sink = PARTS[part]
    parser = argparse.ArgumentParser(prog=f"scripts/bench {part}", description=__doc__)
    parser.add_argument("part", help=argparse.SUPPRESS)
    add_rate_options(parser, lines, quick_lines)
    parser.set_defaults(rounds=rounds, batch_interval=interval, sink=sink)
    add_options(parser, f"{part}.json")
    return parse_rate_options(parser)


def main():
    options = parse_options()
    begin()
    figures, settings = PARTS[options.part][0](options)
    say(settings)
    finish(options, {"about": settings, **figures}, figures["exact"])


if __name__ == "__main__":
    main()
