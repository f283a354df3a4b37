"""Metrics of a real cluster, as a real Prometheus takes them, with the alerts and the dashboard of cluster-configs/; and
logs as JSON."""

import json
import re

import pytest

from http_gateway import Gateway
from processes import ROOT, wait_for
from prometheus import CONFIGS, SUFFIXES, Prometheus, get, parse, promtool

DASHBOARD = f"{ROOT}/cluster-configs/grafana/millrace.json"
OURS = re.compile(r"\b(?:millrace|process)_\w+")
TEXTS = 40


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def expressions_of_alerts():
    """Each `expr`, also where it goes over several lines."""
    found = re.findall(r"^ +expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", read(f"{CONFIGS}/alerts.yml"), re.M)
    return [" ".join((folded or plain).split()) for folded, plain in found]


def expressions_of_dashboard():
    panels = json.loads(read(DASHBOARD))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def choices_of_dashboard():
    """What it offers to choose from: label_values(METRIC, LABEL)."""
    queries = [variable["query"] for variable in json.loads(read(DASHBOARD))["templating"]["list"]]
    return [query["query"] for query in queries if isinstance(query, dict)]


@pytest.fixture
def at_work(cluster, redis):
    """A cluster that has counted some texts of a gateway, published and checkpointed them."""
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", redis.uri)
    gateway = Gateway(cluster).start()
    for number in range(TEXTS):
        assert gateway.submit(f"a text of words {number}")[0] == 200
    cluster.wait_for_records("words", TEXTS)
    wait_for("a checkpoint", lambda: cluster.describe("words").checkpoint_batch > 0)
    summary = cluster.describe("words").summary
    wait_for("a publication", lambda: cluster.describe("words").summary.published >= summary.changed)
    return cluster, gateway


def texts_of(cluster, gateway):
    workers = [get(worker.http, "/metrics") for worker in cluster.ready_workers()]
    return [get(cluster.http, "/metrics"), *workers, gateway.ask("GET", "/metrics")[2]]


def test_prometheus_takes_the_configuration_and_the_rules():
    assert "SUCCESS" in promtool("check", "config", f"{CONFIGS}/prometheus.yml")
    assert "SUCCESS" in promtool("check", "rules", f"{CONFIGS}/alerts.yml")
    see = set(re.findall(r"see: (.*)", read(f"{CONFIGS}/alerts.yml")))
    headings = set(re.findall(r"^### (.*)", read(f"{ROOT}/docs/operations.md"), re.M))
    assert see <= headings, f"docs/operations.md has nothing on {see - headings}"


def test_all_that_is_exposed_is_as_the_format_has_it_and_documented(at_work):
    cluster, gateway = at_work
    # Executors tell what they hold once a second.
    wait_for("the executors' figures", lambda: "millrace_executor_lane_busy_seconds_total{" in get(cluster.http, "/metrics"))
    exposed = set()
    for text in texts_of(cluster, gateway):
        types, _ = parse(text)
        promtool("check", "metrics", stdin=text)
        exposed |= set(types)
    used = {SUFFIXES.sub("", name) if SUFFIXES.sub("", name) in exposed else name
            for expression in expressions_of_alerts() + expressions_of_dashboard() + choices_of_dashboard() for name in OURS.findall(expression)}
    assert len(used) > 20 and used <= exposed, f"alerts or dashboard use what is not there: {used - exposed}"
    documented = set(OURS.findall(read(f"{ROOT}/docs/operations.md")))
    assert exposed <= documented, f"docs/operations.md lacks {exposed - documented}"
    assert {SUFFIXES.sub("", name) for name in documented} <= exposed | {SUFFIXES.sub("", name) for name in exposed}, documented - exposed


