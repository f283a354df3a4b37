"""The engine as the programs of bench/ run it: a master, two workers with one lane each, Kafka and Redis, all as
processes of their own in build/bench."""

import glob
import json
import logging
import os
import shutil
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{ROOT}/scripts/lib")

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
        json.dump({"cores": os.cpu_count(), **figures}, file, indent=1)
    say(f"figures: {os.path.relpath(options.json)}")
    if not exact:
        raise SystemExit("bench: counts are not exact")


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Cluster:
    """Runs within `with`."""

    def __init__(self, options):
        self.options = options
        self.bin = options.bin
        listen, api, http = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.api_address = api
        self.redis = Redis(DIRECTORY, durable=False)
        self.kafka = Kafka(DIRECTORY)
        self.master = Process(
            "master",
            [f"{self.bin}/millrace-master", f"--listen={listen}", f"--api={api}", f"--http={http}",
             f"--data_dir={DIRECTORY}/master", f"--checkpoints=file://{DIRECTORY}/checkpoints"],
            DIRECTORY)
        self.workers = [
            Process(f"worker-{number}",
                    [f"{self.bin}/millrace-worker", f"--master={listen}", "--listen=127.0.0.1:0", "--http=127.0.0.1:0",
                     "--lanes=1", f"--data_dir={DIRECTORY}/worker-{number}"], DIRECTORY)
            for number in (1, 2)]

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
        for name in ("master", "checkpoints", "worker-1", "worker-2", "redis", "kafka"):
            shutil.rmtree(f"{DIRECTORY}/{name}", ignore_errors=True)
        os.makedirs(self.redis.directory)
        for process in self.processes():
            if os.path.exists(process.log):
                os.remove(process.log)
        self.kafka.launch()
        self.redis.start()
        self.master.start()
        for worker in self.workers:
            worker.start()
        wait_for("two workers", self.workers_are_ready, 30)
        self.kafka.wait()
        if self.options.prefer:
            prefer([*(process.pid for process in self.processes()), *self.kafka_pids(), os.getpid()])

    def processes(self):
        return [*self.workers, self.master, self.redis.process, self.kafka.process]

    def api(self):
        host, port = self.api_address.split(":")
        return thrift_api.Api(host, int(port))

    def workers_are_ready(self):
        with self.api() as connection:
            return sum(worker.state == "ready" for worker in connection.control.workers()) == 2

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
