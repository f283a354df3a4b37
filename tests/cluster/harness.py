"""A whole Millrace for a test: master and workers as processes, on free ports, in a directory of their own."""

import dataclasses
import json
import operator
import os
import random
import subprocess
import threading
import time

import thrift_api as api
import oracle
from processes import ROOT, Process, free_ports, wait_for

BIN = os.environ.get("MILLRACE_BIN", f"{ROOT}/build/release/bin")


class Cluster:
    """`things` are started besides (Redis, Kafka), and ended with it."""

    def __init__(self, directory, workers=2, lanes=2, environment=None):
        self.directory = str(directory)
        self.listen, self.api_port, self.http = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.things = []
        self.lanes = lanes
        self.environment = environment or {}
        self.master = Process("master", self.master_command(), self.directory, self.environment)
        self.workers = [self.make_worker(index) for index in range(workers)]

    def master_command(self):
        return [
            f"{BIN}/millrace-master", f"--listen={self.listen}", f"--api={self.api_port}", f"--http={self.http}",
            f"--data_dir={self.directory}/master", f"--checkpoints=file://{self.directory}/checkpoints",
        ]

    def make_worker(self, index):
        command = [
            f"{BIN}/millrace-worker", f"--master={self.listen}", "--listen=127.0.0.1:0", "--http=127.0.0.1:0",
            f"--lanes={self.lanes}", f"--data_dir={self.directory}/worker-{index + 1}",
        ]
        return Process(f"worker-{index + 1}", command, self.directory, self.environment)

    # --- life ---

    def start(self):
        self.master.start()
        for worker in self.workers:
            worker.start()
        self.wait_until_up(len(self.workers))
        return self

    def wait_until_up(self, workers):
        wait_for(f"{workers} ready workers", lambda: len(self.ready_workers()) >= workers, seconds=30)

    def ready_workers(self):
        with self.api() as connection:
            return [worker for worker in connection.control.workers() if worker.state == "ready"]

    def end(self):
        for process in [*self.workers, self.master, *(getattr(thing, "process", thing) for thing in self.things)]:
            process.end()

    def logs(self):
        names = sorted(name for name in os.listdir(self.directory) if name.endswith(".log"))
        text = ""
        for name in names:
            with open(os.path.join(self.directory, name), encoding="utf-8", errors="replace") as file:
                text += f"--- {name}\n{''.join(file.readlines()[-30:])}\n"
        return text

    # --- use ---

    def api(self):
        host, port = self.api_port.split(":")
        return api.Api(host, int(port))

    def cli(self, *arguments, code=0, stdin=None, seconds=60, text=True):
        """`millrace ...`; fails unless it ends with exit code `code` (None: any)."""
        command = [f"{BIN}/millrace", f"--api={self.api_port}", *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=text, timeout=seconds, env={**os.environ, **self.environment})
        said = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        return done

    def submit(self, kind, name, source, sink, *more):
        return self.cli("submit", kind, "--name", name, "--source", source, "--sink", sink, *more)

    def describe(self, name):
        with self.api() as connection:
            return connection.control.describe(name)

    def batch(self, name):
        return self.describe(name).summary.applied.batch

    def wait_for_progress(self, name, beyond, seconds=60):
        """Until a batch beyond the given one is applied; returns it."""
        return wait_for(f"job {name} to go on after batch {beyond}", lambda: self._beyond(name, beyond), seconds)

    def _beyond(self, name, batch):
        newest = self.batch(name)
        return newest if newest > batch else None

    def wait_for_records(self, name, records, seconds=60):
        wait_for(f"{records} records in {name}", lambda: self.describe(name).summary.records >= records, seconds, 0.05)

    def wait_until_at_rest(self, name, offsets, seconds=60):
        """Until everything up to `offsets` (by topic and partition) is applied and published."""

        def at_rest():
            with self.api() as connection:
                lag = connection.control.lag(name)
                summary = connection.control.describe(name).summary
            applied = [entry.applied_offset for entry in lag.partitions]
            reached = len(applied) >= len(offsets) and all(map(operator.ge, applied, offsets))
            if reached and summary.published >= summary.changed:
                return summary
            return None

        return wait_for(f"job {name} to reach {offsets} and publish it", at_rest, seconds, 0.05)

    def open_log(self, name, partitions=4):
        """Makes the embedded log, if it is not there yet."""
        with self.api() as connection:
            connection.ingest.open_log(name, partitions)

    def read_log(self, name):
        import record_log

        return record_log.read_embedded(f"{self.directory}/master", name)


@dataclasses.dataclass
class Sample:
    """What the API said of one batch: the offsets it ends at and some words' counts."""

    batch: int
    offsets: dict
    counts: dict


