"""What people do wrong: one clear line with cause, place and remedy, the right exit code, nothing half done."""

import os
import resource
import signal
import socket
import subprocess

import pytest

from harness import BIN, Cluster, prose
from other_version import OtherVersion
from processes import Process, free_port, wait_for
from test_word_count import append

PROGRAMS = ["millrace-master", "millrace-worker", "millrace"]


def one_line(text, *words):
    """`text` is one line for people and holds all `words`."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    assert len(lines) == 1, text
    for word in words:
        assert word.lower() in lines[0].lower(), f"{word!r} is not in {lines[0]!r}"
    print(lines[0])
    return lines[0]


def run(*command, seconds=30, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds, **more)


def submit_arguments(source="log://text", sink="none:", name="wc"):
    return ["submit", "word_count", "--name", name, "--source", source, "--sink", sink]


# --- programs ---


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_tells_its_version(program):
    done = run(f"{BIN}/{program}", "--version")
    assert done.returncode == 0 and "0.1.0" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_flag_is_named(program):
    done = run(f"{BIN}/{program}", "--colour=red")
    assert done.returncode == 2
    one_line(done.stderr, "colour")


@pytest.mark.parametrize("program", ["millrace-master", "millrace-worker"])
def test_a_config_file_that_cannot_be_read_is_named(program, directory):
    done = run(f"{BIN}/{program}", f"--flagfile={directory}/absent.flags")
    assert done.returncode in (1, 2)
    one_line(done.stderr, "absent.flags")


@pytest.mark.parametrize("flag", ["--lanes=-1", "--lanes=many", "--master=nowhere", "--listen=127.0.0.1:99999", "--http=here"])
def test_a_bad_value_of_a_worker_flag_is_named(flag, directory):
    done = run(f"{BIN}/millrace-worker", "--master=127.0.0.1:1", f"--data_dir={directory}/w", flag)
    assert done.returncode == 2
    one_line(done.stderr, flag[2:].split("=")[0])


@pytest.mark.parametrize("flag", ["--listen", "--api", "--http"])
def test_a_bad_or_taken_address_of_a_master_is_named_and_nothing_is_begun(flag, directory):
    values = {"--listen": "127.0.0.1:0", "--api": "127.0.0.1:0", "--http": "127.0.0.1:0", "--data_dir": f"{directory}/m"}

    def master(address):
        return run(f"{BIN}/millrace-master", *(f"{key}={value}" for key, value in {**values, flag: address}.items()))

    done = master("nowhere")
    assert done.returncode == 2
    one_line(done.stderr, flag, "nowhere")
    assert not os.path.exists(f"{directory}/m")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        done = master(address)
    assert done.returncode == 1
    one_line(done.stderr, flag, address)


@pytest.mark.parametrize("flag", ["--listen", "--http"])
def test_a_taken_address_of_a_worker_is_named(flag):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        done = run(f"{BIN}/millrace-worker", "--master=127.0.0.1:1", f"{flag}={address}")
    assert done.returncode == 1
    one_line(done.stderr, flag, address)


def test_a_master_without_a_data_directory_is_told_to_take_one():
    done = run(f"{BIN}/millrace-master")
    assert done.returncode == 2
    one_line(done.stderr, "--data_dir")


def test_a_data_directory_of_a_worker_that_is_a_file_is_named(directory):
    with open(f"{directory}/file", "w", encoding="ascii"):
        pass
    done = run(f"{BIN}/millrace-worker", "--master=127.0.0.1:1", f"--data_dir={directory}/file")
    assert done.returncode == 1
    one_line(done.stderr, f"{directory}/file")


def test_a_worker_without_a_master_waits_says_so_and_ends_when_told(directory):
    address = f"127.0.0.1:{free_port()}"
    worker = Process("worker", [f"{BIN}/millrace-worker", f"--master={address}"], directory).start()
    try:
        wait_for("a word", lambda: f"no master answers at {address}" in worker.tail())
        assert worker.stop(10) == 0
    finally:
        worker.end()


def test_a_worker_that_is_refused_for_its_version_ends_and_says_why(directory):
    with OtherVersion() as master:
        worker = Process("worker", [f"{BIN}/millrace-worker", f"--master={master.address}"], directory).start()
        try:
            master.refuse(master.receive(), "protocol version 1 is not 99; use the same version of Millrace everywhere")
            assert worker.popen.wait(20) == 1
            one_line(last_line(worker.tail()), master.address, "protocol version", "same version")
        finally:
            worker.end()


# --- the command line ---


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], [], ["submit"], ["submit", "word_count", "--nmae", "x"], ["get"], ["top", "wc", "-n", "many"]],
)
def test_wrong_usage_ends_with_2_and_says_how_to_go_on(arguments):
    done = run(f"{BIN}/millrace", *arguments)
    assert done.returncode == 2, done.stderr
    assert "--help" in done.stderr + done.stdout


@pytest.mark.parametrize("command", [[], ["submit"], ["get"], ["top"], ["append"], ["kill"], ["watch"], ["lag"], ["dead-letters"]])
def test_help_has_examples(command):
    done = run(f"{BIN}/millrace", *command, "--help")
    assert done.returncode == 0 and "example" in done.stdout.lower()


def test_no_master_is_said_with_its_address():
    port = free_port()
    done = run(f"{BIN}/millrace", f"--api=127.0.0.1:{port}", "--wait=300ms", "jobs")
    assert done.returncode == 1
    one_line(done.stderr, f"127.0.0.1:{port}")


# --- with a cluster ---


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("small"), workers=1)
    try:
        yield cluster.start()
    finally:
        cluster.end()


@pytest.fixture
def small(shared_cluster):
    """A master and one worker that the tests of this file share; each leaves it without jobs."""
    yield shared_cluster
    for job in jobs(shared_cluster):
        shared_cluster.cli("kill", job.name, code=None)


@pytest.mark.parametrize(
    "source", ["text", "kafka://", "kafka://host", "kafka://host:port/topic", "ftp://host/file", "log://", "log://a/b", "log://../x"]
)
def test_a_malformed_source_is_refused(small, source):
    one_line(small.cli(*submit_arguments(source), code=2).stderr)
    assert not jobs(small)


@pytest.mark.parametrize("sink", ["redis://", "redis://host:port", "mysql://x/y", "redis://127.0.0.1:1/x"])
def test_a_malformed_sink_is_refused(small, sink):
    append(small, "log://text", [b"a"])
    one_line(small.cli(*submit_arguments(sink=sink), code=2).stderr)
    assert not jobs(small)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../x", "{x}", "ü", "x" * 65, ".hidden"])
def test_a_job_name_with_odd_characters_is_refused(small, name):
    one_line(small.cli(*submit_arguments(name=name), code=2).stderr, "name")
    assert not jobs(small)


def test_an_unknown_job_type_names_those_there_are(small):
    append(small, "log://text", [b"a"])
    done = small.cli("submit", "word_cuont", "--name", "wc", "--source", "log://text", "--sink", "none:", code=2)
    one_line(done.stderr, "word_cuont", "word_count")


def test_an_unknown_setting_is_named(small):
    append(small, "log://text", [b"a"])
    one_line(small.cli(*submit_arguments(), "--set", "filed=text", code=2).stderr, "filed", "field")


@pytest.mark.parametrize("command", ["get", "describe", "stop", "resume", "kill", "top", "lag", "dead-letters"])
def test_a_job_that_does_not_exist_is_named(small, command):
    done = small.cli(command, "ghost", *(["word"] if command == "get" else []), code=1)
    one_line(done.stderr, "ghost")


def test_a_name_in_use_is_refused(small):
    append(small, "log://text", [b"a"])
    small.cli(*submit_arguments())
    one_line(small.cli(*submit_arguments(), code=1).stderr, "wc")


def test_a_process_of_another_version_is_refused_and_the_master_says_so(small):
    with OtherVersion() as worker:
        worker.say_hello(small.listen)
        refused = worker.receive().body.refused
        one_line(refused.reason, "protocol version 99", "same version")
        wait_for("a word", lambda: "protocol version 99" in small.master.tail())
    assert small.ready_workers()


def test_a_path_of_an_embedded_log_is_refused_even_if_the_log_is_there(small):
    append(small, "log://text", [b"a"])
    one_line(small.cli(*submit_arguments("log://text/more"), code=2).stderr, "log://NAME")


def test_what_a_job_is_not_ready_for_is_refused(small):
    append(small, "log://text", [b"a"])
    small.cli(*submit_arguments())
    small.wait_for_records("wc", 1)
    one_line(small.cli("resume", "wc", code=1).stderr, "running already")
    for wrong in (["top", "wc", "-n", "0"], ["top", "wc", "-n", "5000"], ["get", "wc"]):
        one_line(small.cli(*wrong, code=2).stderr, "--help")
    absent = small.cli("get", "wc", "nothing")
    assert (absent.stdout, absent.stderr) == ("nothing\t-\n", "millrace: shown as -, since there is no such key: 1 of 1\n")
    small.cli("stop", "wc")
    one_line(small.cli("stop", "wc", code=1).stderr, "stopped already", "resume")
    one_line(small.cli("get", "wc", "a", code=1).stderr, "resume")


@pytest.mark.parametrize("uri", ["log://a b", "log://../x", "ftp://x", "kafka://127.0.0.1:1"])
def test_appending_to_what_is_no_log_is_refused(small, uri):
    done = small.cli("append", uri, stdin="a\n", code=2)
    one_line(done.stderr, "--help")


def test_a_port_in_use_is_named(small, directory):
    done = run(
        f"{BIN}/millrace-master", f"--listen={small.listen}", "--api=127.0.0.1:0", "--http=127.0.0.1:0",
        f"--data_dir={directory}/other", f"--checkpoints=file://{directory}/c",
    )
    assert done.returncode == 1
    one_line(last_line(done.stderr), small.listen, "use")


def test_a_data_directory_in_use_is_named(small):
    done = run(
        f"{BIN}/millrace-master", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--http=127.0.0.1:0",
        f"--data_dir={small.directory}/master", f"--checkpoints=file://{small.directory}/checkpoints",
    )
    assert done.returncode == 1
    one_line(last_line(done.stderr), f"{small.directory}/master", "use")
    assert small.ready_workers()


def test_a_data_directory_that_cannot_be_written_is_named(directory):
    with open(f"{directory}/file", "w", encoding="ascii"):
        pass
    done = run(f"{BIN}/millrace-master", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--http=127.0.0.1:0",
               f"--data_dir={directory}/file", f"--checkpoints=file://{directory}/c")
    assert done.returncode == 1
    one_line(last_line(done.stderr), f"{directory}/file")


def test_too_few_descriptors_are_said(directory):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    done = run(f"{BIN}/millrace-master", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--http=127.0.0.1:0",
               f"--data_dir={directory}/m", f"--checkpoints=file://{directory}/c", preexec_fn=few)
    assert done.returncode == 1
    assert "open files" in done.stderr.lower() and "ulimit" in done.stderr.lower(), done.stderr


def test_a_worker_that_sees_another_checkpoint_store_is_refused_by_name(directory):
    """The worker runs in a mount namespace of its own, in which the checkpoints' directory is an empty one."""
    cluster = Cluster(directory, workers=1)
    hidden = f"{directory}/checkpoints"
    os.makedirs(hidden, exist_ok=True)
    if run("unshare", "-m", "mount", "-t", "tmpfs", "none", hidden).returncode != 0:
        pytest.skip("needs root for a mount namespace")
    command = cluster.workers[0].command
    cluster.workers[0].command = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh", *command]
    try:
        cluster.start()
        append(cluster, "log://text", [b"a"])
        cluster.cli(*submit_arguments(), code=None, seconds=40)
        wait_for("the refusal", lambda: "checkpoint" in said_by(cluster) and "shared" in said_by(cluster), 30)

        def problem():
            with cluster.api() as connection:
                return connection.control.workers()[0].problem or ""

        wait_for("the worker's problem", lambda: "does not see the checkpoint store" in problem(), 30)
        wait_for("its cause", lambda: f"not mounted at {hidden}" in problem(), 30)
        assert os.listdir(f"/proc/{cluster.workers[0].pid}/root{hidden}") == []
    finally:
        cluster.end()


