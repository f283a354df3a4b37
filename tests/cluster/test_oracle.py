"""The oracle is tested too: each planted bug must be seen. No process is started here."""

import struct

import oracle
import record_log

LOG = {
    0: [(offset, f"the {offset % 7} word of {offset % 3}".encode()) for offset in range(50)],
    1: [(offset, f"the other {offset % 5}".encode()) for offset in range(40)] + [(40, b"bad \xff"), (41, None), (42, b"")],
}


def without(log, partition, offset):
    return {p: [entry for entry in records if (p, entry[0]) != (partition, offset)] for p, records in log.items()}


def twice(log, partition, offset):
    return {
        p: [again for entry in records for again in ([entry, entry] if (p, entry[0]) == (partition, offset) else [entry])]
        for p, records in log.items()
    }


def test_the_rule_of_words_and_dead_letters():
    log = {0: [(0, b" a\tb\x0bc\x0cd\re\n\xc2\xa0 a\x00b "), (1, b"\xc0\x80"), (2, b"x" * 11), (3, "\ud800".encode("utf-8", "surrogatepass"))]}
    truth = oracle.fold(log, max_record_bytes=30)
    assert truth.counts == {b"a": 1, b"b": 1, b"c": 1, b"d": 1, b"e": 1, b"\xc2\xa0": 1, b"a\x00b": 1, b"x" * 11: 1}
    assert set(truth.dead_letters) == {(0, 1), (0, 3)}
    assert set(oracle.fold(log, max_record_bytes=10).dead_letters) == {(0, 0), (0, 1), (0, 2), (0, 3)}


def test_dead_letters_and_empty_records_are_counted_as_records():
    truth = oracle.fold(LOG)
    assert truth.records == 93 and list(truth.dead_letters) == [(1, 40)] and truth.offsets == [50, 43]


def test_a_lost_record_is_seen():
    assert oracle.differences(oracle.fold(LOG).counts, oracle.fold(without(LOG, 0, 17)).counts)


def test_a_doubled_record_is_seen():
    assert oracle.differences(oracle.fold(LOG).counts, oracle.fold(twice(LOG, 1, 3)).counts)


def test_one_lost_and_one_doubled_record_of_the_same_words_cannot_cancel():
    altered = twice(without(LOG, 0, 0), 0, 21)  # the records 0 and 21 are equal
    truth, found = oracle.fold(LOG, with_sums=True), oracle.fold(altered, with_sums=True)
    assert truth.counts == found.counts
    assert oracle.differences(truth.sums, found.sums)


def test_a_missing_and_an_additional_word_are_seen():
    counts = dict(oracle.fold(LOG).counts)
    lost = counts.pop(b"other")
    assert oracle.differences(oracle.fold(LOG).counts, counts) == [f"b'other': expected {lost}, found None"]
    assert oracle.differences(counts, {**counts, b"new": 1}) == ["b'new': expected None, found 1"]


def test_an_earlier_batch_after_a_later_one_is_seen():
    view = oracle.NeverBack()
    view.see("job", 1, 5, {b"the": 10})
    view.see("job", 1, 4, {b"the": 10})
    assert view.faults


def test_a_count_that_falls_is_seen():
    view = oracle.NeverBack()
    view.see("job", 1, 5, {b"the": 10})
    view.see("job", 1, 6, {b"the": 9})
    assert view.faults


def test_two_values_for_the_same_batch_are_seen():
    view = oracle.NeverBack()
    view.see("job", 1, 5, {b"the": 10})
    view.see("job", 1, 5, {b"the": 11})
    assert view.faults


def test_a_new_incarnation_and_another_job_may_begin_again():
    view = oracle.NeverBack()
    view.see("job", 1, 5, {b"the": 10})
    view.see("job", 2, 1, {b"the": 1})
    view.see("other", 1, 1, {b"the": 0})
    assert not view.faults


def test_gaps_and_overlaps_of_ranges_are_seen():
    assert not oracle.tiling_faults([(1, {0: (0, 5)}), (2, {1: (0, 2)}), (3, {0: (5, 9), 1: (2, 3)})])
    assert oracle.tiling_faults([(1, {0: (0, 5)}), (2, {0: (6, 9)})])
    assert oracle.tiling_faults([(1, {0: (0, 5)}), (2, {0: (4, 9)})])


def test_the_place_hash_is_the_documented_one():
    assert oracle.place_hash(0, 0, 0) == 0
    assert oracle.place_hash(1, 0, 0) == 0xE220A8397B1DCDAF  # splitmix64's first number for the seed 0


def record(delta, value):
    def varint(number):
        number = (number << 1) ^ (number >> 63)
        out = b""
        while number > 0x7F:
            out += bytes([number & 0x7F | 0x80])
            number >>= 7
        return out + bytes([number])

    body = b"\x00" + varint(0) + varint(delta) + varint(-1) + (varint(-1) if value is None else varint(len(value)) + value) + varint(0)
    return varint(len(body)) + body


def batch(base, values):
    body = b"".join(record(delta, value) for delta, value in enumerate(values))
    tail = struct.pack(">hiqqqhii", 0, len(values) - 1, 1, 1, -1, -1, -1, len(values)) + body
    return struct.pack(">qiibI", base, 9 + len(tail), 0, 2, record_log.crc32c(tail)) + tail


def test_record_batches_are_read():
    data = batch(7, [b"one", None, b"x" * 300]) + batch(10, [b""])
    assert record_log.parse_batches(data) == [(7, b"one"), (8, None), (9, b"x" * 300), (10, b"")]
    assert record_log.parse_batches(data[:-1]) == [(7, b"one"), (8, None), (9, b"x" * 300)]


def test_a_flipped_bit_in_a_record_batch_is_seen():
    data = bytearray(batch(0, [b"the words"]))
    data[-3] ^= 1
    try:
        record_log.parse_batches(data)
    except AssertionError as error:
        assert "checksum" in str(error)
    else:
        raise AssertionError("a false checksum was taken")


def test_the_checksum_is_crc32c():
    assert record_log.crc32c(b"123456789") == 0xE3069283
