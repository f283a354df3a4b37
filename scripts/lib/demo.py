"""The demo behind scripts/demo: see there. Its processes live in build/demo, and end with it."""

import argparse
import collections
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import demo_text
import thrift_api
from processes import ROOT, Kafka, Process, Redis, free_ports, wait_for

BIN = f"{ROOT}/build/release/bin"
DIRECTORY = f"{ROOT}/build/demo"
LOCK = f"{ROOT}/build/demo.lock"
WORDS = 4_000_000
JOB = "demo"
TEXT_JOB = "words"  # of what the gateway is sent


def say(text):
    print(text, flush=True)


class Demo:
    def __init__(self, options):
        self.seconds = options.seconds
        listen, api, http, self.page = (f"127.0.0.1:{port}" for port in free_ports(4))
        self.api_address = api
        self.redis = Redis(DIRECTORY, durable=False)
        self.kafka = Kafka(DIRECTORY) if options.kafka else None
        self.uri = self.kafka.uri("demo") if self.kafka else "log://demo"
        self.master = Process(
            "master",
            [f"{BIN}/millrace-master", f"--listen={listen}", f"--api={api}", f"--http={http}",
             f"--data_dir={DIRECTORY}/master", f"--checkpoints=file://{DIRECTORY}/checkpoints"],
            DIRECTORY,
        )
        self.workers = [
            Process(
                f"worker-{number}",
                [f"{BIN}/millrace-worker", f"--master={listen}", "--listen=127.0.0.1:0", "--http=127.0.0.1:0",
                 "--lanes=1", f"--data_dir={DIRECTORY}/worker-{number}"],
                DIRECTORY,
            )
            for number in (1, 2)
        ]
        self.text_uri = self.kafka.uri("text") if self.kafka else "log://text"
        self.gateway = Process(
            "gateway",
            [f"{BIN}/millrace-gateway", f"--api={api}", f"--http={self.page}", f"--logs=text={self.text_uri}"],
            DIRECTORY,
        )
        self.feeder = None
        self.fed_words = 0

    def processes(self):
        kafka = [self.kafka.process] if self.kafka else []
        return [self.gateway, *self.workers, self.master, self.redis.process, *kafka]

    def api(self):
        host, port = self.api_address.split(":")
        return thrift_api.Api(host, int(port))

    def cli(self, *arguments):
        done = subprocess.run([f"{BIN}/millrace", f"--api={self.api_address}", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"demo: millrace {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def start(self):
        say(f"starting Redis on port {self.redis.port}" + (f" and Kafka on port {self.kafka.port}" if self.kafka else ""))
        if self.kafka:
            self.kafka.launch()
        self.redis.start()
        say(f"starting a master (API on {self.api_address}) and two workers")
        self.master.start()
        for worker in self.workers:
            worker.start()
        wait_for("two workers", lambda: len(self.ready_workers()) == 2, 30)
        if self.kafka:
            self.kafka.wait()
            self.kafka.topic("demo", 4)
        else:
            with self.api() as connection:
                connection.ingest.open_log("demo", 4)
        self.cli("submit", "word_count", "--name", JOB, "--source", self.uri, "--sink", self.redis.uri)

    def ready_workers(self):
        with self.api() as connection:
            return [worker for worker in connection.control.workers() if worker.state == "ready"]

    def open_feeder(self):
        """From the main thread: the parent-death signal follows the thread."""
        self.feeder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", f"{BIN}/millrace", f"--api={self.api_address}", "append", self.uri],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=open(f"{DIRECTORY}/append.log", "wb"),
            start_new_session=True,
        )

    def feed(self, lines):
        """Hands the lines to `millrace append` at an even pace."""
        begin, slices = time.monotonic(), max(1, self.seconds * 20)
        size = -(-len(lines) // slices)
        try:
            for number in range(slices):
                part = lines[number * size : (number + 1) * size]
                if part:
                    self.feeder.stdin.write(b"\n".join(part) + b"\n")
                    self.feeder.stdin.flush()
                    self.fed_words += sum(len(line.split()) for line in part)
                time.sleep(max(0.0, begin + (number + 1) * self.seconds / slices - time.monotonic()))
            self.feeder.stdin.close()
        except BrokenPipeError:
            pass  # run() sees its exit code

    def run(self, lines):
        self.open_feeder()
        feeding = threading.Thread(target=self.feed, args=(lines,), daemon=True)
        feeding.start()
        view, begin, killed = View(), time.monotonic(), False
        with self.api() as connection:
            while feeding.is_alive():
                view.show(connection.control.describe(JOB), connection.query.top(JOB, 3, 0, ""), self.fed_words)
                if not killed and time.monotonic() - begin > self.seconds / 2:
                    killed = True
                    self.kill_a_worker(connection)
                time.sleep(0.25)
            code = self.feeder.wait(120)
            if code != 0:
                with open(f"{DIRECTORY}/append.log", encoding="utf-8", errors="replace") as log:
                    raise SystemExit(f"demo: millrace append ended with {code}: {log.read().strip()}")
            wait_for("the rest to be counted and published", lambda: self.at_rest(connection, len(lines)), 120, 0.1)
            view.show(connection.control.describe(JOB), connection.query.top(JOB, 3, 0, ""), self.fed_words, last=True)

    @staticmethod
    def at_rest(connection, records):
        summary = connection.control.describe(JOB).summary
        return summary.records >= records and summary.published >= summary.applied.batch

    def kill_a_worker(self, connection):
        """In the middle of a batch: records were read that no applied batch holds."""

        def open_batch():
            lag = connection.control.lag(JOB)
            return lag.as_of.batch if any(e.end_offset > e.applied_offset for e in lag.partitions) else None

        victim = self.workers[1]
        before = wait_for("a batch in the works", open_batch, 10, 0.001)
        begin = time.monotonic()
        victim.kill()
        after = wait_for(
            "the job to go on", lambda: self.later_batch(connection, before + 5), 60, 0.005
        )
        took = time.monotonic() - begin
        say(f"\nkill -9 of worker-2 after batch {before}, with the next ones in the works: "
            f"batch {after} was applied {took:.2f} s later by the other worker alone")
        victim.start()
        wait_for("worker-2 again", lambda: len(self.ready_workers()) == 2, 30)
        say("worker-2 started again")

    @staticmethod
    def later_batch(connection, batch):
        applied = connection.control.describe(JOB).summary.applied.batch
        return applied if applied > batch else None

    def check(self, lines):
        """Every count in Redis, and the rank by Thrift, against a count of the text by Python."""
        expected = collections.Counter()
        for line in lines:
            expected.update(line.split())
        found = self.redis.counts(JOB)
        wrong = sorted(word for word in expected.keys() | found.keys() if expected.get(word) != found.get(word))
        with self.api() as connection:
            top = [(as_bytes(value.key), int(value.text)) for value in connection.query.top(JOB, 1000, 0, "").values]
        ranked = sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))[:1000]
        say(f"Python counts {sum(expected.values()):,} words, {len(expected):,} different ones; "
            f"Millrace has {sum(found.values()):,} and {len(found):,}")
        for word in wrong[:5]:
            say(f"  {word!r}: Python {expected.get(word)}, Millrace {found.get(word)}")
        if top != ranked:
            say("  the rank by Thrift differs from Python's")
        exact = not wrong and top == ranked
        say(f"exact: {'yes' if exact else 'no'}")
        return exact

    def keep(self):
        """Until Ctrl-C or SIGTERM: everything, a gateway, and a job that counts what the gateway is sent."""
        if self.kafka:
            self.kafka.topic("text", 4)
        else:
            with self.api() as connection:
                connection.ingest.open_log("text", 4)
        self.gateway.start()
        wait_for("the gateway", self.gateway_is_ready, 30)
        self.cli("submit", "word_count", "--name", TEXT_JOB, "--source", self.text_uri, "--sink", self.redis.uri,
                 "--set", "words=unicode", "--set", "stop-words=english", "--set", "min-length=2")
        say(f"""
kept running: http://{self.page}/ shows the highest words of what is sent, live; try
  curl http://{self.page}/submit_text -H 'Content-Type: application/json' -d '{{"text": "to be or not to be", "user_id": "ann"}}'
  {BIN}/millrace simulate-users --gateway http://{self.page} --job {TEXT_JOB} --users 200 --rate 5/s --duration 30s
  kill -9 {self.workers[0].pid}   # worker-1, while they send; worker-2 is {self.workers[1].pid}. It is started again
  alias m='{BIN}/millrace --api={self.api_address}'
  m jobs; m describe {JOB}; m workers; m top {TEXT_JOB} -n 5; m watch {TEXT_JOB}
  echo 'the end' | m append {self.uri}; m get {JOB} the
  redis-cli -p {self.redis.port} HGET '{{{JOB}}}:counts' the
Ctrl-C ends all of it""")
        while True:
            for worker in self.workers:
                if not worker.running():
                    worker.start()
                    say(f"{worker.name} had ended; it is started again as {worker.pid}")
            time.sleep(0.5)

    def gateway_is_ready(self):
        with urllib.request.urlopen(f"http://{self.page}/ready", timeout=5) as answer:
            return answer.status == 200

    def end(self):
        if self.feeder and self.feeder.poll() is None:
            self.feeder.kill()
        for process in self.processes():
            process.end()


