"""The oracle: what the counts must be, from the log alone, with its own reading and its own splitting.

A record is a text of UTF-8; words are separated by ASCII white space (bytes.split()). A record that is no valid UTF-8,
or is longer than the limit, is a dead letter. Two values a word: the count, and the sum modulo 2^64 of a hash of
(partition, offset, position), so that one loss and one double cannot cancel."""

import collections
import dataclasses

MASK = (1 << 64) - 1


def place_hash(partition, offset, position):
    z = (partition * 0x9E3779B97F4A7C15 + offset * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def is_text(value):
    try:
        value.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


@dataclasses.dataclass
class Truth:
    counts: collections.Counter
    sums: dict  # word -> sum modulo 2^64; empty unless asked for
    records: int
    words: int
    dead_letters: dict  # (partition, offset) -> reason in our words
    offsets: list  # by partition: the next offset

    def top(self, n=1000):
        return sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:n]


def fold(log, until=None, with_sums=False, max_record_bytes=1 << 20):
    """The truth about `log`, {partition: [(offset, value)]}, up to the offsets `until` ({partition: next offset})."""
    truth = Truth(collections.Counter(), {}, 0, 0, {}, [])
    sums = collections.defaultdict(int)
    for partition in sorted(log):
        end = 0
        limit = None if until is None else until.get(partition, 0)
        for offset, value in log[partition]:
            if limit is not None and offset >= limit:
                break
            end = offset + 1
            truth.records += 1
            if value is None:
                value = b""
            if len(value) > max_record_bytes:
                truth.dead_letters[partition, offset] = "too long"
            elif not value.isascii() and not is_text(value):
                truth.dead_letters[partition, offset] = "no UTF-8"
            else:
                words = value.split()
                truth.words += len(words)
                truth.counts.update(words)
                if with_sums:
                    for position, word in enumerate(words):
                        sums[word] += place_hash(partition, offset, position)
        truth.offsets.append(end)
    truth.sums = {word: total & MASK for word, total in sums.items()}
    return truth


def differences(expected, found, limit=5):
    """The words whose values differ, as text for people; empty when all are equal."""
    wrong = [word for word in expected.keys() | found.keys() if expected.get(word) != found.get(word)]
    lines = [f"{word!r}: expected {expected.get(word)}, found {found.get(word)}" for word in sorted(wrong)[:limit]]
    if len(wrong) > limit:
        lines.append(f"and {len(wrong) - limit} more words")
    return lines


def tiling_faults(ranges_by_batch):
    """`ranges_by_batch`: [(batch, {partition: (from, to)})] in order. What is missing or doubled, as text."""
    faults, ends = [], {}
    for batch, ranges in ranges_by_batch:
        for partition, (begin, end) in ranges.items():
            if partition in ends and begin != ends[partition]:
                faults.append(f"batch {batch}, partition {partition}: begins at {begin}, not at {ends[partition]}")
            ends[partition] = end
    return faults


class NeverBack:
    """Checks what one client sees in order: the identity never goes back, nor does a count within an incarnation."""

    def __init__(self):
        self.newest = None
        self.counts = {}
        self.faults = []
        self.answers = 0

    def see(self, job, incarnation, batch, counts):
        self.answers += 1
        identity = (incarnation, batch)
        if self.newest is not None and self.newest[0] == job:
            if identity < self.newest[1]:
                self.faults.append(f"(incarnation, batch) went back from {self.newest[1]} to {identity}")
            if incarnation == self.newest[1][0]:
                for word, count in counts.items():
                    before = self.counts.get(word, 0)
                    if count < before or (identity == self.newest[1] and count != before and word in self.counts):
                        self.faults.append(f"{word!r} went from {before} at {self.newest[1]} to {count} at {identity}")
        self.newest = (job, identity)
        self.counts.update(counts)
