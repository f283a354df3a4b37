"""What somebody meets who uses the product for the first time, or whose disk or topic is not what it was."""

import os
import re
import stat
import subprocess

import pytest
from kafka.admin import KafkaAdminClient

from harness import BIN, Cluster
from processes import wait_for
from terminal import Terminal
from test_bad_input import jobs, one_line, run, shared_cluster, small, submit_arguments  # noqa: F401 (two are fixtures)
from test_word_count import append


def test_a_submit_may_come_before_the_master_does(directory):
    cluster = Cluster(directory, workers=1)
    submit = subprocess.Popen([f"{BIN}/millrace", f"--api={cluster.api_port}", "--wait=30s", "jobs"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        assert "waiting up to 30 s" in submit.stderr.readline()
        cluster.start()
        said, _ = submit.communicate(timeout=30)
        assert submit.returncode == 0 and said.startswith("NAME")
    finally:
        submit.kill()
        cluster.end()


def test_a_submit_is_answered_with_what_became_of_it(small, directory):
    append(small, "log://first", [b"a"])
    assert re.fullmatch(r"job wc submitted: running at batch \d\n", small.cli(*submit_arguments("log://first")).stdout)
    small.wait_for_records("wc", 1)
    small.cli("stop", "wc")
    batch = small.batch("wc")
    said = small.cli("resume", "wc").stdout
    resumed = re.fullmatch(r"job wc resumed: running at batch (\d+)\n", said)
    assert resumed and int(resumed[1]) >= batch > 0, said
    without_workers = Cluster(directory, workers=0)
    try:
        without_workers.start()
        append(without_workers, "log://first", [b"a"])
        assert "no worker is there; start millrace-worker" in without_workers.cli(*submit_arguments("log://first")).stdout
    finally:
        without_workers.end()


@pytest.mark.parametrize("option, value, expected", [
    ("--sink", "foo", "redis://HOST[:PORT][/DB] or none:"), ("--sink", "kafka://a:1/t", "redis://HOST[:PORT][/DB] or none:"),
    ("--source", "lines", "kafka://HOST:PORT/TOPIC or log://NAME"), ("--source", "redis://a", "kafka://HOST:PORT/TOPIC or log://NAME"),
])
def test_the_hint_of_a_bad_uri_is_for_its_role(option, value, expected):
    given = {"--sink": "none:", "--source": "log://a", option: value}
    done = run(f"{BIN}/millrace", "submit", "word_count", "--name", "wc", *(word for pair in given.items() for word in pair))
    assert done.returncode == 2
    assert f"expected {expected};" in one_line(done.stderr, option)


@pytest.mark.parametrize("reader, problem", [
    ("direct", ["was deleted and made anew"]),
    # It tells no topic id: the master sees too low an end, or a worker finds no such offset, whichever comes first.
    ("librdkafka", ["partition 0", "offset", "2", "restore the log"]),
])
def test_a_topic_that_was_made_anew_while_the_job_was_stopped_is_noticed(small, shared_kafka, directory, reader, problem):
    config = f"{directory}/kafka.properties"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"millrace.reader={reader}\n")
    topic = f"anew-{reader}"
    admin = KafkaAdminClient(bootstrap_servers=shared_kafka.address, api_version=(2, 5, 0))
    shared_kafka.topic(topic, 1)
    append(small, shared_kafka.uri(topic), [b"a", b"b"])
    small.cli(*submit_arguments(shared_kafka.uri(topic)), "--kafka-config", config)
    small.wait_for_records("wc", 2)
    small.cli("stop", "wc")
    admin.delete_topics([topic])
    wait_for("the topic to be gone", lambda: topic not in admin.list_topics())
    shared_kafka.topic(topic, 1)
    admin.close()
    append(small, shared_kafka.uri(topic), [b"c"])
    for _ in range(2):
        one_line(small.cli("resume", "wc", code=1).stderr, *problem, "submit it again")
        assert small.describe("wc").summary.state == "failed" and small.describe("wc").summary.records == 2


def test_lag_gives_what_is_applied_though_kafka_is_away(small, own_kafka):
    own_kafka.topic("lagging", 1)
    append(small, own_kafka.uri("lagging"), [b"a", b"b"])
    small.cli(*submit_arguments(own_kafka.uri("lagging")))
    small.cli("lag", "wc", "--until-zero", "30s")
    assert small.cli("get", "wc", "b").stdout == "b\t1\n"
    own_kafka.process.end()
    done = small.cli("lag", "wc", code=1)
    assert re.search(r"^ +0 +2 +2 +0$", done.stdout, re.MULTILINE), done.stdout
    one_line(done.stderr, "last known", own_kafka.address)


def test_the_metadata_which_holds_passwords_is_for_the_master_only(directory):
    metadata = f"{directory}/master/metadata"
    os.makedirs(metadata, mode=0o755)
    cluster = Cluster(directory, workers=0)
    try:
        cluster.start()
        assert stat.S_IMODE(os.stat(metadata).st_mode) == 0o700
    finally:
        cluster.end()


def test_a_full_disk_at_the_start_of_a_master_is_said_with_the_way_out(directory):
    disk = f"{directory}/disk"
    os.makedirs(disk)
    if run("mount", "-t", "tmpfs", "-o", "size=1m", "none", disk).returncode != 0:
        pytest.skip("needs root to mount a tmpfs")
    try:
        os.makedirs(f"{disk}/m/metadata")
        with open(f"{disk}/m/LOCK", "w", encoding="ascii"), open(f"{disk}/ballast", "wb", buffering=0) as ballast:
            with pytest.raises(OSError):
                while True:
                    ballast.write(b"x" * 4096)
        done = run(f"{BIN}/millrace-master", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--http=127.0.0.1:0",
                   f"--data_dir={disk}/m", f"--checkpoints=file://{directory}/c")
        assert done.returncode == 1
        one_line(done.stderr.splitlines()[-1], "is full; free some space and start the master again")
    finally:
        run("umount", "-l", disk)


def test_a_checkpoint_store_that_cannot_be_made_is_named_by_its_flag(directory):
    done = run(f"{BIN}/millrace-master", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--http=127.0.0.1:0",
               f"--data_dir={directory}/m", "--checkpoints=file:///proc/x")
    assert done.returncode == 1
    one_line(done.stderr.splitlines()[-1], "--checkpoints=file:///proc/x cannot be used: /proc/x", "does not exist")


def test_watch_fits_the_window_and_follows_it(small):
    append(small, "log://watched", [b"word%d " % n * (100 - n) for n in range(50)])
    small.cli(*submit_arguments("log://watched"))
    small.wait_for_records("wc", 50)
    terminal = Terminal([f"{BIN}/millrace", f"--api={small.api_port}", "watch", "wc", "-n", "100"], rows=10)
    try:
        for rows in (10, 6, 20):
            terminal.resize(rows)
            drawn = wait_for(f"{rows - 1} lines", lambda: len(terminal.last_drawn()) == rows - 1 and terminal.last_drawn())
            assert drawn[0].startswith("batch ") and drawn[1].split() == ["word0", "100"], drawn
    finally:
        terminal.end()
