"""The engine as the programs of bench/ run it: a master, two workers with one lane each, Kafka and Redis, all as
processes of their own in build/bench."""

import argparse
import glob
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{ROOT}/scripts/lib")

import plots  # noqa: E402
import thrift_api  # noqa: E402
from processes import Kafka, Process, Redis, free_ports, wait_for  # noqa: E402

DIRECTORY = f"{ROOT}/build/bench"
PARTITIONS = 4


def say(text):
    print(text, flush=True)


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout


def prefer(pids):
    """On a machine with other work: most of the CPU for the sessions of these processes (needs root)."""
    for pid in pids:
        try:
            with open(f"/proc/{pid}/autogroup", "w", encoding="utf-8") as file:
                file.write("-19")
        except FileNotFoundError:
            pass


def changed(options, **changes):
    return argparse.Namespace(**{**vars(options), **changes})


def add_options(parser, json_file):
    """What the command of each part has, besides its own."""
    parser.add_argument("--prefer", action="store_true", help="on a machine with other work: take most of the CPU (root)")
    parser.add_argument("--bin", default=f"{ROOT}/build/release/bin", help="where the programs are")
    parser.add_argument("--json", default=f"{DIRECTORY}/{json_file}", help="where the figures go")


def begin():
    """What each part does before anything else."""
    logging.disable()  # of the Thrift client, while it waits for the master
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(DIRECTORY, exist_ok=True)


def finish(options, figures, exact):
    """What each part does after everything else."""
    with open(options.json, "w", encoding="utf-8") as file:
        json.dump({"part": os.path.basename(options.json).removesuffix(".json"), "quick": getattr(options, "quick", False),
                   "cores": os.cpu_count(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "exact": exact,
                   **figures}, file, indent=1)
    plot = plots.draw(options.json)
    say(f"figures: {os.path.relpath(options.json)}" + (f", plot: {os.path.relpath(plot)}" if plot else ""))
    if not exact:
        raise SystemExit("bench: counts are not exact")


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Cluster:
    """Runs within `with`."""

    def __init__(self, options):
        self.options = options
        self.bin = options.bin
        self.listen, api, http = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.api_address = api
        self.redis = Redis(DIRECTORY, durable=False, patience_s=60)
        self.kafka = Kafka(DIRECTORY, session_s=60)
        self.master = Process(
            "master",
            [f"{self.bin}/millrace-master", f"--listen={self.listen}", f"--api={api}", f"--http={http}",
             f"--data_dir={DIRECTORY}/master", f"--checkpoints=file://{DIRECTORY}/checkpoints"],
            DIRECTORY)
        self.workers = self.make_workers((1, 1))

    def make_workers(self, lanes):
        return [Process(f"worker-{number}",
                        [f"{self.bin}/millrace-worker", f"--master={self.listen}", "--listen=127.0.0.1:0",
                         "--http=127.0.0.1:0", f"--lanes={count}", f"--data_dir={DIRECTORY}/worker-{number}"], DIRECTORY)
                for number, count in enumerate(lanes, 1)]

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        for process in self.processes():
            process.end()

    def start(self):
        for process in self.processes():
            if os.path.exists(process.log):
                os.remove(process.log)
        for name in ("redis", "kafka"):
            shutil.rmtree(f"{DIRECTORY}/{name}", ignore_errors=True)
        os.makedirs(self.redis.directory)
        self.kafka.launch()
        self.redis.start()
        self.start_engine()
        wait_for("the workers", self.workers_are_ready, 30)
        self.kafka.wait()
        self.prefer([self.redis.process.pid, *self.kafka_pids(), os.getpid()])

    def start_engine(self):
        """Master and workers, which know nothing; they may not be there yet when this returns."""
        for process in (self.master, *self.workers):
            process.end()
        for name in ("master", "checkpoints", "worker-1", "worker-2"):
            shutil.rmtree(f"{DIRECTORY}/{name}", ignore_errors=True)
        self.master.start()
        for worker in self.workers:
            worker.start()
        self.prefer([self.master.pid, *(worker.pid for worker in self.workers)])

    def replace_workers(self, lanes):
        """A worker with so many lanes for each number, in place of those that are there."""
        former = {worker.process for worker in self.known_workers()}
        for worker in self.workers:
            worker.end()
            shutil.rmtree(f"{DIRECTORY}/{worker.name}", ignore_errors=True)
        self.workers = self.make_workers(lanes)
        for worker in self.workers:
            worker.start()
        self.prefer(worker.pid for worker in self.workers)
        wait_for("the new workers alone", lambda: self.workers_are_ready(former), 60)

    def prefer(self, pids):
        if self.options.prefer:
            prefer(pids)

    def processes(self):
        return [*self.workers, self.master, self.redis.process, self.kafka.process]

    def api(self):
        host, port = self.api_address.split(":")
        return thrift_api.Api(host, int(port))

    def known_workers(self):
        with self.api() as connection:
            return connection.control.workers()

    def workers_are_ready(self, former=()):
        workers = self.known_workers()
        return len(workers) == len(self.workers) and all(
            worker.state == "ready" and worker.process not in former for worker in workers)

    def cli(self, *arguments, **options):
        return run([f"{self.bin}/millrace", f"--api={self.api_address}", *arguments], **options)

    def executor_pids(self):
        pids = []
        for worker in self.workers:
            for path in glob.glob(f"/proc/{worker.pid}/task/*/children"):
                try:
                    with open(path, encoding="utf-8") as file:
                        pids += [int(child) for child in file.read().split()]
                except FileNotFoundError:
                    pass  # that thread has ended
        return pids

    def kafka_pids(self):
        with open(f"{self.kafka.directory}/pid", encoding="utf-8") as file:
            return [int(file.read())]
