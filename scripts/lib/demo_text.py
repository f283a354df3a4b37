"""The text that the demo counts: English prose of Debian's package fortunes, or, where that is missing, made-up prose."""

import glob
import os
import random

FORTUNES = "/usr/share/games/fortunes"


def is_text(line):
    try:
        return bool(line.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def fortunes():
    lines = []
    for path in sorted(glob.glob(f"{FORTUNES}/*.dat")):
        try:
            with open(path[: -len(".dat")], "rb") as file:
                lines += [line for line in file.read().split(b"\n") if line and line != b"%" and is_text(line)]
        except OSError:
            pass
    return lines


def made_up(seed=1, count=50_000):
    draw = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ren", "sta", "the", "ver", "und", "ing", "qua", "né", "oll"]
    words = sorted({"".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(9000)})
    draw.shuffle(words)
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(draw.choices(words, weights, k=draw.randint(3, 16))).encode() for _ in range(count)]


def lines(words_wanted, seed=1):
    """(where it is from, lines with about `words_wanted` words in all); the same lines again and again, shuffled."""
    base, source = fortunes(), f"Debian's fortunes, {FORTUNES}"
    if len(base) < 1000:
        base, source = made_up(), "made up by scripts/lib/demo_text.py"
    draw = random.Random(seed)
    per_round = sum(len(line.split()) for line in base)
    out = []
    while True:
        draw.shuffle(base)
        left = words_wanted - per_round * (len(out) // len(base))
        if left <= per_round:
            return source, out + base[: max(1, len(base) * left // per_round)]
        out += base