def test_a_master_whose_checkpoint_store_is_away_refuses_to_start_and_goes_on_when_it_is_back(directory):
    cluster = Cluster(directory, workers=1)
    store = f"{directory}/checkpoints"
    try:
        cluster.start()
        append(cluster, "log://text", [b"a"])
        cluster.cli(*submit_arguments(), "--checkpoint-interval", "200ms")
        wait_for("a checkpoint", lambda: cluster.describe("wc").checkpoint_batch > 0)
        assert cluster.master.stop(10) == 0
        os.rename(store, f"{directory}/away")
        os.mkdir(store)  # the mount point
        done = run(*cluster.master.command)
        assert done.returncode == 1
        one_line(last_line(done.stderr), f"--checkpoints=file://{store} cannot be used", f"mount it at {store}")
        assert os.listdir(store) == []
        os.rmdir(store)
        os.rename(f"{directory}/away", store)
        cluster.master.start()
        cluster.wait_until_up(1)
        append(cluster, "log://text", [b"a"])
        wait_for("the count", lambda: cluster.cli("get", "wc", "a", code=None).stdout == "a\t2\n", 30)
        assert not cluster.describe("wc").summary.problem
    finally:
        cluster.end()


def test_a_full_disk_stops_nothing_for_ever(directory):
    """Checkpoints and the batch log are on a small tmpfs that fills up and is emptied again."""
    small_disk = f"{directory}/disk"
    os.makedirs(small_disk)
    if run("mount", "-t", "tmpfs", "-o", "size=24m", "none", small_disk).returncode != 0:
        pytest.skip("needs root to mount a tmpfs")
    cluster = Cluster(directory, workers=1)
    cluster.master.command[-1] = f"--checkpoints=file://{small_disk}/checkpoints"
    try:
        cluster.start()
        append(cluster, "log://text", [b"before"])
        cluster.cli(*submit_arguments(), "--checkpoint-interval", "200ms")
        wait_for("a checkpoint", lambda: cluster.describe("wc").checkpoint_batch > 0)
        with open(f"{small_disk}/ballast", "wb") as ballast:
            try:
                while True:
                    ballast.write(b"x" * 65536)
                    ballast.flush()
            except OSError:
                pass
        lines = [b"word%d" % n for n in range(20_000)]
        append(cluster, "log://text", lines)
        wait_for("the problem", lambda: "space" in said_by(cluster).lower(), 30)
        os.unlink(f"{small_disk}/ballast")
        append(cluster, "log://text", [b"after"])
        wait_for("the count", lambda: cluster.cli("get", "wc", "after", code=None).stdout == "after\t1\n", 30)
        newest = cluster.batch("wc")
        wait_for("a checkpoint after it", lambda: cluster.describe("wc").checkpoint_batch >= newest, 30)
        wait_for("no problem", lambda: not cluster.describe("wc").summary.problem, 30)
    finally:
        cluster.end()
        run("umount", "-l", small_disk)