class View:
    """One line that is redrawn, or, without a terminal, a line every two seconds."""

    def __init__(self):
        self.begin = time.monotonic()
        self.history = collections.deque([(self.begin, 0)], maxlen=12)
        self.last_line = 0.0

    def show(self, description, top, fed, last=False):
        now, counted = time.monotonic(), description.summary.emitted
        then, before = self.history[0]
        self.history.append((now, counted))
        rate = (counted - before) / max(now - then, 0.001)
        took = [profile.applied_us / 1000 for profile in description.recent if profile.applied_us]
        batch_ms = sorted(took)[len(took) // 2] if took else 0
        best = ", ".join(f"{as_bytes(value.key).decode(errors='replace')} {int(value.text):,}" for value in top.values)
        line = (f"{now - self.begin:5.1f} s  fed {fed:>9,}  counted {counted:>9,} words  {rate:>9,.0f}/s  "
                f"batch {description.summary.applied.batch:>4} in {batch_ms:3.0f} ms  {best}")
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]:<{width}}", end="\n" if last else "", flush=True)
        elif last or now - self.last_line >= 2:
            self.last_line = now
            say(line)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


class Ended(Exception):
    """By Ctrl-C or SIGTERM, while all was only kept running."""


def keep_until_ended(demo):
    def ended(*_):
        raise Ended

    signal.signal(signal.SIGINT, ended)
    signal.signal(signal.SIGTERM, ended)
    try:
        demo.keep()
    except Ended:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows takes a moment
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("\nends what it started")


def alone():
    """The lock of build/demo, which goes with this process."""
    os.makedirs(os.path.dirname(LOCK), exist_ok=True)
    lock = open(LOCK, "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("demo: another demo is running here; end that one by Ctrl-C") from None
    return lock


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    lock = alone()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(DIRECTORY)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even where a shell had it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    source, lines = demo_text.lines(WORDS * options.seconds // 30)
    say(f"text: {len(lines):,} lines, {sum(map(len, lines)) / 1e6:.0f} MB ({source})")
    demo = Demo(options)
    exact = False
    try:
        demo.start()
        demo.run(lines)
        exact = demo.check(lines)
        if options.keep:
            keep_until_ended(demo)
    except AssertionError as error:
        say(f"demo: {error}; the logs are in {DIRECTORY}")
    finally:
        demo.end()
        lock.close()
    return sys.exit(0 if exact else 1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
