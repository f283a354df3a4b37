"""Kafka and Redis that are not as a job needs them: one clear line at submit, or in `describe` later."""

import subprocess

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from processes import free_port, wait_for
from test_bad_input import jobs, one_line, shared_cluster, small, submit_arguments  # noqa: F401 (two are fixtures)
from test_word_count import append



def test_a_log_or_topic_that_does_not_exist_is_named(small, shared_kafka):
    one_line(small.cli(*submit_arguments("log://absent"), code=1).stderr, "absent")
    one_line(small.cli(*submit_arguments(shared_kafka.uri("absent")), code=1).stderr, "absent")
    assert not jobs(small)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_topic_is_refused_with_cause_place_and_remedy(small, shared_kafka, policy):
    topic = f"compacted-{len(policy)}"
    admin = KafkaAdminClient(bootstrap_servers=shared_kafka.address, api_version=(2, 5, 0))
    admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"cleanup.policy": policy})])
    admin.close()
    done = small.cli(*submit_arguments(shared_kafka.uri(topic)), code=2)  # at once: its leaders may not know it yet
    one_line(done.stderr, f"'{topic}' on {shared_kafka.address}", f"cleanup.policy={policy}", "--source")
    assert not jobs(small)


def test_topics_are_taken_right_after_they_were_made(small, shared_kafka):
    admin = KafkaAdminClient(bootstrap_servers=shared_kafka.address, api_version=(2, 5, 0))
    for round_number in range(3):
        topic = f"new-{round_number}"
        admin.create_topics([NewTopic(topic, 8, 1)])
        small.cli(*submit_arguments(shared_kafka.uri(topic), name=topic))
    admin.close()


def test_kafka_or_redis_that_cannot_be_reached_is_named_at_submit(small):
    port = free_port()
    append(small, "log://text", [b"a"])
    one_line(small.cli(*submit_arguments(f"kafka://127.0.0.1:{port}/t"), code=1).stderr, f"127.0.0.1:{port}")
    one_line(small.cli(*submit_arguments(sink=f"redis://127.0.0.1:{port}"), code=1).stderr, f"127.0.0.1:{port}")
    unknown = small.cli(*submit_arguments("kafka://no-such-host.invalid:9092/t"), code=1)
    one_line(unknown.stderr, "no-such-host.invalid", "host name", "--source")
    assert not jobs(small)


def test_a_wrong_password_is_refused_and_not_repeated(small, make_redis):
    redis = make_redis(password="right")
    append(small, "log://password", [b"a"])
    done = small.cli(*submit_arguments("log://password", sink=f"redis://:hunter22@127.0.0.1:{redis.port}"), code=2)
    one_line(done.stderr, "password")
    assert "hunter22" not in done.stderr
    small.cli(*submit_arguments("log://password", sink=f"redis://:right@127.0.0.1:{redis.port}"))
    wait_for("the count", lambda: redis.counts("wc") == {b"a": 1})
    for said in (small.cli("describe", "wc").stdout, small.cli("--json", "describe", "wc").stdout, small.logs()):
        assert ":right@" not in said
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
    assert ":right@" not in listed


def test_a_password_in_a_file_is_used_and_shown_nowhere(small, make_redis, directory):
    redis = make_redis(password="right-one-77")
    append(small, "log://secret", [b"a"])
    path = f"{directory}/sink.properties"

    def submit(text, code, uri=redis.uri):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return small.cli(*submit_arguments("log://secret", sink=uri), "--sink-config", path, code=code)

    one_line(submit("password=wrong-one-77\n", 2).stderr, "password", str(redis.port))
    one_line(submit("pasword=right-one-77\n", 2).stderr, "'pasword'", "--sink-config")
    one_line(submit("password=right-one-77\n", 2, f"redis://:right-one-77@127.0.0.1:{redis.port}").stderr, "both")
    one_line(submit("right-one-77\n", 2).stderr, f"{path}:1")
    submit("# of the sink\nusername=default\npassword=right-one-77\n", 0)
    wait_for("the count", lambda: redis.counts("wc") == {b"a": 1})
    listed = subprocess.run(["ps", "axwwe", "-o", "args"], capture_output=True, text=True).stdout
    shown = [small.cli(*command, "wc").stdout for command in (["describe"], ["--json", "describe"], ["kill", "--purge"])]
    for said in (*shown, small.logs(), "".join(line for line in listed.splitlines(True) if "redis-server" not in line)):
        assert "one-77" not in said
    assert not redis.client.keys()


def test_redis_that_is_away_later_is_said_by_describe(small, make_redis):
    redis = make_redis()
    append(small, "log://away", [b"a"])
    small.cli(*submit_arguments("log://away", sink=redis.uri))
    wait_for("the count", lambda: redis.counts("wc") == {b"a": 1})
    redis.process.kill()
    append(small, "log://away", [b"a"])
    wait_for("the problem", lambda: str(redis.port) in small.cli("describe", "wc").stdout + small.cli("jobs").stdout)
    redis.start()
    wait_for("the count", lambda: redis.counts("wc") == {b"a": 2})
    wait_for("no problem", lambda: not small.describe("wc").summary.problem)


def test_kafka_that_is_away_later_is_said_until_it_is_back(small, own_kafka):
    own_kafka.topic("quiet", 2)
    append(small, own_kafka.uri("quiet"), [b"a"])
    small.cli(*submit_arguments(own_kafka.uri("quiet")))
    small.wait_for_records("wc", 1)
    own_kafka.process.end()
    problem = wait_for("the problem", lambda: small.describe("wc").summary.problem, 30)
    one_line(problem, own_kafka.address)
    own_kafka.start()
    wait_for("no problem, without a new record", lambda: not small.describe("wc").summary.problem, 30)
    append(small, own_kafka.uri("quiet"), [b"a"])
    small.wait_for_records("wc", 2)