def test_a_full_disk_of_the_master_refuses_appends_and_loses_nothing(directory):
    small_disk = f"{directory}/disk"
    os.makedirs(small_disk)
    if run("mount", "-t", "tmpfs", "-o", "size=24m", "none", small_disk).returncode != 0:
        pytest.skip("needs root to mount a tmpfs")
    cluster = Cluster(directory, workers=1)
    cluster.master.command[-2] = f"--data_dir={small_disk}/master"
    try:
        cluster.start()
        append(cluster, "log://text", [b"before"])
        cluster.cli(*submit_arguments())
        cluster.wait_for_records("wc", 1)
        with open(f"{small_disk}/ballast", "wb", buffering=0) as ballast:
            with pytest.raises(OSError):
                while True:
                    ballast.write(b"x" * 4096)
        lines = "".join(f"word{n}\n" for n in range(20_000))
        done = cluster.cli("append", "log://text", "--retry-for", "1s", stdin=lines, code=1)
        one_line(done.stderr, "No space left", "free some space")
        os.unlink(f"{small_disk}/ballast")
        stored = int(done.stderr.split(" records were made durable")[0].split()[-1])
        append(cluster, "log://text", [b"after"])
        cluster.wait_for_records("wc", stored + 2)
        wait_for("no problem", lambda: not cluster.describe("wc").summary.problem, 30)
        assert cluster.cli("get", "wc", "before", "after").stdout == "before\t1\nafter\t1\n"
        assert cluster.describe("wc").summary.records == stored + 2
    finally:
        cluster.end()
        run("umount", "-l", small_disk)


