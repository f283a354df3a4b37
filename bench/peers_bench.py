"""The engine beside Kafka Streams, Flink, Spark and a plain program, on the same topic and cores: see scripts/bench.

Per round, one after the other: R, the engine, and each peer: one JVM with two threads at work, set up as in its program
in bench/peers. A peer's rate is that from a fifth of the words on, so that its code is compiled by then, to 99 of 100.
Every count of every peer is compared with one by Python. Kafka Streams gets a part of the text: all of it would take it
many minutes."""

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import threading

from cluster import DIRECTORY, PARTITIONS, add_options, begin, changed, finish, prefer, run, say
from engine_bench import (Bench, CpuTimes, Text, about, add_rate_options, median, parse_rate_options, say_round,
                          spent_us_per_line)

OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED"
         for package in ("java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio",
                         "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch",
                         "sun.nio.cs", "sun.security.action", "sun.util.calendar")]
Peer = collections.namedtuple("Peer", "title jars program few")
SOURCES = f"{os.path.dirname(os.path.abspath(__file__))}/peers"
PEERS = {
    "kafka-streams": Peer("Kafka Streams 3.9.1", "kafka-streams-3.9.1", "KafkaStreamsCount", True),
    "flink": Peer("Flink 1.20.0 DataStream", "flink-1.20.0", "FlinkCount", False),
    "spark": Peer("Spark Structured Streaming 3.5.3", "spark-3.5.3", "SparkCount", False),
}
BEGIN, END = 0.2, 0.99  # of the words, between which a peer's rate is taken


