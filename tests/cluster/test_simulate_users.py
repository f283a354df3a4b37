"""`millrace simulate-users`: many users against real gateways, while workers and gateways are killed; its verdict on the
counts, and that it is no other one than the truth."""

import json
import re
import subprocess
import threading

import pytest

from harness import BIN
from processes import wait_for
from test_gateway import Gateway


@pytest.fixture
def words(cluster):
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", "none:", "--set", "words=unicode", "--set", "stop-words=english")
    return cluster


class Simulation:
    """Runs; what it has said so far, each second and in the end, is in `said`."""

    def __init__(self, gateways, *arguments):
        where = [part for gateway in gateways for part in ("--gateway", f"http://127.0.0.1:{gateway.port}")]
        self.process = subprocess.Popen(
            [f"{BIN}/millrace", "--json", "simulate-users", *where, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said, self.errors = [], ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))
        self.errors = self.process.stderr.read()

    def accepted(self):
        return sum(second["accepted"] for second in self.said if "second" in second)

    def wait_for(self, accepted):
        wait_for(f"{accepted} texts", lambda: self.process.poll() is not None or self.accepted() >= accepted, 60)
        assert self.process.poll() is None, (self.said, self.errors)

    def end(self, code=0, seconds=120):
        try:
            self.process.wait(seconds)
        finally:
            self.process.kill()
        self.reader.join(10)
        assert self.process.returncode == code, (self.said[-1:], self.errors)
        return self.said[-1] if self.said else None


def run(gateways, *arguments, code=0):
    simulation = Simulation(gateways, *arguments)
    return simulation.end(code), simulation


def texts_of(cluster):
    return sorted(text for partition in cluster.read_log("text").values() for _, text in partition)


@pytest.mark.parametrize("users, rate, seconds", [(50, 4, 8), pytest.param(200, 5, 30, marks=pytest.mark.slow)])
def test_counts_are_exact_while_a_worker_and_a_gateway_are_killed(words, users, rate, seconds):
    gateways = [Gateway(words, f"gateway-{number}").start() for number in (1, 2)]
    simulation = Simulation(gateways, "--users", f"{users}", "--rate", f"{rate}/s", "--duration", f"{seconds}s")
    simulation.wait_for(200)
    words.workers[1].kill()
    words.workers[1].start()
    simulation.wait_for(500)
    gateways[0].process.kill()
    seen = simulation.accepted()
    simulation.wait_for(seen + 200)
    gateways[0].start()
    total = simulation.end()
    assert total["exact"] and total["idempotency_keys"], total
    assert total["accepted"] == total["sent"] > 1000 and total["unknown"] == total["given_up"] == 0, total
    assert total["errors"] > 0, "the gateway was not killed while users sent"
    assert sum(map(len, words.read_log("text").values())) == total["accepted"]


def test_the_same_seed_sends_the_same_texts_and_each_user_is_counted(words):
    gateway = Gateway(words).start()
    words.cli("submit", "user_counts", "--name", "users", "--source", "log://text", "--sink", "none:")
    arguments = ("--users", "5", "--rate", "20/s", "--duration", "1s")
    first, _ = run([gateway], *arguments, "--job", "users", "--seed", "7")
    one = texts_of(words)
    second, _ = run([gateway], *arguments, "--job", "words", "--seed", "7")
    assert first["exact"] and second["exact"] and first["sent"] == second["sent"] > 50, (first, second)
    assert texts_of(words) == sorted([*one, *one])
    run([gateway], *arguments, "--seed", "8")
    assert texts_of(words)[: 3 * len(one)] != sorted([*one, *one, *one])


def test_what_somebody_else_sends_is_no_exact_count_and_a_salt_keeps_it_out(words):
    gateway = Gateway(words).start()
    over = threading.Event()

    def disturb():
        while not over.is_set():
            gateway.submit("river stream water mill")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        arguments = ("--users", "5", "--rate", "5/s", "--duration", "1s")
        total, simulation = run([gateway], *arguments, code=1)
        assert total["exact"] is False and "4 counts of the job 'words' are not what was sent: 'river'" in simulation.errors, simulation.errors
        assert run([gateway], *arguments, "--salt", "x7")[0]["exact"]
    finally:
        over.set()
        disturber.join()