def test_ctrl_c_of_a_worker_leaves_no_process_behind(directory):
    cluster = Cluster(directory, workers=1)
    try:
        cluster.start()
        append(cluster, "log://text", [b"a"])
        cluster.cli(*submit_arguments())
        cluster.wait_for_records("wc", 1)
        children = run("pgrep", "-P", cluster.workers[0].pid).stdout.split()
        assert children
        os.killpg(cluster.workers[0].pid, signal.SIGINT)
        assert cluster.workers[0].popen.wait(20) == 0
        wait_for("their end", lambda: not any(os.path.exists(f"/proc/{child}") for child in children))
        wait_for("the problem", lambda: "worker" in cluster.describe("wc").summary.problem)
    finally:
        cluster.end()


def test_a_port_scan_and_garbage_harm_nobody(small):
    append(small, "log://scan", [b"a"] * 10)
    small.cli(*submit_arguments("log://scan"))
    for address in (small.listen, small.api_port, small.http):
        host, port = address.split(":")
        for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x7f\xff\xff\xff" * 64, b"\x80\x01\x00\x01\x7f\xff\xff\xff"):
            with socket.create_connection((host, int(port)), timeout=5) as scan:
                scan.sendall(garbage)
    wait_for("the count", lambda: small.cli("get", "wc", "a").stdout == "a\t10\n")
    assert small.master.running() and all(worker.running() for worker in small.workers)


def last_line(text):
    return text.strip().splitlines()[-1] if text.strip() else ""


def said_by(cluster):
    texts = [cluster.cli(*command, code=None).stdout for command in (["describe", "wc"], ["jobs"], ["workers"])]
    return "".join(texts) + cluster.logs()


def jobs(cluster):
    with cluster.api() as connection:
        return connection.control.jobs()


def test_a_watcher_sees_batches_being_applied(small):
    append(small, "log://watched", [b"a b", b"b"])
    small.cli(*submit_arguments("log://watched", name="watched"))
    wait_for("the count", lambda: small.cli("get", "watched", "b").stdout == "b\t2\n")
    watch = Process("watch", [f"{BIN}/millrace", f"--api={small.api_port}", "watch", "watched", "-n", "2"], small.directory)
    watch.start()
    try:
        wait_for("a drawn list", lambda: "b\t2" in watch.tail())
        append(small, "log://watched", [next(prose()), b"b b b b"])
        wait_for("a redrawn list", lambda: "b\t6" in watch.tail())
        assert watch.stop() in (0, 143, -15)
    finally:
        watch.end()
