"""Lines that are appended to a topic at a steady rate while a job counts them: runs of bench/latency_main.cc, one after
the other, and what every count must be after them."""

import collections
import itertools
import json
import os
import subprocess

from cluster import DIRECTORY, PARTITIONS, say

MOST_BATCH_LINES = 8000  # of 77 bytes: less than the megabyte that a broker takes
WINDOW_LINES = 6_000_000  # under way at most when the sustained rate is looked for: some seconds'
AFTER_SUSTAINED_S = 5  # of the next run, until what waits is gone


def make_text(options, lines):
    """A file with so many lines of `options.vocabulary` words; kept for the next run."""
    path = f"{DIRECTORY}/appended-{lines}-{options.vocabulary}"
    if not os.path.exists(path):
        with open(f"{path}.part", "wb") as file:
            subprocess.run([f"{options.bin}/make_text", f"--lines={lines}", f"--vocabulary={options.vocabulary}"],
                           stdout=file, check=True)
        os.rename(f"{path}.part", path)
    return path


class Appending:
    """To the topic lines, which the job counts from its first line on."""

    def __init__(self, cluster, job, text):
        self.text = text
        self.command = [
            f"{cluster.bin}/latency", f"--broker={cluster.kafka.address}", "--topic=lines", f"--partitions={PARTITIONS}",
            f"--redis_port={cluster.redis.port}", f"--hash={{{job}}}:counts", f"--text={text}"]
        self.runs = []  # (number of the first line, lines a batch, every so many with a word of its own, what it said)

    def begin(self, *, rate, seconds, warm_up, linger_ms=None, probes=None, samples=""):
        """The running program. A batch has the lines of `linger_ms`, and about `probes` lines a second are looked for.
        `rate` None: as fast as they are counted."""
        batch_lines = min(max(rate * linger_ms // 1000, 1), MOST_BATCH_LINES) if rate else MOST_BATCH_LINES
        probe_every = max(rate // probes, 1) if rate else batch_lines
        first_line = sum(said["lines"] for _, _, _, said in self.runs)
        self.runs.append((first_line, batch_lines, probe_every, {}))
        self.limit = warm_up + seconds + 90
        return subprocess.Popen(
            [*self.command, f"--rate={rate or 0}", f"--window={WINDOW_LINES}", f"--seconds={seconds}",
             f"--warm_up={warm_up}", f"--batch_lines={batch_lines}", f"--probe_every={probe_every}",
             f"--first_line={first_line}", f"--samples={samples}"], stdout=subprocess.PIPE, text=True)

    def end(self, program):
        """What it says, once all of its words were seen in Redis."""
        try:
            said, _ = program.communicate(timeout=self.limit)
        finally:
            if program.poll() is None:
                program.kill()
        if program.returncode != 0:
            raise SystemExit("bench: the appending program failed")
        self.runs[-1][3].update(json.loads(said))
        return self.runs[-1][3]

    def rate_of_load(self, options):
        """`options.load` of the lines a second that are appended, counted and published when some seconds' lines always
        wait. Both figures."""
        said = self.end(self.begin(rate=None, seconds=options.load_seconds, warm_up=options.warm_up))
        sustained = said["lines_per_s"]
        say(f"sustained while lines are appended: {sustained:,.0f} lines/s")
        if sustained < 1:
            raise SystemExit("bench: nothing was published while the sustained rate was measured; more --load-seconds are needed")
        return int(options.load * sustained), sustained

    def counts(self):
        """Word -> how often it was appended, by all runs."""
        with open(self.text, "rb") as file:
            text = [line.split() for line in file]
        counts = collections.Counter()
        for first_line, batch_lines, probe_every, said in self.runs:
            times, rest = divmod(said["lines"], said["cycle_lines"])
            for lines, factor in ((said["cycle_lines"], times), (rest, 1)):
                of_lines = collections.Counter(itertools.chain.from_iterable(itertools.islice(text, lines)))
                for word, count in of_lines.items():
                    counts[word] += factor * count
            for batch in range(first_line, first_line + said["lines"], batch_lines):
                counts.update(b"probe%010d" % line for line in range(batch, batch + batch_lines, probe_every))
        return +counts
