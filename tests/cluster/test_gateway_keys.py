"""Idempotency keys of a Kafka topic, by gateways that are killed."""

import pytest

from http_gateway import Gateway
from processes import wait_for
from test_gateway import count, wait_for_count, wait_until_all_is_counted
from test_simulate_users import Simulation


@pytest.fixture
def topic(shared_kafka, request):
    name = request.node.name.replace("_", "-")
    shared_kafka.topic(f"{name}.keys", 2)
    return shared_kafka.topic(name, 4)


def gateways_of(cluster, uri, number):
    return [Gateway(cluster, f"gateway-{i}", flags=[f"--logs=text={uri}"]).start() for i in range(number)]


def answered(gateway, text, key):
    """The answer, asked for again as long as nothing is stored."""
    answers = []

    def ask():
        status, answer = gateway.submit(text, key=key)
        if status != 503:
            answers.append((status, answer))
        return status != 503

    wait_for("an answer", ask, 30)
    status, answer = answers[0]
    assert status == 200, answer
    return answer


def test_a_retry_is_stored_once_by_whichever_gateway_it_comes(cluster, shared_kafka, topic):
    one, two = gateways_of(cluster, shared_kafka.uri(topic), 2)
    first = answered(one, "hello", "once")
    assert answered(one, "hello", "once") == first
    assert answered(two, "hello", "once") == first
    two.process.kill()
    two.start()
    assert answered(two, "hello", "once") == first
    assert answered(one, "hello", "another") != first
    cluster.submit("word_count", "words", shared_kafka.uri(topic), "none:")
    wait_for_count(cluster, "hello", 2)
    wait_until_all_is_counted(cluster)
    assert count(cluster, "hello") == 2


def test_counts_are_exact_while_gateways_are_killed(cluster, shared_kafka, topic):
    gateways = gateways_of(cluster, shared_kafka.uri(topic), 2)
    cluster.submit("word_count", "words", shared_kafka.uri(topic), "none:")
    simulation = Simulation(gateways, "--users", "30", "--rate", "4/s", "--duration", "8s")
    simulation.wait_for(150)
    for gateway in gateways:
        gateway.process.kill()
        seen = simulation.accepted()
        simulation.wait_for(seen + 100)
        gateway.start()
    total = simulation.end()
    assert total["exact"] and total["idempotency_keys"], total
    assert total["accepted"] == total["sent"] and total["unknown"] == total["given_up"] == 0, total
    assert total["errors"] > 0, "no gateway was killed while users sent"
