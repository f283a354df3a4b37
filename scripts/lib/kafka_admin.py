"""Topics of a Kafka broker, and waiting for it: kafka_admin.py HOST:PORT COMMAND. Used by scripts/kafka."""

import argparse
import logging
import os
import sys
import time

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import InvalidTopicError, KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

logging.disable(logging.CRITICAL)


def connect(server, seconds=10.0, pid=None):
    """Waits until the broker answers. Raises SystemExit if it does not, or if process `pid` ends before."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            admin = KafkaAdminClient(bootstrap_servers=server, request_timeout_ms=5000, api_version=(2, 5, 0))
            if admin.describe_cluster()["brokers"]:
                return admin
            admin.close()
        except (KafkaError, OSError, ValueError, AssertionError):
            pass
        if pid is not None and not os.path.exists(f"/proc/{pid}"):
            sys.exit(f"scripts/kafka: the broker on {server} ended while it was starting")
        if time.monotonic() > deadline:
            sys.exit(f"scripts/kafka: no broker answers on {server}; scripts/kafka start starts one")
        time.sleep(0.1)


def create(server, admin, name, partitions):
    try:
        admin.create_topics([NewTopic(name, partitions, 1)])
    except TopicAlreadyExistsError:
        sys.exit(f"scripts/kafka: the topic {name} exists")
    except InvalidTopicError:
        sys.exit(f"scripts/kafka: '{name}' is no name of a topic; take 1 to 249 of A-Z a-z 0-9 . _ -")
    # A leader that is named may still refuse for a moment: ask it for something.
    consumer = KafkaConsumer(bootstrap_servers=server, api_version=(2, 5, 0))
    wanted = [TopicPartition(name, partition) for partition in range(partitions)]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if len(consumer.partitions_for_topic(name) or ()) == partitions and len(consumer.end_offsets(wanted)) == partitions:
                return consumer.close(autocommit=False)
        except KafkaError:
            pass
        time.sleep(0.05)
    sys.exit(f"scripts/kafka: the topic {name} got no leader within 20 s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("command", choices=["wait", "create", "delete", "list"])
    parser.add_argument("arguments", nargs="*")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    admin = connect(options.server, options.seconds, options.pid)
    if options.command == "create":
        name, partitions = options.arguments
        if not partitions.isdigit() or int(partitions) < 1:
            sys.exit(f"scripts/kafka: {partitions} is no number of partitions")
        create(options.server, admin, name, int(partitions))
    elif options.command == "delete":
        try:
            admin.delete_topics(options.arguments)
        except UnknownTopicOrPartitionError:
            sys.exit(f"scripts/kafka: there is no topic {options.arguments[0]}")
    elif options.command == "list":
        for topic in sorted(name for name in admin.list_topics() if not name.startswith("__")):
            print(topic)


if __name__ == "__main__":
    main()
