"""bench/http_load, which measures gateways: what never came is not left out of its percentiles."""

import http.server
import json
import subprocess
import threading

import pytest

from harness import BIN


class Stuck(http.server.BaseHTTPRequestHandler):
    """Stores probes, whose count is never there, and answers no other text."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()

    def do_POST(self):
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        if not text.startswith("probe"):
            self.over.wait()
        self.answer({})

    def do_GET(self):
        self.answer({"count": None})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stuck():
    Stuck.over.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stuck) as server:
        server.handle_error = lambda *_: None  # its client has gone
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        Stuck.over.set()
        server.shutdown()


def test_what_is_never_answered_counts_as_long_as_was_waited_for_it(stuck, directory):
    with open(f"{directory}/lines.txt", "w", encoding="utf-8") as file:
        file.write("a\n")
    flags = {"port": stuck.server_port, "text": file.name, "connections": 2, "rate": 64, "probes": 16, "readable": "true",
             "warm_up": 0, "seconds": 0.5, "patience": 0.25}
    done = subprocess.run([f"{BIN}/http_load", *(f"--{name}={value}" for name, value in flags.items())],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["stored"], said["unanswered"], said["unsent"]) == (0, 2, 30), "each text that was due is told"
    assert (said["probes"], said["readable"], said["unreadable"]) == (8, 0, 8)
    # The last of all was due before the end, and patience began there.
    assert said["p50_ms"] >= 250 and said["readable_p50_ms"] >= 250, said
