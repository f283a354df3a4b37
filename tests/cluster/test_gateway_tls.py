"""millrace-gateway by HTTPS."""

import http.client
import json
import signal
import ssl
import subprocess

import pytest

from harness import BIN
from http_gateway import JSON, Gateway
from processes import wait_for


def make_certificate(directory, name):
    """A key and a certificate of 127.0.0.1, signed by itself, in the files that a gateway reads."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", f"{directory}/key.pem", "-out", f"{directory}/certificate.pem"],
        check=True, capture_output=True)


class TlsGateway(Gateway):
    """One whose certificate is verified by each request."""

    def __init__(self, cluster, directory):
        self.directory = directory
        super().__init__(cluster, flags=[f"--tls_certificate={directory}/certificate.pem", f"--tls_key={directory}/key.pem"])

    def connect(self):
        context = ssl.create_default_context(cafile=f"{self.directory}/certificate.pem")
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)


@pytest.fixture
def gateway(cluster, directory):
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", "none:")
    make_certificate(directory, "first")
    return TlsGateway(cluster, directory).start()


def test_texts_counts_events_and_the_page_go_by_https(gateway):
    assert gateway.submit("hello hello")[0] == 200
    wait_for("the count", lambda: gateway.ask("GET", "/api/v1/jobs/words/counts/hello")[2].get("count") == 2)
    status, headers, page = gateway.ask("GET", "/")
    assert status == 200 and "<title>" in page and "default-src 'none'" in headers["Content-Security-Policy"], headers
    connection = gateway.connect()
    try:
        connection.request("GET", "/api/v1/jobs/words/stream")
        events = connection.getresponse()
        assert events.status == 200
        assert gateway.submit("world")[0] == 200
        while "world" not in events.readline().decode():
            pass
    finally:
        connection.close()


def test_who_does_not_speak_tls_gets_nothing(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        connection.request("POST", "/submit_text", json.dumps({"text": "secret"}), JSON)
        connection.getresponse()


def test_a_new_certificate_is_read_at_sighup_and_a_wrong_one_is_not_taken(gateway, directory):
    kept = gateway.connect()
    kept.request("GET", "/ready")
    assert kept.getresponse().read()
    make_certificate(directory, "second")
    with pytest.raises(ssl.SSLCertVerificationError):
        gateway.ask("GET", "/ready")
    gateway.process.signal(signal.SIGHUP)
    wait_for("the new certificate", lambda: gateway.ask("GET", "/ready")[0] == 200)
    with open(f"{directory}/key.pem", "w", encoding="utf-8") as file:
        file.write("not a key")
    gateway.process.signal(signal.SIGHUP)
    wait_for("the log's word", lambda: "the certificate stays as it was" in gateway.process.tail())
    assert gateway.ask("GET", "/ready")[0] == 200
    kept.request("GET", "/ready")
    assert kept.getresponse().status == 200


@pytest.mark.parametrize("flags, said", [
    (["--tls_certificate={0}/certificate.pem"], "belong together"),
    (["--tls_key={0}/key.pem"], "belong together"),
    (["--tls_certificate={0}/none.pem", "--tls_key={0}/key.pem"], "none.pem is no certificate in PEM form"),
    (["--tls_certificate={0}/certificate.pem", "--tls_key={0}/certificate.pem"], "certificate.pem is no private key"),
])
def test_files_that_are_none_are_refused(directory, flags, said):
    make_certificate(directory, "any")
    done = subprocess.run([f"{BIN}/millrace-gateway", "--http=127.0.0.1:0", *(flag.format(directory) for flag in flags)],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and said in done.stderr, done.stderr
