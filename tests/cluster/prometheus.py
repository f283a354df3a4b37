"""A real Prometheus for a test, with the configuration of cluster-configs/, and a strict reader of its text format."""

import json
import os
import re
import subprocess
import urllib.parse
import urllib.request

from processes import ROOT, Process, free_port, wait_for

CONFIGS = f"{ROOT}/cluster-configs/prometheus"
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


class Prometheus:
    """Scrapes the cluster and the gateway each second; alerts do not wait."""

    def __init__(self, cluster, gateway):
        self.port = free_port()
        self.directory = os.path.join(cluster.directory, "prometheus")
        os.makedirs(self.directory)
        workers = ", ".join(f"'{worker.http}'" for worker in cluster.ready_workers())
        self._adapt("prometheus.yml", {
            "'127.0.0.1:7072'": f"'{cluster.http}'",
            "'127.0.0.1:7073', '127.0.0.1:7074'": workers,
            "'127.0.0.1:7090'": f"'127.0.0.1:{gateway.port}'",
            "scrape_interval: 5s": "scrape_interval: 1s",
            "evaluation_interval: 5s": "evaluation_interval: 1s",
        })
        self._adapt("alerts.yml", {"for: 15s": "for: 1s"})
        command = [
            "prometheus", f"--config.file={self.directory}/prometheus.yml", f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.process = Process("prometheus", command, cluster.directory)
        cluster.things.append(self)

    def _adapt(self, name, replacements):
        with open(f"{CONFIGS}/{name}", encoding="utf-8") as file:
            text = file.read()
        for old, new in replacements.items():
            assert old in text, f"{name} has no {old} any more"
            text = text.replace(old, new)
        with open(f"{self.directory}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        self.process.start()
        wait_for("Prometheus", lambda: get(f"127.0.0.1:{self.port}", "/-/ready"), 30)
        return self

    def query(self, expression):
        """[(labels, value)]; fails where Prometheus does not understand it."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        answer = json.loads(get(f"127.0.0.1:{self.port}", path))
        assert answer["status"] == "success", answer
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def value(self, expression):
        """Of the one series that there is."""
        [(_, value)] = self.query(expression)
        return value


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return answer.read().decode()


def promtool(*arguments, stdin=None):
    done = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"promtool {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def parse(text):
    """({family: type}, {(name, labels): value}) of a process' metrics; fails at whatever is not as the format has it."""
    assert text.endswith("\n")
    types, helped, samples = {}, set(), {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped and line.split(" ", 3)[3].strip(), line
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in types and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        else:
            name, labels, value = _parse_sample(line)
            family = name if name in types else SUFFIXES.sub("", name)
            assert family in types and (name == family) == (types[family] != "histogram"), line
            assert (types[family] == "counter") == family.endswith("_total"), line
            assert (name, labels) not in samples, f"twice: {line}"
            samples[name, labels] = value
    for family in (name for name, kind in types.items() if kind == "histogram"):
        _check_histogram(family, samples)
    return types, samples


def _parse_sample(line):
    match = SAMPLE.fullmatch(line)
    assert match, line
    name, text, number = match.groups()
    labels, end = [], 0
    for label in LABEL.finditer(text or ""):
        assert label.start() == end, line
        end = label.end()
        labels.append(label.groups())
    assert end == len(text or "") and len(dict(labels)) == len(labels), line
    value = float(number)
    assert value == value, line
    return name, frozenset(labels), value


def _check_histogram(family, samples):
    by_series = {}
    for (name, labels), value in samples.items():
        if name == f"{family}_bucket":
            bound = float(dict(labels)["le"])
            by_series.setdefault(frozenset(label for label in labels if label[0] != "le"), []).append((bound, value))
    for labels, buckets in by_series.items():
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts) and max(bound for bound, _ in buckets) == float("inf"), (family, labels)
        assert samples[f"{family}_count", labels] == counts[-1], (family, labels)
        assert (f"{family}_sum", labels) in samples, (family, labels)
