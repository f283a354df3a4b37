"""A gateway beside FastAPI: see scripts/bench. The same endpoint, POST /submit_text, into the same Kafka, answered when a
text is durable (acks=all, idempotent); then from a text sent to its count readable, beside a FastAPI service that counts
in a dict of its own; then thousands of readers of a job's stream of changes.

bench/http_load_main.cc sends. It, the broker, the engine and what is measured share the machine's cores, so no figure is one of
a machine of its own. In the end the counts are compared with what was sent: before and after a kill -9 of both services."""

import argparse
import collections
import itertools
import json
import os
import signal
import subprocess
import urllib.request

from cluster import DIRECTORY, PARTITIONS, ROOT, Cluster, add_options, begin, finish, prefer, run, say
from processes import Process, free_port, wait_for

VENV = f"{ROOT}/build/bench/fastapi"
JOB = "words"
LINES = 4096  # of the text, which come again and again


class Service:
    """A process that is asked by HTTP."""

    def __init__(self, cluster, name, command, environment=None):
        self.cluster, self.port = cluster, free_port()
        self.process = Process(name, [part.replace("PORT", str(self.port)) for part in command], DIRECTORY, environment)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.end()

    def start(self):
        self.process.start()
        wait_for(f"{self.process.name}", lambda: self.get("/ready"), 60)
        self.cluster.prefer([self.process.pid])

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read().decode() or "{}"

    def submit(self, text):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/submit_text", json.dumps({"text": text}).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status == 200

    def count(self, word):
        return json.loads(self.get(f"/api/v1/jobs/{JOB}/counts/{word}"))["count"] or 0

    def load(self, text, **flags):
        """What the load generator says."""
        program = subprocess.Popen(
            [f"{self.cluster.bin}/http_load", f"--port={self.port}", f"--text={text}",
             *(f"--{name}={value}" for name, value in flags.items())], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.cluster.prefer([program.pid])
        said, problem = program.communicate(timeout=flags["warm_up"] + flags["seconds"] + 120)
        if program.returncode != 0:
            raise SystemExit(f"bench: the load on {self.process.name} failed: {problem.strip()}\n{self.process.tail(5)}")
        return json.loads(said)


def gateway(cluster, uri, name="gateway"):
    return Service(cluster, name, [f"{cluster.bin}/millrace-gateway", f"--api={cluster.api_address}", "--http=127.0.0.1:PORT",
                                   f"--logs=text={uri}"])


def fastapi(cluster, workers, kafka=None, topic=""):
    """Without `kafka` it counts by itself, for which it has to be one process."""
    environment = {"KAFKA": kafka, "TOPIC": topic} if kafka else {}
    return Service(cluster, f"fastapi-{workers}", [
        f"{VENV}/bin/uvicorn", "fastapi_service:app", f"--app-dir={ROOT}/bench/peers", "--host=127.0.0.1", "--port=PORT",
        f"--workers={workers}", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"], environment)


def submissions(cluster, options, text):
    """Texts a second that are answered as durable, of each service; then the latency of the gateway at half of its own."""
    flags = {"connections": options.connections, "seconds": options.seconds, "warm_up": options.warm_up}
    sides = {"gateway": lambda topic: gateway(cluster, cluster.kafka.uri(topic)),
             "gateway, embedded log": lambda _: gateway(cluster, "log://bench")}
    for workers in options.workers:
        sides[f"FastAPI, {workers} workers"] = lambda topic, workers=workers: fastapi(
            cluster, workers, cluster.kafka.address, topic)
    results = {side: [] for side in sides}
    for turn in range(options.rounds):
        for side, make in sides.items():
            topic = cluster.kafka.topic(f"text-{turn}-{len(results[side])}-{list(sides).index(side)}", PARTITIONS)
            with make(topic) as service:
                said = service.load(text, rate=0, **flags)
                results[side].append(said)
                say(f"{side}: {said['per_s']:,.0f} texts/s at {options.connections} connections, p50 {said['p50_ms']:.1f}, "
                    f"p99 {said['p99_ms']:.1f} ms")
                check_stored(said)
    best = {side: max(said["per_s"] for said in all_said) for side, all_said in results.items()}
    topic = cluster.kafka.topic("text-half", PARTITIONS)
    with gateway(cluster, cluster.kafka.uri(topic)) as service:
        half = service.load(text, rate=best["gateway"] / 2, **flags)
    check_stored(half)
    say(f"gateway at half of that, {best['gateway'] / 2:,.0f} texts/s: p50 {half['p50_ms']:.1f}, p99 {half['p99_ms']:.1f}, "
        f"max {half['max_ms']:.1f} ms")
    fastapi_best = max(rate for side, rate in best.items() if side.startswith("FastAPI"))
    return {"submissions": results, "per_s": best["gateway"], "fastapi_per_s": fastapi_best,
            "times_fastapi": best["gateway"] / fastapi_best, "half": half}


def check_stored(said):
    if said["not_stored"] > 0:
        raise SystemExit(f"bench: {said['not_stored']} of {said['sent']} texts were not stored")
    if said["unsent"] > 0:
        raise SystemExit(f"bench: {said['unsent']} texts could not be sent, since those before them were not answered")


def submit_job(cluster, uri, interval):
    cluster.cli("submit", "word_count", "--name", JOB, "--source", uri, "--sink", "none:", "--batch-interval", interval)
    with cluster.api() as connection:
        wait_for("a batch", lambda: connection.control.describe(JOB).summary.applied.batch > 0, 30)
    if cluster.options.prefer:
        prefer(cluster.executor_pids())


def expected_counts(text, runs):
    with open(text, "rb") as file:
        lines = [line.split() for line in file][:LINES]
    counts = collections.Counter()
    for said, first_probe in runs:
        for words in itertools.islice(itertools.cycle(lines), said["stored"]):
            counts.update(words)
        counts.update(b"probe%09d" % number for number in range(first_probe, first_probe + said["probes"]))
    return counts


def is_exact(cluster, counts):
    """Whether the job has each of these counts, once it has all of its log."""
    cluster.cli("lag", JOB, "--until-zero", "60s")
    words = sorted(counts)
    with cluster.api() as connection:
        for first in range(0, len(words), 1000):
            part = words[first : first + 1000]
            for word, value in zip(part, connection.query.get(JOB, part, 0, "").values):
                if not value.found or int(value.text) != counts[word]:
                    say(f"{word!r}: {counts[word]} were sent, {value.text if value.found else 'none'} counted")
                    return False
    return True


def readable(cluster, options, text, rates):
    """From a text sent to its count readable, at each of the rates; then what a kill -9 leaves of the counts."""
    results, exact = {}, True
    flags = {"connections": options.connections, "seconds": options.seconds, "warm_up": options.warm_up, "probes": options.probes,
             "readable": "true"}
    topic = cluster.kafka.topic("readable", PARTITIONS)
    submit_job(cluster, cluster.kafka.uri(topic), options.batch_interval)
    runs = []
    with gateway(cluster, cluster.kafka.uri(topic)) as service:
        for number, rate in enumerate(rates):
            said = service.load(text, rate=rate, first_probe=number * 1_000_000, **flags)
            runs.append((said, number * 1_000_000))
            results.setdefault("gateway", []).append(said)
        counts = expected_counts(text, runs)
        exact = is_exact(cluster, counts)
        before = service.count("probe000000000")
        # Whoever holds the counts, and who takes the texts.
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        service.process.kill()
        cluster.workers[0].end()
        cluster.workers[0].start()
        service.start()
        exact = exact and wait_for("the counts after the kill", lambda: service.count("probe000000000"), 60) == before == 1
        exact = exact and is_exact(cluster, counts)
    cluster.cli("kill", JOB)
    with fastapi(cluster, 1) as service:
        for number, rate in enumerate(rates):
            results.setdefault("FastAPI and a dict", []).append(
                service.load(text, rate=rate, first_probe=number * 1_000_000, **flags))
        fastapi_before = service.count("probe000000000")
        service.process.kill()
        service.start()
        fastapi_after = service.count("probe000000000")
    for side, all_said in results.items():
        for rate, said in zip(rates, all_said):
            say(f"{side}, {rate:,.0f} texts/s: sent to count readable p50 {said['readable_p50_ms']:.1f}, "
                f"p99 {said['readable_p99_ms']:.1f} ms, {said['unreadable']} of {said['probes']} probes never; {said['per_s']:,.0f} texts/s answered")
    say(f"after a kill -9: exact with the gateway: {'yes' if exact else 'NO'}; FastAPI and a dict have {fastapi_after} of "
        f"{fastapi_before}")
    at_half = [results[side][-1] for side in ("gateway", "FastAPI and a dict")]
    return {"readable": results, "readable_rates": rates, "exact_after_kill": exact,
            "fastapi_lost_by_kill": fastapi_before - fastapi_after,
            "readable_p99_ms": at_half[0]["readable_p99_ms"], "dict_readable_p99_ms": at_half[1]["readable_p99_ms"]}, exact


def subscribers(cluster, options, text):
    """Readers of the stream of a job with batches of 100 ms; texts with a word of their own, which each has to be told."""
    topic = cluster.kafka.topic("streamed", PARTITIONS)
    submit_job(cluster, cluster.kafka.uri(topic), "100ms")
    with gateway(cluster, cluster.kafka.uri(topic)) as service:
        said = service.load(text, connections=0, probes=options.stream_texts, readers=options.readers, seconds=options.seconds,
                            warm_up=options.warm_up)
    cluster.cli("kill", JOB)
    say(f"{said['readers']:,} readers, {said['probes']} texts, {said['events_of_a_reader']} batches: {said['missing']} missing, "
        f"{said['resets']} resets; sent to seen p50 {said['seen_p50_ms']:.1f}, p99 {said['seen_p99_ms']:.1f}, max "
        f"{said['seen_max_ms']:.1f} ms")
    return {"subscribers": said, "gaps": said["missing"] + said["resets"], "seen_p99_ms": said["seen_p99_ms"]}


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench gateway", description="A gateway beside FastAPI, and its readers.")
    parser.add_argument("--quick", action="store_true", help="a few seconds of each: to see that it works")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=10, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=2, help="turns of the services; the best of each counts")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of uvicorn; the best number counts")
    parser.add_argument("--readers", type=int, default=2000)
    parser.add_argument("--stream-texts", type=float, default=20, help="texts a second that the readers are told")
    parser.add_argument("--probes", type=float, default=10, help="texts a second whose count is looked for")
    parser.add_argument("--batch-interval", default="10ms", help="of the job whose counts are read")
    parser.add_argument("--rates", type=float, nargs="+", help="texts a second for that (default: 500, and half of the gateway's best)")
    add_options(parser, "gateway.json")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.warm_up, options.rounds = min(options.seconds, 4), min(options.warm_up, 2), 1
    return options


def main():
    options = parse_options()
    begin()
    text = f"{DIRECTORY}/gateway-text"
    with open(text, "w", encoding="utf-8") as file:
        file.write(run([f"{options.bin}/make_text", f"--lines={LINES}", "--vocabulary=20000"]))
    with Cluster(options) as cluster:
        figures = submissions(cluster, options, text)
        rates = options.rates or [500, figures["per_s"] / 2]
        more, exact = readable(cluster, options, text, rates)
        figures |= more | subscribers(cluster, options, text)
    say(f"the gateway takes {figures['times_fastapi']:.1f} times as many texts a second as FastAPI")
    finish(options, {"connections": options.connections, "seconds": options.seconds, **figures}, exact)


if __name__ == "__main__":
    main()
