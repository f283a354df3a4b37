"""Processes that the tests and the demo start: each in a session of its own, ended by pid, never by name, and by SIGKILL
when who started them dies.

Start them from the main thread: the parent-death signal follows the thread that made the process."""

import os
import random
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"


# Below those that the kernel gives to outgoing connections, one of which may otherwise have the port before its server.
SERVER_PORTS = range(10_000, 32_000)


def free_port():
    return free_ports(1)[0]


def free_ports(count):
    probes = []
    while len(probes) < count:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", random.choice(SERVER_PORTS)))
            probes.append(probe)
        except OSError:
            probe.close()  # somebody has it
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(what, condition, seconds=20.0, pause=0.02):
    """Calls condition() until it gives something true, and returns that. Fails with `what` and the last exception."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Exception as error:  # whatever a process that is not up yet causes
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}; last seen: {last!r}")
        time.sleep(pause)


class Process:
    """One program with its log. start(), kill() (SIGKILL), stop() (SIGTERM); may be started again."""

    def __init__(self, name, command, log_directory, environment=None):
        self.name = name
        self.command = command
        self.log = os.path.join(log_directory, f"{name}.log")
        self.environment = environment or {}
        self.popen = None

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def start(self):
        assert not self.running(), f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        return self

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def kill(self):
        """SIGKILL; returns once it is gone."""
        self.signal(signal.SIGKILL)
        if self.popen:
            self.popen.wait(20)

    def stop(self, seconds=30):
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.popen.wait(seconds)

    def end(self):
        """Whatever it takes, the rest of its process group included."""
        if self.popen is None:
            return
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(20)

    def tail(self, lines=40):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except FileNotFoundError:
            return ""


class Redis:
    """A redis-server of its own. `durable`: every write is synced, so that SIGKILL loses nothing. `patience_s`: for an
    answer to `client`."""

    def __init__(self, directory, durable=True, password=None, patience_s=5):
        import redis

        self.directory = os.path.join(directory, "redis")
        os.makedirs(self.directory, exist_ok=True)
        self.port = free_port()
        self.password = password
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"] if durable else []
        command += ["--requirepass", password] if password else []
        self.process = Process("redis", command, directory)
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=patience_s)

    @property
    def uri(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        self.process.start()
        wait_for("redis", self.client.ping)
        return self

    def counts(self, name):
        return {key: int(value) for key, value in self.client.hgetall(f"{{{name}}}:counts").items()}

    def texts(self, name, suffix="counts"):
        return self.client.hgetall(f"{{{name}}}:{suffix}")

    def status(self, name):
        return {key.decode(): value.decode() for key, value in self.client.hgetall(f"{{{name}}}:status").items()}

    def top(self, name, suffix="top"):
        """[(word, count)] highest first, ties by bytes."""
        pairs = self.client.zrange(f"{{{name}}}:{suffix}", 0, -1, withscores=True)
        return sorted(((word, int(score)) for word, score in pairs), key=lambda pair: (-pair[1], pair[0]))


class Kafka:
    """A real broker by scripts/kafka; its data outlives kill() and start(). `session_s`: how long it may stand still; so long
    after a kill() it is not let in again."""

    def __init__(self, directory, session_s=3):
        self.directory = os.path.join(directory, "kafka")
        self.port = free_port()
        self.process = Process("kafka", [f"{ROOT}/scripts/kafka", "run", *self._where()], directory,
                               {"KAFKA_SESSION_MS": str(1000 * session_s)})

    def _where(self):
        return ["--dir", self.directory, "--port", str(self.port)]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def uri(self, topic):
        return f"kafka://{self.address}/{topic}"

    def launch(self):
        self.process.start()
        return self

    def wait(self):
        wait_for("the Kafka broker", lambda: not self._admin("status").returncode, seconds=120, pause=0.1)

    def start(self):
        self.launch()
        self.wait()
        return self

    def _admin(self, *arguments):
        return subprocess.run([f"{ROOT}/scripts/kafka", *arguments, *self._where()], capture_output=True, text=True)

    def topic(self, name, partitions):
        done = self._admin("topic", name, str(partitions))
        assert done.returncode == 0, done.stderr
        return name

    def grow(self, name, partitions):
        from kafka.admin import KafkaAdminClient, NewPartitions

        admin = KafkaAdminClient(bootstrap_servers=self.address, api_version=(2, 5, 0))
        admin.create_partitions({name: NewPartitions(partitions)})
        admin.close()

    def delete_topic(self, name):
        done = self._admin("delete-topic", name)
        assert done.returncode == 0, done.stderr