def test_who_is_told_to_wait_waits(words):
    gateway = Gateway(words, flags=["--user_rate=2"]).start()
    total, _ = run([gateway], "--users", "2", "--rate", "8/s", "--duration", "1s")
    assert total["exact"] and total["refused"] > 0 and total["accepted"] == total["sent"], total
    # That it is not tried before the time that the gateway tells: tests/unit/simulated_users_test.cc.
    told = sum(map(int, re.findall(r'millrace_gateway_requests_total{[^}]*status="429"} (\d+)', gateway.ask("GET", "/metrics")[2])))
    assert total["refused"] == told, total


def test_a_kafka_log_takes_no_keys_and_is_counted_all_the_same(cluster, shared_kafka):
    topic = shared_kafka.uri(shared_kafka.topic("simulated", 4))
    gateway = Gateway(cluster, flags=[f"--logs=text={topic}"]).start()
    cluster.submit("word_count", "words", topic, "none:")
    total, _ = run([gateway], "--users", "10", "--rate", "10/s", "--duration", "2s")
    assert total["exact"] and not total["idempotency_keys"] and total["accepted"] > 100, total


def test_keys_of_the_api_and_problems_are_told(words, directory):
    with open(f"{directory}/keys", "w", encoding="utf-8") as file:
        file.write("ann submit 0123456789abcdef\nbob operate fedcba9876543210\n")
    gateway = Gateway(words, flags=[f"--auth={directory}/keys"]).start()
    few = ("--users", "2", "--duration", "1s")
    _, simulation = run([gateway], *few, code=1)
    assert "answers 401: an API key is needed" in simulation.errors, simulation.errors
    _, simulation = run([gateway], *few, "--no-check", "--api-key", "wrong", code=1)
    assert "answers 401: this API key is not known" in simulation.errors, simulation.errors
    total, _ = run([gateway], *few, "--no-check", "--api-key", "0123456789abcdef")
    assert "exact" not in total and total["accepted"] > 0, total
    assert run([gateway], *few, "--api-key", "fedcba9876543210")[0]["exact"]
    _, simulation = run([gateway], *few, "--api-key", "fedcba9876543210", "--job", "none", code=1)
    assert "'none'" in simulation.errors, simulation.errors


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--gateway", "https://a:1"], "expected http://HOST:PORT"),
        (["--rate", "5/h"], "'5/h' is no rate"),
        (["--rate", "0"], "'0' is no rate"),
        (["--users", "0"], "--users"),
        (["--salt", "A b"], "a salt has up to 32 letters"),
        (["--duration", "soon"], "--duration"),
    ],
)
def test_wrong_usage_is_refused(arguments, said):
    done = subprocess.run([f"{BIN}/millrace", "simulate-users", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and said in done.stderr, done


def test_a_second_is_a_line_of_text_and_no_gateway_is_told():
    done = subprocess.run(
        [f"{BIN}/millrace", "--wait", "0s", "simulate-users", "--gateway", "http://127.0.0.1:1", "--duration", "1s"],
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "http://127.0.0.1:1: Connection refused" in done.stderr, done


def test_what_it_says_is_readable(words):
    gateway = Gateway(words).start()
    done = subprocess.run(
        [f"{BIN}/millrace", "simulate-users", "--gateway", f"http://127.0.0.1:{gateway.port}", "--users", "3", "--duration", "2s"],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert re.search(r"^  1 s  sent \d+, accepted \d+ \(\d+/s\), refused 0, errors 0; p50 ", done.stdout, re.M), done.stdout
    assert re.search(r"^the job 'words' was sent [\d,]+ words; exact: yes$", done.stdout, re.M), done.stdout
