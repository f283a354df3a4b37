"""Reads logs without any code of the engine: Kafka's record batches of version 2, from a broker or from segment files.

Every reader gives {partition: [(offset, value)]}, the offsets ascending."""

import glob
import os
import struct

CRC_TABLE = []
for _byte in range(256):
    _value = _byte
    for _ in range(8):
        _value = (_value >> 1) ^ (0x82F63B78 if _value & 1 else 0)
    CRC_TABLE.append(_value)

try:
    from crc32c import crc32c  # Debian's python3-crc32c: a hundred times faster
except ImportError:

    def crc32c(data):
        value = 0xFFFFFFFF
        for byte in data:
            value = CRC_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ 0xFFFFFFFF


HEADER = struct.Struct(">qiibIhiqqqhii")  # 61 bytes


def varint(data, position):
    value, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7


def parse_batches(data, begin=0, where="bytes"):
    """The records of whole batches from `begin` on; ends at an unfinished batch. AssertionError for a false checksum."""
    records = []
    position = begin
    while position + HEADER.size <= len(data):
        (base, length, _, magic, crc, attributes, _, _, _, _, _, _, count) = HEADER.unpack_from(data, position)
        end = position + 12 + length
        if length < HEADER.size - 12 or end > len(data):
            break
        assert magic == 2, f"{where} at {position}: record batch of version {magic}"
        assert attributes & 7 == 0, f"{where} at {position}: compressed"
        assert crc32c(bytes(data[position + 21 : end])) == crc, f"{where} at {position}: false checksum"
        if not attributes & 32:
            records += parse_records(data, position + HEADER.size, count, base)
        position = end
    return records


def parse_records(data, position, count, base):
    for _ in range(count):
        length, position = varint(data, position)
        following = position + length
        _, position = varint(data, position + 1)  # attributes, timestamp
        delta, position = varint(data, position)
        key_length, position = varint(data, position)
        position += max(key_length, 0)
        value_length, position = varint(data, position)
        value = None if value_length < 0 else bytes(data[position : position + value_length])
        yield base + delta, value
        position = following


def read_kafka(address, topic):
    """The whole topic, by python3-kafka."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=address, enable_auto_commit=False, api_version=(2, 5, 0), check_crcs=False,
        max_partition_fetch_bytes=8 << 20, fetch_max_bytes=64 << 20,
    )
    try:
        partitions = [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic) or ())]
        assert partitions, f"no topic {topic} on {address}"
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        log = {entry.partition: [] for entry in partitions}
        while any(consumer.position(entry) < ends[entry] for entry in partitions):
            for entry, records in consumer.poll(timeout_ms=1000).items():
                log[entry.partition] += [(record.offset, record.value) for record in records]
        return log
    finally:
        consumer.close(autocommit=False)


def read_embedded(directory, name):
    """The log `name` from its segment files, wherever below `directory` they are; see README, "The embedded log"."""
    log = {}
    for folder in sorted(glob.glob(f"{glob.escape(directory)}/**/{glob.escape(name)}/[0-9]*/", recursive=True)):
        segments = sorted(glob.glob(f"{glob.escape(folder)}*.segment"))
        bases = [int(os.path.basename(path).split(".")[0]) for path in segments] + [1 << 63]
        records = log.setdefault(int(os.path.basename(folder.rstrip("/"))), [])
        for path, next_base in zip(segments, bases[1:]):
            with open(path, "rb") as file:
                parsed = parse_batches(file.read(), where=path)
            # What was written beyond the last durable record of a segment was never announced.
            records += [record for record in parsed if record[0] < next_base]
    assert log, f"no embedded log {name} below {directory}"
    return log