class PeersBench(Bench):
    def compile(self, name):
        """The class path of a peer's program, compiled."""
        peer = PEERS[name]
        jars = f"{self.options.cache}/{peer.jars}/*"
        classes = f"{DIRECTORY}/peers/{name}"
        os.makedirs(classes, exist_ok=True)
        sources = [f"{SOURCES}/{source}.java" for source in ("Counted", peer.program)]
        run(["javac", "-nowarn", "-d", classes, "-cp", jars, *sources])
        return f"{classes}:{jars}"

    def measure_peer(self, name, class_path, source):
        peer = PEERS[name]
        text = self.texts[source]
        state = f"{DIRECTORY}/peers/state"
        shutil.rmtree(state, ignore_errors=True)
        os.makedirs(state)
        counts = f"{DIRECTORY}/peers/counts"
        log = f"{DIRECTORY}/peers/{name}.log"
        cpu = CpuTimes({"kafka": self.kafka_pids})
        with open(log, "wb") as errors:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "java", f"-Xmx{self.options.heap}",
                 f"-Xms{self.options.heap}", f"-Dlog4j2.configurationFile={SOURCES}/log4j2.properties", *OPENS, "-cp", class_path, peer.program, self.kafka.address,
                 source.rpartition("/")[2], str(text.words), counts, state],
                stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        try:
            samples = self.read_samples(process, name, log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        spent = {"clients": round(process.used.ru_utime + process.used.ru_stime, 2), **cpu.spent()}
        return {**self.rate(samples, text), "cpu_s": spent, "cpu_us_per_line": spent_us_per_line(spent, text.lines),
                "exact": self.counted(counts) == text.counts, "lines": text.lines}

    def read_samples(self, process, name, log):
        """(seconds, words) while the peer counts, until it has ended."""
        if self.options.prefer:
            prefer([process.pid])
        late = threading.Timer(self.options.limit, process.kill)
        late.start()
        samples = []
        for line in process.stdout:
            milliseconds, words = line.split()
            samples.append((int(milliseconds) / 1000, int(words)))
        late.cancel()
        _, status, process.used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or not samples:
            raise SystemExit(f"bench: {name} failed, or took longer than {self.options.limit:.0f} s; look at {log}")
        return samples

    @staticmethod
    def rate(samples, text):
        first = next(sample for sample in samples if sample[1] >= BEGIN * text.words)
        last = next(sample for sample in samples if sample[1] >= END * text.words)
        if last[0] == first[0]:
            raise SystemExit("bench: a peer counted most of the words at once; more --lines are needed")
        words_per_s = (last[1] - first[1]) / (last[0] - first[0])
        return {"lines_per_s": words_per_s * text.lines / text.words, "seconds": last[0] - first[0]}

    @staticmethod
    def counted(path):
        with open(path, "rb") as file:
            return {word: int(count) for word, count in (line.split(b"\t") for line in file)}

    def measure_plain(self, text):
        counts = f"{DIRECTORY}/peers/counts"
        answer = json.loads(run([f"{self.bin}/plain_count", text.path, counts]))
        return {"lines_per_s": answer["lines"] / answer["seconds"], "seconds": answer["seconds"],
                "cpu_s": {"clients": round(answer["cpu_s"], 2)}, "cpu_us_per_line": answer["cpu_s"] / answer["lines"] * 1e6,
                "exact": self.counted(counts) == text.counts, "lines": answer["lines"]}


def measure(bench, options, lines, few):
    results = collections.defaultdict(list)
    class_paths = {name: bench.compile(name) for name in options.peers}
    for number in range(options.rounds):
        say_round(number, options)

        def add(side, result):
            results[side].append(result)
            say(f"  {side:<14} {result['lines_per_s'] / 1e6:7.3f} M lines/s  {result['cpu_us_per_line']:.2f} us CPU a line"
                + ("" if result.get("exact", True) else "  NOT EXACT"))

        add("R", bench.measure_r(lines))
        add("engine", bench.measure_engine(lines))
        for name in options.peers:
            add(name, bench.measure_peer(name, class_paths[name], few if PEERS[name].few else lines))
        add("plain", bench.measure_plain(bench.texts[lines]))
    return results


def print_table(options, text, few, results):
    titles = {"R": "R: two librdkafka clients that only drop", "engine": "Millrace, whole engine on Kafka",
              **{name: PEERS[name].title for name in options.peers}, "plain": "plain program: one core, a file, no Kafka"}
    engine = median([result["lines_per_s"] for result in results["engine"]])
    gigabytes_per_line = text.what["bytes"] / text.lines / 1e9
    say(f"\n{'medians of ' + str(options.rounds) + ' rounds':<44}{'M lines/s':>10}{'of R':>8}{'Millrace is':>13}{'CPU s per GB':>14}")
    for side, title in titles.items():
        rate = median([result["lines_per_s"] for result in results[side]])
        cpu = median([result["cpu_us_per_line"] for result in results[side]]) / 1e6 / gigabytes_per_line
        of_r = rate / median([result["lines_per_s"] for result in results["R"]])
        say(f"{title:<44}{rate / 1e6:>10.3f}{of_r:>8.3f}{engine / rate:>12.1f}x{cpu:>14.1f}")
    say(peers_about(options, text, few))


def peers_about(options, text, few):
    return (f"{about(options, text)}; peers: heap of {options.heap}; Flink with a checkpoint each second; Spark with micro-batches "
            f"of 1,000,000 lines; Kafka Streams {few.lines:,} lines, a commit each second, at least once; their updates go to "
            "sinks that keep or drop them in memory")


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench peers", description="The engine beside other engines.")
    add_rate_options(parser, 10_000_000, 1_000_000)
    parser.set_defaults(rounds=1)
    parser.add_argument("--few-lines", type=int, default=600_000, help="for Kafka Streams")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of them")
    parser.add_argument("--heap", default="4g", help="of each JVM")
    parser.add_argument("--cache", help=argparse.SUPPRESS)  # where scripts/bench put the jars
    add_options(parser, "peers.json")
    options = parse_rate_options(parser)
    if options.quick:
        options.few_lines = 100_000
    options.peers = options.peers.split(",")
    if set(options.peers) - set(PEERS):
        parser.error(f"--peers takes {', '.join(PEERS)}")
    return options


def main():
    options = parse_options()
    begin()
    text = Text(options)
    few = Text(changed(options, lines=options.few_lines))
    with PeersBench(options) as bench:
        results = measure(bench, options, bench.load_topic(text), bench.load_topic(few, "few"))
    print_table(options, text, few, results)
    finish(options, {"about": peers_about(options, text, few), "text": text.what, "few_lines": few.lines, "partitions": PARTITIONS, "heap": options.heap,
                     "batch_interval": options.batch_interval, "checkpoint_interval": options.checkpoint_interval,
                     "results": results},
           all(result.get("exact", True) for side in results.values() for result in side))


if __name__ == "__main__":
    main()
