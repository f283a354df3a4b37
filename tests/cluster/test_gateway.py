"""millrace-gateway in front of a real cluster: what was answered is counted once, whoever dies."""

import gzip
import http.client
import itertools
import json
import re
import subprocess
import threading
import time

import pytest

from harness import BIN
from http_gateway import JSON, Gateway
from processes import ROOT, wait_for


@pytest.fixture
def counted(cluster):
    """A job that counts the words of the log that /submit_text appends to."""
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", "none:")
    return cluster


def count(cluster, word):
    with cluster.api() as connection:
        value = connection.query.get("words", [word.encode()], 0, "").values[0]
        return int(value.text) if value.found else 0


def wait_for_count(cluster, word, number):
    wait_for(f"{number} times {word}", lambda: count(cluster, word) == number)


def wait_until_all_is_counted(cluster):
    cluster.cli("lag", "words", "--until-zero", "30s")


def test_a_text_is_counted_and_a_retry_at_another_gateway_counts_once(counted):
    one, other = Gateway(counted, "gateway-1").start(), Gateway(counted, "gateway-2").start()
    status, answer = one.submit("hello world", "ann", key="first")
    assert status == 200 and answer["log"] == "text" and answer["offset"] == 0, answer
    wait_for_count(counted, "hello", 1)
    one.process.kill()
    assert other.submit("hello world", "ann", key="first") == (200, answer)
    assert other.submit("hello again", "ann", key="second")[0] == 200
    wait_for_count(counted, "hello", 2)
    assert count(counted, "world") == 1
    one.start()
    assert one.submit("hello world", "ann", key="first") == (200, answer)
    counted.cli("submit", "user_counts", "--name", "users", "--source", "log://text", "--sink", "none:")
    counted.wait_for_records("users", 2)
    assert counted.cli("get", "users", "ann").stdout == "ann\t2\n"
    wait_until_all_is_counted(counted)
    assert count(counted, "hello") == 2


def test_records_come_in_every_form(counted):
    gateway = Gateway(counted).start()
    path = "/api/v1/logs/text/records"
    for kind, body in [
        ("application/json", json.dumps({"records": [{"key": "k", "value": "a a"}, {"value": "a"}]}).encode()),
        ("application/x-ndjson", b'"b"\n{"value": "b b"}\n'),
        ("text/plain; charset=utf-8", "naïve\nnaïve\r\n".encode()),
    ]:
        for headers, sent in [({}, body), ({"Content-Encoding": "gzip"}, gzip.compress(body))]:
            status, _, answer = gateway.ask("POST", path, sent, {"Content-Type": kind, **headers})
            assert status == 200 and sum(part["count"] for part in answer["ranges"]) == 2, answer
    for word, number in {"a": 6, "b": 6, "naïve": 4}.items():
        wait_for_count(counted, word, number)


def test_each_answered_request_is_counted_once_while_the_master_and_gateways_are_killed(counted):
    gateways = [Gateway(counted, f"gateway-{index}").start() for index in range(2)]
    over = threading.Event()
    answered, unknown = [], []

    def send(number):
        """Until it is answered, as a client with a key does; without a key it cannot be known after an error."""
        keyed = number % 2 == 0
        for turn in itertools.count():
            if over.is_set():
                return
            for attempt in itertools.count(turn):
                word = f"w{number}x{turn}"
                try:
                    status, _ = gateways[(number + attempt) % 2].submit(word, f"user-{number}", word if keyed else None)
                except (OSError, http.client.HTTPException):
                    status = None  # the gateway is dead, or has died
                if status == 200:
                    answered.append(word)
                    break
                assert status in (None, 503, 504), status
                if not keyed and status != 503:
                    unknown.append(word)
                    break
                if over.wait(0.05) and keyed:
                    unknown.append(word)
                    return

    senders = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for sender in senders:
        sender.start()
    try:
        wait_for("the first answers", lambda: len(answered) > 100)
        counted.master.kill()
        counted.master.start()
        seen = len(answered)
        wait_for("answers of the next master", lambda: len(answered) > seen + 100, seconds=60)
        gateways[0].process.kill()
        seen = len(answered)
        wait_for("answers of the other gateway", lambda: len(answered) > seen + 100, seconds=60)
        gateways[0].start()
    finally:
        over.set()
        for sender in senders:
            sender.join(60)
    counted.wait_until_up(2)
    wait_until_all_is_counted(counted)
    with counted.api() as connection:
        words = [*answered, *unknown]
        found = {}
        for begin in range(0, len(words), 1000):
            part = [word.encode() for word in words[begin : begin + 1000]]
            for value in connection.query.get("words", part, 0, "").values:
                found[value.key] = int(value.text) if value.found else 0
    wrong = {word: found[word] for word in answered if found[word] != 1}
    assert not wrong, f"of {len(answered)} answered requests were not counted once: {wrong}"
    assert all(found[word] <= 1 for word in unknown), [word for word in unknown if found[word] > 1]


