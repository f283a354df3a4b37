"""Who does a gateway harm, on purpose or not: each is told what is wrong and where, and meanwhile others are served."""

import json
import re
import resource
import socket
import threading
import time

import pytest

from processes import wait_for
from test_gateway import JSON, Gateway

IDLE = 5000


class Raw:
    """A connection that sends what a test wants."""

    def __init__(self, gateway, sent=b""):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.send(sent)

    def send(self, sent):
        self.socket.sendall(sent)

    def answer(self):
        """(status, the problem's detail, or None of what is no problem), once the gateway has closed the connection"""
        text = b""
        try:
            while part := self.socket.recv(65536):
                text += part
        except ConnectionResetError:
            pass
        head, _, body = text.partition(b"\r\n\r\n")
        if not head:
            return None, None
        problem = json.loads(body) if b"application/problem+json" in head else {}
        return int(head.split()[1]), problem.get("detail")

    def close(self):
        self.socket.close()


class Others:
    """Somebody who is served all the while; how long that takes at most."""

    def __init__(self, gateway):
        self.gateway, self.over, self.took, self.problem = gateway, threading.Event(), [], None
        self.thread = threading.Thread(target=self._send)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _send(self):
        while not self.over.is_set():
            begin = time.monotonic()
            try:
                status, answer = self.gateway.submit("calm", "ann")
            except OSError as error:
                status, answer = None, repr(error)
            if status != 200:
                self.problem = (status, answer)
                return
            self.took.append(time.monotonic() - begin)

    def check(self):
        assert self.problem is None and len(self.took) > 10, (self.problem, self.took)
        assert max(self.took) < 5, max(self.took)


@pytest.fixture
def gateway(cluster):
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", "none:")
    return Gateway(cluster).start()


def head(line, *headers):
    return "\r\n".join([line, "Host: localhost", *headers, "", ""]).encode()


def refusals(gateway, status):
    found = re.search(rf'millrace_gateway_requests_total{{route="none",status="{status}"}} (\d+)', gateway.ask("GET", "/metrics")[2])
    return int(found[1]) if found else 0


def test_a_body_of_100_megabytes_is_refused_by_its_length_or_as_soon_as_it_is_too_long(gateway):
    part = b"x" * (1 << 20)
    with Others(gateway) as others:
        by_length = Raw(gateway, head("POST /submit_text HTTP/1.1", "Content-Type: application/json", "Content-Length: 100000000"))
        status, detail = by_length.answer()
        assert status == 413 and "larger than 1048576 bytes" in detail, detail
        in_chunks = Raw(gateway, head("POST /submit_text HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"))
        try:
            for _ in range(100):
                in_chunks.send(b"%x\r\n%s\r\n" % (len(part), part))
        except OSError:
            pass  # nobody reads all of it
        status, detail = in_chunks.answer()
        assert status in (413, None), (status, detail)  # None: it was still sending when the connection was closed
        wait_for("others", lambda: others.problem or len(others.took) > 10)
    others.check()
    assert refusals(gateway, 413) == 2