def test_the_figures_are_those_of_the_cluster(at_work):
    cluster, gateway = at_work
    _, master = parse(get(cluster.http, "/metrics"))
    words = frozenset({("job_name", "words")})
    assert master["millrace_job_records_total", words] == TEXTS
    assert master["millrace_job_emitted_total", words] == TEXTS * 5
    assert master["millrace_job_lag_records", words] == 0
    assert master["millrace_job_state", words | {("state", "running")}] == 1
    assert master["millrace_job_checkpoints_total", words] >= 1
    assert master["millrace_job_batch_seconds_count", words | {("until", "applied")}] >= 1
    assert master["millrace_workers", frozenset()] == 2
    keys = [value for (name, _), value in master.items() if name == "millrace_executor_keys"]
    assert len(keys) == 2 and sum(keys) == 4 + TEXTS  # a text of words, and the numbers
    state = [value for (name, labels), value in master.items() if name == "millrace_executor_memory_bytes" and ("owner", "state") in labels]
    assert sum(state) > 0
    for worker in cluster.ready_workers():
        _, own = parse(get(worker.http, "/metrics"))
        assert own["millrace_worker_executors", frozenset()] == 1
        resident = [value for (name, _), value in own.items() if name == "millrace_worker_executor_resident_memory_bytes"]
        assert len(resident) == 1 and resident[0] > 1 << 20
    _, own = parse(gateway.ask("GET", "/metrics")[2])
    assert own["millrace_gateway_records_total", frozenset()] == TEXTS
    assert own["millrace_gateway_request_seconds_count", frozenset({("route", "POST /submit_text")})] == TEXTS


def test_a_real_prometheus_scrapes_all_and_tells_when_a_worker_dies(at_work):
    cluster, gateway = at_work
    prometheus = Prometheus(cluster, gateway).start()
    wait_for("all targets", lambda: [value for _, value in prometheus.query("up")] == [1] * 4, 30)
    wait_for("the job's records", lambda: prometheus.value('millrace_job_records_total{job_name="words"}') == TEXTS)
    drawn = [expression.replace("$job_name", ".*").replace("$__rate_interval", "30s")
             for expression in expressions_of_dashboard() if not expression.endswith("== 1")]  # no job is in trouble
    wait_for("a line for each query of the dashboard", lambda: not [expression for expression in drawn if not prometheus.query(expression)], 30)
    for expression in expressions_of_alerts():
        prometheus.query(expression)
    assert prometheus.query('ALERTS{alertstate="firing"}') == []
    dead = cluster.ready_workers()[0].http
    pid = int(next(worker.name for worker in cluster.ready_workers() if worker.http == dead).rpartition(":")[2])
    next(worker for worker in cluster.workers if worker.pid == pid).kill()
    firing = wait_for("the alert", lambda: prometheus.query('ALERTS{alertname="MillraceWorkerDown",alertstate="firing"}'), 30)
    assert [labels["instance"] for labels, _ in firing] == [dead]
    wait_for("the recovery", lambda: prometheus.value("millrace_job_recoveries_total") == 1)
    wait_for("one executor's figures", lambda: len(prometheus.query("millrace_executor_keys")) == 1, 30)


def test_the_dashboard_is_one_that_grafana_takes():
    dashboard = json.loads(read(DASHBOARD))
    assert dashboard["title"] and dashboard["schemaVersion"] >= 36 and dashboard["uid"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert panel["type"] == "row" or panel["targets"], panel["title"]
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "job_name"}


def test_logs_are_lines_of_json_with_job_and_worker(make_cluster):
    cluster = make_cluster(environment={"MILLRACE_LOG_FORMAT": "json"}).start()
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", "none:")
    wait_for("executors", lambda: len(cluster.describe("words").executors) == 2)
    lines = []
    for name in ["master", "worker-1", "worker-2"]:
        lines += [json.loads(line) for line in read(f"{cluster.directory}/{name}.log").splitlines()]
    for line in lines:
        assert {"time", "level", "program", "pid", "place", "message"} <= set(line), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"]), line
    assert {"millrace-master", "millrace-worker"} <= {line["program"] for line in lines}
    assert any(line["program"] == "millrace-master" and line.get("job") == "words" for line in lines)
    workers = {line["worker"] for line in lines if line["program"] in ("millrace-worker", "executor")}
    assert workers == {worker.name for worker in cluster.ready_workers()}


def test_an_unknown_format_of_logs_is_refused(make_cluster):
    cluster = make_cluster(workers=0)
    cluster.master.command.append("--log_format=xml")
    assert cluster.master.start().popen.wait(20) == 2
    assert "--log_format is 'xml'; it must be text or json" in cluster.master.tail()
