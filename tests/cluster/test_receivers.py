"""`millrace run` on what cannot be read twice but standard input: a socket, and files that come into a directory."""

import os
import signal
import subprocess

import pytest

from harness import BIN
from processes import PYTHON, free_port, wait_for
from terminal import Terminal
from test_bad_input import one_line
from test_run import counts_of, run

RUN = [f"{BIN}/millrace", "run", "network_word_count"]

# Like `nc -lk PORT`: what it is given goes to whoever is connected.
SERVER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
line = sys.stdin.buffer.readline()
while line:
    connection, _ = listening.accept()
    try:
        while line:
            connection.sendall(line)
            line = sys.stdin.buffer.readline()
    except OSError:
        pass
"""


class Server:
    def __init__(self, port):
        self.process = subprocess.Popen([PYTHON, "-c", SERVER, str(port)], stdin=subprocess.PIPE)

    def type(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def make_server():
    servers = []

    def make(port):
        servers.append(Server(port))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def start():
    """A run that is piped."""
    started = []

    def start(*arguments):
        started.append(subprocess.Popen([*RUN, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def put(directory, name, data):
    """A file that is there as a whole at once."""
    with open(f"{directory}/.{name}", "wb") as file:
        file.write(data)
    os.rename(f"{directory}/.{name}", f"{directory}/{name}")


def test_words_are_counted_while_they_are_typed_and_a_restarted_server_is_taken_up(make_server):
    port = free_port()
    terminal = Terminal([*RUN, "--source", f"socket://localhost:{port}"])
    try:
        refused = f"cannot connect to localhost:{port}: Connection refused"
        wait_for("the problem", lambda: terminal.last_drawn()[1].startswith(refused))
        server = make_server(port)
        server.type(b"to be or\n")
        wait_for("the first line", lambda: terminal.last_drawn()[1:] == ["be\t1", "or\t1", "to\t1"])
        server.type(b"not to be\n")
        wait_for("the second line", lambda: terminal.last_drawn()[1:] == ["be\t2", "to\t2", "not\t1", "or\t1"])
        server.kill()
        wait_for("the problem", lambda: "cannot connect" in terminal.last_drawn()[1])
        make_server(port).type(b"to\n")
        wait_for("the third line", lambda: terminal.last_drawn()[1:] == ["to\t3", "be\t2", "not\t1", "or\t1"])
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    finally:
        terminal.end()


def test_without_a_terminal_a_server_that_is_away_is_told_once_and_ctrl_c_prints_the_counts(start, make_server, redis):
    port = free_port()
    process = start("--source", f"socket://127.0.0.1:{port}", "--sink", redis.uri)
    told = process.stderr.readline().decode()
    assert told == (f"millrace: cannot connect to 127.0.0.1:{port}: Connection refused; start the server there, or "
                    "correct --source; waiting\n")
    server = make_server(port)
    server.type(b"a b\r\n\xff\n" + b"x" * (2 << 20) + b"\na")
    server.process.stdin.close()
    wait_for("the counts", lambda: redis.counts("network_word_count") == {b"a": 2, b"b": 1})
    make_server(port).type(b"c\n")
    wait_for("later counts, so that those before are complete", lambda: b"c" in redis.counts("network_word_count"))
    process.send_signal(signal.SIGINT)
    printed, rest = process.communicate(timeout=20)
    assert process.returncode == 0 and printed.removesuffix(b"c\t1\n") == b"a\t2\nb\t1\n"
    rest = rest.decode().splitlines()
    bad = [line.split(":", 2) for line in rest[-2:]]
    assert "2 records were not counted:" in rest[-3], rest
    assert sorted(line[0].strip() for line in bad) == ["line 2 of 127.0.0.1", "line 3 of 127.0.0.1"]
    assert rest.count(told.strip()) <= 1, "it is told again at most once, after something was counted"


def test_ctrl_c_ends_it_while_nobody_listens(start):
    process = start("--source", f"socket://127.0.0.1:{free_port()}")
    assert b"Connection refused" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == (b"", b"") and process.returncode == 0


def test_a_server_that_sends_much_is_slowed_down_and_nothing_is_lost(make_server, directory):
    port = free_port()
    lines = [b"word%d %d" % (number % 1000, number % 7) for number in range(300_000)]
    with open(f"{directory}/text", "wb") as file:
        file.write(b"\n".join(lines) + b"\n")
    with open(f"{directory}/text", "rb") as file:
        server = subprocess.Popen([PYTHON, "-c", SERVER, str(port)], stdin=file)
    terminal = Terminal([*RUN, "-n", "20", "--source", f"socket://127.0.0.1:{port}"])
    try:
        assert server.wait(60) == 0
        highest = counts_of(lines).decode().splitlines()[:20]
        wait_for("all of it", lambda: terminal.last_drawn()[-20:] == highest)
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    finally:
        server.kill()
        terminal.end()


def test_a_directory_until_latest_is_a_batch_job(directory):
    put(directory, "b", b"b a\r\nlast")
    put(directory, "a", b"a\n\xff\n")
    os.mkdir(f"{directory}/folder")
    source = ["--source", f"directory://{directory}"]
    done = run(*source, "--until", "latest")
    assert done.stdout == b"a\t2\nb\t1\nlast\t1\n"
    assert done.stderr.decode().splitlines()[1].startswith("  line 2 of a: ")
    os.symlink("/proc/self/mem", f"{directory}/no_file")
    failed = run(*source, "--until", "latest", code=1)
    assert not failed.stdout
    one_line(failed.stderr.decode(), f"file '{directory}/no_file' cannot be read", "Input/output error", "take it away")


def test_files_that_come_into_a_directory_are_counted_each_once(directory):
    put(directory, "1", b"a b\n")
    terminal = Terminal([*RUN, "--source", f"directory://{directory}"])
    try:
        wait_for("the first file", lambda: terminal.last_drawn()[1:] == ["a\t1", "b\t1"])
        os.rename(f"{directory}/1", f"{directory}/done")
        put(directory, "2", b"b\n")
        wait_for("the second file", lambda: terminal.last_drawn()[1:] == ["b\t2", "a\t1"])
        put(directory, "3", b"b\n")
        wait_for("the third file, when the second one is closed", lambda: terminal.last_drawn()[1:] == ["b\t3", "a\t1"])
        with open(f"{directory}/2", "ab") as file:
            file.write(b"added\n")
        changed = f"file '{directory}/2' was changed"
        wait_for("the problem", lambda: terminal.last_drawn()[1].startswith(changed))
        os.remove(f"{directory}/2")
        put(directory, "4", b"a a a\n")
        wait_for("the fourth file", lambda: terminal.last_drawn()[1:] == ["a\t4", "b\t3"])
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    finally:
        terminal.end()


@pytest.mark.parametrize("source, expected, code", [
    ("directory:///no/such/place", "'/no/such/place' cannot be read: No such file or directory; correct --source", 1),
    ("directory:///etc/passwd", "Not a directory", 1), ("directory://in", "directory:///PATH", 2),
    ("socket://localhost", "the port is missing", 2), ("socket://localhost:99999", "no number from 0 to 65535", 2),
    ("socket://localhost:1/a", "socket://HOST:PORT", 2), ("http://a", "socket://HOST:PORT, directory:///PATH", 2),
])
def test_a_wrong_source_is_one_line(source, expected, code):
    done = run("--source", source, code=code)
    assert not done.stdout
    one_line(done.stderr.decode(), expected)


def test_a_socket_has_no_latest():
    one_line(run("--source", "socket://localhost:1", "--until", "latest", code=2).stderr.decode(), "until Ctrl-C")
