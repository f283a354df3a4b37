"""A millrace-gateway for a test, in front of a cluster."""

import http.client
import json

from harness import BIN
from processes import Process, free_port, wait_for

JSON = {"Content-Type": "application/json"}


class Gateway:
    def __init__(self, cluster, name="gateway", flags=()):
        self.port = free_port()
        command = [f"{BIN}/millrace-gateway", f"--api={cluster.api_port}", f"--http=127.0.0.1:{self.port}", *flags]
        self.process = Process(name, command, cluster.directory, cluster.environment)
        cluster.things.append(self)

    def start(self):
        self.process.start()
        wait_for("the gateway", lambda: self.ask("GET", "/ready")[0] == 200)
        return self

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body: of JSON what it says)"""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, answer.headers, json.loads(text) if "json" in answer.headers["Content-Type"] else text
        finally:
            connection.close()

    def submit(self, text, user=None, key=None):
        body = {"text": text} if user is None else {"text": text, "user_id": user}
        status, _, answer = self.ask("POST", "/submit_text", json.dumps(body), JSON | ({"Idempotency-Key": key} if key else {}))
        return status, answer
