"""The demo behind scripts/demo: see there. Its processes live in build/demo; --keep leaves their pids in state.json."""

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import demo_text
import thrift_api
from processes import ROOT, Kafka, Process, Redis, free_ports, wait_for

BIN = f"{ROOT}/build/release/bin"
DIRECTORY = f"{ROOT}/build/demo"
STATE = f"{DIRECTORY}/state.json"
WORDS = 4_000_000
JOB = "demo"


def say(text):
    print(text, flush=True)


class Demo:
    def __init__(self, options):
        self.seconds = options.seconds
        self.keep = options.keep
        Process.outlives = options.keep
        listen, api, http = (f"127.0.0.1:{port}" for port in free_ports(3))
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
        self.feeder = None
        self.fed_words = 0

    def processes(self):
        kafka = [self.kafka.process] if self.kafka else []
        return [*self.workers, self.master, self.redis.process, *kafka]

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

    def leave(self):
        with open(STATE, "w", encoding="utf-8") as file:
            json.dump({process.name: [process.pid, started_at(process.pid)] for process in self.processes()}, file)
        say(f"""
left running; try
  alias m='{BIN}/millrace --api={self.api_address}'
  m jobs; m describe {JOB}; m workers; m lag {JOB}
  m top {JOB} -n 5; m get {JOB} the and; m watch {JOB}
  echo 'the end' | m append {self.uri}
  redis-cli -p {self.redis.port} HGET '{{{JOB}}}:counts' the
and end it with
  scripts/demo --stop""")

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


def started_at(pid):
    """When the process was started, in clock ticks since boot: tells it from a later one with its pid."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rsplit(b")", 1)[1].split()[19])
    except OSError:
        return None


def kept():
    """{name: pid} of what an earlier --keep left running."""
    try:
        with open(STATE, encoding="utf-8") as file:
            state = json.load(file)
    except OSError:
        return {}
    return {name: pid for name, (pid, start) in state.items() if start is not None and started_at(pid) == start}


def stop():
    running = kept()
    for pid in running.values():
        os.killpg(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while kept() and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in kept().values():
        os.killpg(pid, signal.SIGKILL)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    say(f"ended: {', '.join(running) or 'nothing was running'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    if options.stop:
        return stop()
    if kept():
        raise SystemExit("demo: an earlier demo is still running; end it with scripts/demo --stop")
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(DIRECTORY)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even where a shell had it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    source, lines = demo_text.lines(WORDS * options.seconds // 30)
    say(f"text: {len(lines):,} lines, {sum(map(len, lines)) / 1e6:.0f} MB ({source})")
    demo = Demo(options)
    exact = left = False
    try:
        demo.start()
        demo.run(lines)
        exact = demo.check(lines)
        if options.keep:
            demo.leave()
            left = True
    except AssertionError as error:
        say(f"demo: {error}; the logs are in {DIRECTORY}")
    finally:
        if not left:
            demo.end()
    return sys.exit(0 if exact else 1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