class Watcher:
    """Asks for words again and again while things die, and keeps what it saw. Runs in a thread of its own."""

    def __init__(self, cluster, name, words, pause=0.05):
        self.cluster, self.name, self.words, self.pause = cluster, name, words, pause
        self.view = oracle.NeverBack()
        self.samples = []
        self.unexpected = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(30)

    def _watch(self):
        connection = None
        while not self.over.is_set():
            try:
                if connection is None:
                    connection = self.cluster.api()
                self._ask(connection)
            except api.Failure as failure:  # "not now" is an answer
                if failure.kind not in (4, 5):  # UNAVAILABLE, TIMED_OUT
                    self.unexpected.append(failure.message)
            except Exception:  # the master is away: ask the next one
                if connection is not None:
                    connection.close()
                connection = None
            self.over.wait(self.pause)
        if connection is not None:
            connection.close()

    def _ask(self, connection):
        values = connection.query.get(self.name, self.words, 0, "")
        # Words the state has not seen yet count 0.
        counts = {self._bytes(value.key): int(value.text.split()[0]) if value.found else 0 for value in values.values}
        self.view.see(values.as_of.job_id, values.as_of.incarnation, values.as_of.batch, counts)
        lag = connection.control.lag(self.name)
        if lag.as_of.batch == values.as_of.batch:
            offsets = {entry.partition: entry.applied_offset for entry in lag.partitions}
            self.samples.append(Sample(values.as_of.batch, offsets, counts))

    @staticmethod
    def _bytes(text):
        return text if isinstance(text, bytes) else text.encode()

    def check(self, log):
        """Nothing went back, and every sample equals the fold up to its offsets."""
        assert not self.view.faults, self.view.faults[:5]
        assert not self.unexpected, self.unexpected[:5]
        assert self.view.answers > 10, f"the watcher got only {self.view.answers} answers"
        step = max(1, len(self.samples) // 12)
        for sample in self.samples[::step]:
            truth = oracle.fold(log, sample.offsets)
            for word, count in sample.counts.items():
                assert truth.counts[word] == count, f"{word!r} at batch {sample.batch} ({sample.offsets})"


class Feeder:
    """`millrace append` fed at a set pace (lines a second) by a thread. stop() ends the input and checks its exit code."""

    def __init__(self, cluster, uri, lines, lines_per_second, options=()):
        self.lines, self.pace = lines, lines_per_second
        self.fed = 0
        self.over = threading.Event()
        self.log = os.path.join(cluster.directory, f"append-{time.monotonic_ns()}.log")
        command = [f"{BIN}/millrace", f"--api={cluster.api_port}", "append", uri, *map(str, options)]
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def _feed(self):
        begin = time.monotonic()
        try:
            for line in self.lines:
                if self.over.is_set():
                    break
                self.popen.stdin.write(line + b"\n")
                self.fed += 1
                ahead = self.fed / self.pace - (time.monotonic() - begin)
                if ahead > 0.01:
                    self.popen.stdin.flush()
                    self.over.wait(ahead)
            self.popen.stdin.close()
        except BrokenPipeError:
            pass  # finish() tells why

    def feeding(self):
        return self.thread.is_alive() and self.popen.poll() is None

    def wait(self, seconds=120):
        """Until all lines are appended."""
        self.thread.join(seconds)
        return self._finish(seconds)

    def stop(self, seconds=60):
        """No more lines; waits until those fed are appended. Returns how many."""
        self.over.set()
        return self.wait(seconds)

    def _finish(self, seconds):
        code = self.popen.wait(seconds)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            said = log.read()
        assert code == 0, f"millrace append ended with {code} after {self.fed} lines: {said}"
        return self.fed

    def end(self):
        self.over.set()
        if self.popen.poll() is None:
            self.popen.kill()


def prose(seed=1, words=2000, line_words=(0, 24)):
    """Endless lines of words that are distributed as in a language (Zipf); some are not ASCII, some lines empty."""
    draw = random.Random(seed)
    shapes = ["{}", "{}", "{}", "The{}", "{},", "naïve-{}", "слово{}", "“{}”"]
    vocabulary = [shapes[index % len(shapes)].format(f"w{index:x}") for index in range(words)]
    weights = [1 / (index + 1) for index in range(words)]
    pool = draw.choices(vocabulary, weights, k=200_000)
    blanks = [" ", " ", " ", "  ", "\t"]
    while True:
        size = draw.randint(*line_words)
        begin = draw.randrange(len(pool) - size)
        yield draw.choice(blanks).join(pool[begin : begin + size]).encode()


def with_bad_records(lines, every=501):
    """Every so often a line that is no UTF-8."""
    for number, line in enumerate(lines):
        yield line + b" \xff\xfe" if number % every == every - 1 else line


def check_word_count(cluster, redis, name, log, max_record_bytes=1 << 20, topics=()):
    """The job is at rest: Redis (values, rank, status), Thrift and dead letters all equal the oracle's. With several
    `topics` the log is by (number of the topic, partition)."""
    truth = oracle.fold(log, max_record_bytes=max_record_bytes)
    summary = cluster.wait_until_at_rest(name, truth.offsets)
    found = redis.counts(name)
    wrong = oracle.differences(truth.counts, found)
    assert not wrong, f"{{{name}}}:counts is wrong: {wrong}"
    assert redis.top(name) == truth.top(), f"{{{name}}}:top is not the 1,000 highest"
    status = redis.status(name)
    assert int(status["records"]) == truth.records and int(status["words"]) == truth.words, status
    assert int(status["dead_letters"]) == len(truth.dead_letters), status
    assert (summary.records, summary.emitted, summary.dead_letters) == (truth.records, truth.words, len(truth.dead_letters))
    words = sorted(truth.counts)
    with cluster.api() as connection:
        for begin in range(0, len(words), 500):
            part = words[begin : begin + 500]
            values = connection.query.get(name, part, summary.applied.batch, "")
            answer = {Watcher._bytes(value.key): int(value.text) for value in values.values if value.found}
            assert answer == {word: truth.counts[word] for word in part}
        letters = connection.query.dead_letters(name, 1000, 0, 0, "")
        assert letters.total == len(truth.dead_letters)
        places = {
            ((topics.index(letter.topic), letter.partition) if topics else letter.partition, letter.offset)
            for letter in letters.letters
        }
        assert places <= set(truth.dead_letters) and len(places) == min(1000, len(truth.dead_letters))
    return truth


def as_json(done):
    return json.loads(done.stdout)