def readme_commands():
    """Those of the README's section that ask a gateway, each with the answer that stands below it, if one does."""
    with open(f"{ROOT}/README.md", encoding="utf-8") as file:
        section = file.read().split("\n## Text over HTTP\n")[1].split("\n## ")[0]
    shown = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.S)).replace("\\\n", " ")
    return re.findall(r"^(.*\bcurl .*)\n(?:# (.*)\n)?", shown, re.M)


def test_the_commands_of_the_readme_do_what_it_says(cluster):
    gateway = Gateway(cluster).start()
    commands = readme_commands()
    assert len(commands) == 15, commands
    cluster.submit("word_count", "words", "log://text", "none:")
    position = ""
    for command, answer in commands:
        command = command.replace("127.0.0.1:7090", f"127.0.0.1:{gateway.port}").replace("curl ", "curl --silent --show-error --fail-with-body ")
        command = command.replace("POSITION", position)
        run = lambda: subprocess.run(["bash", "-ec", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
        if any(part in command for part in ("/search", "/export.csv", "/totals")):
            wait_for("a checkpoint", lambda: run().returncode == 0)
        done = run()
        assert done.returncode == 0 and ("/jobs" in command or '"log":"text"' in done.stdout), (command, done)
        if "/stream" in command:
            assert "event: reset" in done.stdout, done
            continue
        if "/export.csv" in command:
            assert done.stdout.startswith("key,value\n") and "\na," in done.stdout, done
            continue
        assert not answer or sorted(json.loads(done.stdout)) == sorted(json.loads(answer)), (command, done)
        position = json.loads(done.stdout).get("position", position)
        if "/records" in command:
            wait_until_all_is_counted(cluster)


def test_counts_are_told_and_jobs_are_stopped_over_http(counted):
    gateway = Gateway(counted).start()
    assert gateway.ask("GET", "/api/v1/jobs/words")[2]["tables"] == [{"name": "counts", "rank": "top", "rank_size": 1000}]
    begin = gateway.ask("GET", "/api/v1/jobs/words/changes?wait_ms=0")[2]["position"]
    gateway.submit("b a b")
    told = gateway.ask("GET", f"/api/v1/jobs/words/changes?after={begin}")[2]
    assert {(c["word"], c["count"]) for batch in told["batches"] for c in batch["changes"]} == {("a", 1), ("b", 2)}, told
    top = gateway.ask("GET", f"/api/v1/jobs/words/top?at_least={told['batch']}")[2]
    assert top["values"] == [{"word": "b", "count": 2}, {"word": "a", "count": 1}] and top["batch"] >= told["batch"]
    assert gateway.ask("GET", "/api/v1/jobs/words/counts/b")[2]["count"] == 2
    assert gateway.ask("POST", "/api/v1/jobs/words/stop")[2]["state"] == "stopped"
    assert gateway.ask("GET", "/api/v1/jobs/words/counts/b")[0] == 503
    status, _, problem = gateway.ask("GET", "/api/v1/jobs/none")
    assert status == 404 and "'none'" in problem["detail"], problem
    counted.master.kill()
    assert gateway.ask("GET", "/api/v1/jobs")[0] == 503
    counted.master.start()
    wait_for("the master", lambda: gateway.ask("GET", "/api/v1/jobs")[0] == 200)
    assert gateway.ask("POST", "/api/v1/jobs/words/resume")[0] == 200
    wait_for_count(counted, "b", 2)


class Events:
    """What a reader of the stream gets, on a thread: it comes back with the last id when the gateway goes."""

    def __init__(self, gateway, job):
        self.gateway, self.path = gateway, f"/api/v1/jobs/{job}/stream"
        self.counts, self.resets, self.last_id, self.over = {}, 0, None, False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while not self.over:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
                connection.request("GET", self.path, headers={"Last-Event-ID": self.last_id} if self.last_id else {})
                answer = connection.getresponse()
                fields = {}
                while answer.status == 200 and not self.over:
                    line = answer.readline().decode()
                    if not line:
                        break
                    name, _, value = line.rstrip("\n").partition(": ")
                    if name:
                        fields[name] = value
                    elif fields:
                        self._take(fields)
                        fields = {}
            except OSError:
                pass  # the gateway is away
            time.sleep(0.1)  # before it is tried again, as browsers do

    def _take(self, fields):
        self.last_id = fields.get("id", self.last_id)
        self.resets += fields.get("event") == "reset"
        if fields.get("event") == "changes":
            for change in json.loads(fields["data"])["changes"]:
                assert change["count"] >= self.counts.get(change["word"], 0), change
                self.counts[change["word"]] = change["count"]


def test_readers_of_events_miss_nothing_though_a_worker_and_the_gateway_are_killed(counted):
    gateway = Gateway(counted).start()
    readers = [Events(gateway, "words") for _ in range(20)]
    try:
        wait_for("their first positions", lambda: all(reader.last_id for reader in readers))
        for number in range(60):
            if number == 20:
                counted.workers[0].kill()
                counted.workers[0].start()
            if number == 40:
                gateway.process.kill()
                gateway.start()
            assert gateway.submit(f"w{number} all")[0] == 200
        expected = {f"w{number}": 1 for number in range(60)} | {"all": 60}
        wait_for("all changes", lambda: all(reader.counts == expected for reader in readers))
        assert [reader.resets for reader in readers] == [1] * 20
    finally:
        for reader in readers:
            reader.over = True


def test_texts_go_into_a_kafka_topic_too(cluster, shared_kafka):
    topic = shared_kafka.uri(shared_kafka.topic("gateway-texts", 4))
    gateway = Gateway(cluster, flags=[f"--logs=text={topic},more={topic}", "--max_body_bytes=2000000"]).start()
    cluster.submit("word_count", "words", topic, "none:")
    for number in range(50):
        status, answer = gateway.submit(f"hello w{number}", f"user-{number}")
        assert status == 200 and answer["offset"] >= 0, answer
    wait_for_count(cluster, "hello", 50)
    status, _, answer = gateway.ask("POST", "/api/v1/logs/more/records", b"hello\n" * 1000, {"Content-Type": "text/plain"})
    assert status == 200 and sum(part["count"] for part in answer["ranges"]) == 1000, answer
    wait_for_count(cluster, "hello", 1050)
    wait_for("a broker's word on the topic of keys", lambda: gateway.submit("hello", key="once")[0] != 503)
    status, answer = gateway.submit("hello", key="once")
    assert status == 400 and "--create --topic gateway-texts.keys" in answer["detail"], answer
    status, _, answer = gateway.ask("POST", "/api/v1/logs/more/records", b"x" * 1_500_000, {"Content-Type": "text/plain"})
    assert status == 400 and "message.max.bytes" in answer["detail"], answer
    wait_until_all_is_counted(cluster)
    assert count(cluster, "hello") == 1050


BAD = [  # method, path, body, headers, status, what is said
    ("POST", "/submit_text", b'{"text": "a', JSON, 400, "line 1, column 12"),
    ("POST", "/submit_text", b'{"text": 5}', JSON, 400, "'text' is a number"),
    ("POST", "/submit_text", b'{"text": 1e999}', JSON, 400, "number overflow"),
    ("POST", "/submit_text", b'{"user_id": "ann"}', JSON, 400, "'text' is missing"),
    ("POST", "/submit_text", b'{"text": "\xff"}', JSON, 400, "UTF-8"),
    ("POST", "/submit_text", b"", JSON, 400, "the body is empty"),
    ("POST", "/submit_text", b"text=a", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    ("POST", "/submit_text", b'{"text": "a"}', JSON | {"Idempotency-Key": "x" * 256}, 400, "Idempotency-Key"),
    ("POST", "/submit_text", b'{"text": "a"}', JSON | {"Origin": "https://evil.example"}, 403, "evil.example"),
    ("GET", "/api/v1/jobs", None, {"Host": "evil.example", "Origin": "http://evil.example"}, 403, "no API keys"),
    ("POST", "/submit_text", b"[" * 100_000, JSON, 400, "no JSON"),
    ("POST", "/api/v1/logs/none/records", b"a", {"Content-Type": "text/plain"}, 404, "there is no log 'none' here, but text"),
    ("POST", "/api/v1/logs/..%2Ftext/records", b"a", {"Content-Type": "text/plain"}, 404, "'../text'"),
    ("POST", "/api/v1/logs/text/records", b"a\n\xff", {"Content-Type": "text/plain"}, 400, "line 2: byte 1 is no UTF-8"),
    ("POST", "/api/v1/logs/text/records", b"\n" * 20_000, {"Content-Type": "text/plain"}, 413, "more than 10000 records"),
    ("POST", "/api/v1/logs/text/records", b"abc", {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, 400, "gzip"),
    ("POST", "/api/v1/logs/text/records", gzip.compress(bytes(50_000_000)), {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, 413, "unpacked"),
    ("POST", "/api/v1/logs/text/records", b'{"records": []}', JSON, 400, "no record"),
    ("POST", "/api/v1/logs/text/records", b"x" * 1_100_000, {"Content-Type": "text/plain"}, 413, "larger than 1048576"),
    ("GET", "/submit_text", None, {}, 405, "there is POST"),
    ("GET", "/../../etc/passwd", None, {}, 404, "is not there"),
    ("GET", "/health", None, {"X-Long": "x" * 20_000}, 431, "head of the request"),
]


def test_bad_input_is_answered_with_what_and_where_and_nothing_is_stored(cluster):
    gateway = Gateway(cluster).start()
    for method, path, body, headers, status, said in BAD:
        answer = gateway.ask(method, path, body, headers)
        assert answer[0] == status and said in answer[2]["detail"], (method, path, headers, answer)
        assert answer[1]["Content-Type"] == "application/problem+json" and answer[1]["X-Content-Type-Options"] == "nosniff"
    assert gateway.submit("a")[1]["offset"] == 0
    with cluster.api() as connection:
        assert connection.ingest.open_log("text", 4) == 4
    assert sum(map(len, cluster.read_log("text").values())) == 1


def test_who_sends_too_much_is_told_when_to_come_again(cluster):
    gateway = Gateway(cluster, flags=["--user_rate=0.1"]).start()
    assert gateway.submit("a", "ann")[0] == 200
    status, headers, answer = gateway.ask("POST", "/submit_text", '{"text": "a", "user_id": "ann"}', JSON)
    assert status == 429 and 1 <= int(headers["Retry-After"]) <= 10 and "'ann'" in answer["detail"]
    assert gateway.submit("a", "bob")[0] == 200
    assert 'millrace_gateway_refused_total{cause="user_rate"} 1' in gateway.ask("GET", "/metrics")[2]


def test_keys_are_needed_where_there_are_any(cluster, directory):
    with open(f"{directory}/keys", "w", encoding="utf-8") as file:
        file.write("ann submit 0123456789abcdef\n")
    gateway = Gateway(cluster, flags=[f"--auth={directory}/keys"]).start()
    assert gateway.submit("a")[0] == 401
    answer = gateway.ask("POST", "/submit_text", '{"text": "a"}', JSON | {"Authorization": "Bearer 0123456789abcdef"})
    assert answer[0] == 200, answer


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--http=0.0.0.0:0"], "can be reached from elsewhere, by anybody; give --auth=FILE"),
        (["--http=127.0.0.1.evil.example:0"], "can be reached from elsewhere"),
        (["--auth=/nowhere"], "the file /nowhere cannot be read"),
        (["--text_log=none"], "--text_log=none is none of --logs=text=log://text"),
        (["--logs=text=log://a,text=log://b"], "names 'text' twice"),
        (["--logs=text=redis://a"], "is not log://NAME or kafka://"),
        (["--logs=text=kafka://127.0.0.1:1"], "Kafka needs brokers and a topic"),
        (["--kafka_config=/nowhere"], "/nowhere"),
        (["--user_rate=-1"], "--user_rate and --total_rate are numbers"),
        (["--max_body_bytes=1"], "--max_body_bytes must be from 1024"),
        (["--nosuch"], "unknown flag"),
    ],
)
def test_a_wrong_setting_is_refused(flags, said):
    done = subprocess.run([f"{BIN}/millrace-gateway", *flags], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and said in done.stderr, done


def test_a_gateway_that_is_to_end_answers_what_is_under_way(counted):
    gateway = Gateway(counted).start()
    counted.master.signal(19)  # SIGSTOP
    answers = []
    sender = threading.Thread(target=lambda: answers.append(gateway.submit("last", "ann")))
    sender.start()
    try:
        wait_for("a request under way", lambda: 'under_way{route="POST /submit_text"} 1' in gateway.ask("GET", "/metrics")[2])
        gateway.process.signal(15)
        wait_for("its end to begin", lambda: "answers what is under way" in gateway.process.tail())
    finally:
        counted.master.signal(18)  # SIGCONT
    sender.join(60)
    assert answers[0][0] == 200, answers
    assert gateway.process.popen.wait(30) == 0
    wait_for_count(counted, "last", 1)


def test_a_master_that_is_away_is_told_by_health(cluster):
    gateway = Gateway(cluster).start()
    status, _, health = gateway.ask("GET", "/health")
    assert status == 200 and health["parts"][0] == {"name": "log text", "oldest_wait_ms": 0, "status": "ok"}
    cluster.master.kill()
    health = wait_for("the problem", lambda: (lambda answer: answer[0] == 503 and answer[2])(gateway.ask("GET", "/health")))
    assert f"the master at {cluster.api_port} does not answer" in health["parts"][0]["problem"], health
    cluster.master.start()
    wait_for("no problem", lambda: gateway.ask("GET", "/health")[0] == 200)