def test_slow_heads_and_bodies_end_at_a_deadline(gateway):
    heads = [Raw(gateway, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") for _ in range(150)]
    bodies = [Raw(gateway, head("POST /submit_text HTTP/1.1", "Content-Type: application/json", "Content-Length: 1000") + b'{"te')
              for _ in range(150)]
    with Others(gateway) as others:
        wait_for("others", lambda: others.problem or len(others.took) > 10)
        for drip in b"abc":
            for slow in [*heads, *bodies]:
                slow.send(bytes([drip]))
        answers = [slow.answer() for slow in [*heads, *bodies]]
    others.check()
    assert all(status == 408 and "had not come after 10000 ms" in detail for status, detail in answers), answers
    assert refusals(gateway, 408) == 300


def test_thousands_of_idle_connections_keep_nobody_out(gateway):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE, hard // 2 - 200)
    idle = []
    try:
        with Others(gateway) as others:
            for _ in range(count):
                idle.append(Raw(gateway))
            seen = len(others.took)
            wait_for("others", lambda: others.problem or len(others.took) > seen + 20)
        others.check()
        # And they themselves, whenever they say something.
        idle[-1].send(head("GET /ready HTTP/1.1", "Connection: close"))
        assert idle[-1].answer()[0] == 200
    finally:
        for connection in idle:
            connection.close()


NO_REQUESTS = [  # bytes, status, what is said
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n", 400, "no HTTP request"),
    (b"hello\r\n\r\n", 400, "no HTTP request"),
    (head("POST /submit_text HTTP/1.1", "Content-Length: -5"), 400, "no HTTP request"),
    (head("POST /submit_text HTTP/1.1", "Content-Length: 5", "Content-Length: 6"), 400, "no HTTP request"),
    (head("POST /submit_text HTTP/1.1", "Content-Length: 99999999999999999999"), 400, "no HTTP request"),
    (head("POST /submit_text HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close") + b"zz\r\n", 400, "no HTTP request"),
    (head("GET /%zz HTTP/1.1", "Connection: close"), 400, "%XX"),
    (head("GET /health HTTP/1.1", *[f"X-{n}: {n}" for n in range(3000)]), 431, "head of the request is larger than 16384"),
    (head("GET /health HTTP/1.1", "X: " + "a" * 1_000_000), 431, "head of the request is larger than 16384"),
    (head("GET /" + "a" * 100_000 + " HTTP/1.1"), 431, "head of the request is larger than 16384"),
    (head("BREW /health HTTP/1.1", "Connection: close"), 405, "there is GET"),
]

BAD = [  # method, path, body, status, what is said
    ("GET", "/api/v1/jobs/none", None, 404, "'none'"),
    ("GET", "/api/v1/jobs/none/top", None, 404, "'none'"),
    ("GET", "/api/v1/jobs/none/counts/a", None, 404, "'none'"),
    ("GET", "/api/v1/jobs/none/lag", None, 404, "'none'"),
    ("GET", "/api/v1/jobs/none/changes?wait_ms=0", None, 404, "'none'"),
    ("GET", "/api/v1/jobs/none/stream", None, 404, "'none'"),
    ("POST", "/api/v1/jobs/none/stop", b"", 404, "'none'"),
    ("DELETE", "/api/v1/jobs/none", None, 404, "'none'"),
    ("GET", "/api/v1/jobs/words/top?n=many", None, 400, "?n= is 'many'"),
    ("GET", "/api/v1/jobs/words/changes?after=x", None, 400, "'x'"),
    ("GET", "/api/v1/jobs/..%2F..%2Fetc%2Fpasswd", None, 400, "the job name must be"),
    ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, 404, "is not there"),
    ("GET", "/page/..%2f..%2fgateway_main.cc", None, 404, "no file '../../gateway_main.cc'"),
    ("POST", "/api/v1/jobs", b"{", 400, "line 1, column 2"),
    ("POST", "/api/v1/jobs", b"[]", 400, "object"),
    ("POST", "/api/v1/jobs", b'{"name": 5, "type": "word_count", "source": "log://text"}', 400, "'name' must be a string"),
    ("POST", "/api/v1/jobs", b'{"type": "word_count", "source": "log://text"}', 400, "name"),
    ("POST", "/api/v1/jobs", b'{"name": "x", "type": "none", "source": "log://text"}', 400, "'none'"),
    ("POST", "/api/v1/jobs", b'{"name": "x", "type": "word_count", "source": "file:///etc/passwd"}', 400, "no kind of source"),
    ("POST", "/submit_text", b'{"text": ["a"]}', 400, "'text' is an array"),
    ("POST", "/submit_text", b'{"text": "a", "user_id": {}}', 400, "'user_id' is an object"),
    ("POST", "/submit_text", b'"a"', 400, "object"),
]


def test_what_is_no_request_or_a_wrong_one_is_told_so_and_counted(gateway):
    others = []
    for sent, status, said in NO_REQUESTS:
        answered, detail = Raw(gateway, sent).answer()
        if answered != status or said not in detail:
            others.append((sent[:100], answered, detail))
    for method, path, body, status, said in BAD:
        answered, headers, problem = gateway.ask(method, path, body, JSON if body else {})
        if answered != status or headers["Content-Type"] != "application/problem+json" or said not in problem["detail"]:
            others.append((method, path, body, answered, problem))
    assert not others, "\n".join(map(str, others))
    assert refusals(gateway, 431) == 3 and refusals(gateway, 405) == 1 and refusals(gateway, 400) == 7
    assert refusals(gateway, 404) == len([path for _, path, *_ in BAD if "/%2e" in path])
    assert gateway.submit("a")[0] == 200


def test_a_wrong_token_is_refused_wherever_one_is_needed(cluster, directory):
    with open(f"{directory}/keys", "w", encoding="utf-8") as file:
        file.write("ann submit 0123456789abcdef\n")
    gateway = Gateway(cluster, flags=[f"--auth={directory}/keys"]).start()
    wrong = {"Authorization": "Bearer 0123456789abcdeg"}
    for method, path, body in [("POST", "/submit_text", b'{"text": "a"}'), ("GET", "/api/v1/jobs", None),
                               ("GET", "/api/v1/jobs/words/stream", None), ("DELETE", "/api/v1/jobs/words", None),
                               ("GET", "/metrics", None)]:
        for headers, status, said in [({}, 401, "an API key is needed"), (wrong, 401, "is not known"),
                                      ({"Authorization": "Basic YTpi"}, 401, "is not known")]:
            answer = gateway.ask(method, path, body, JSON | headers)
            assert answer[0] == status and said in answer[2]["detail"], (path, answer)
            assert answer[1]["WWW-Authenticate"] == "Bearer"
    answer = gateway.ask("DELETE", "/api/v1/jobs/words", None, {"Authorization": "Bearer 0123456789abcdef"})
    assert answer[0] == 403 and "the role submit, and this needs operate" in answer[2]["detail"], answer
