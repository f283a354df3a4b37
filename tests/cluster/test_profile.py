"""Where the time of batches goes: by the API, the command line and the status port of real processes."""

import itertools
import json
import urllib.error
import urllib.request

import thrift_api as api
from harness import Feeder, as_json, check_word_count, prose
from processes import wait_for
from test_word_count import append

STEPS = ["wait", "fetch", "map", "shuffle", "commit", "reduce", "report", "checkpoint", "publish"]


def get(cluster, path):
    """The code and the JSON of a page of the master's status port."""
    try:
        with urllib.request.urlopen(f"http://{cluster.http}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_batches_of_a_job_tell_where_their_time_went(cluster, redis):
    lines = list(itertools.islice(prose(7), 20_000))
    cluster.open_log("text")
    cluster.submit("word_count", "wc", "log://text", redis.uri, "--checkpoint-interval", "200ms")
    assert Feeder(cluster, "log://text", lines, 10_000).wait() == len(lines)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))

    def told():
        """Once what comes after a batch is known of all with records."""
        with cluster.api() as connection:
            profiles = connection.control.batches("wc", 600, 0)
        with_records = [batch for batch in profiles.batches if batch.records]
        steps = {step.name for batch in profiles.batches for step in batch.steps}
        return profiles if "checkpoint" in steps and all(batch.published_by for batch in with_records) else None

    profiles = wait_for("the profile of all batches", told)
    assert sum(batch.records for batch in profiles.batches) == len(lines)
    assert sum(batch.bytes for batch in profiles.batches) >= sum(map(len, lines))
    names = [batch.batch for batch in profiles.batches]
    assert names == list(range(names[0], names[-1] + 1))
    workers = {worker.name for worker in cluster.ready_workers()}
    for batch in profiles.batches:
        steps = {step.name: step for step in batch.steps}
        assert list(steps) == [name for name in STEPS if name in steps]
        assert sum(step.held_us for step in batch.steps) == batch.applied_us
        if not batch.records:
            continue
        assert {"wait", "map", "shuffle", "commit", "reduce", "report", "publish"} <= set(steps)
        assert 0 < steps["map"].busy_us and 0 < steps["reduce"].busy_us
        assert steps["reduce"].lanes == 4
        for name in ("map", "reduce"):
            worker, lane = steps[name].slowest.split(" lane ")
            assert worker in workers and int(lane) in (0, 1)
            assert 0 <= steps[name].lane_p50_us <= steps[name].lane_most_us
        assert 0 <= batch.time_ms - batch.newest_ms < 60_000
    page = names[len(names) // 2]
    with cluster.api() as connection:
        assert [batch.batch for batch in connection.control.batches("wc", 2, page).batches] == names[: names.index(page)][-2:]

    table = cluster.cli("describe", "wc", "--batches", "3").stdout.splitlines()
    assert table[0].split()[:4] == ["BATCH", "AGE", "RECORDS", "PER"] and len(table) == 8
    assert [line.split()[0] for line in table[4:7]] == ["p50", "p99", "max"]
    assert "age in s, steps in ms; " in table[7]
    shown = as_json(cluster.cli("--json", "describe", "wc", "--batches", "600"))
    code, page = get(cluster, "/jobs/wc/batches?n=600")
    assert code == 200 and page["as_of"]["job_id"] == shown["as_of"]["job_id"]
    known = {batch["batch"]: batch for batch in page["batches"]}
    assert all(known[batch["batch"]] == batch for batch in shown["batches"] if batch["batch"] in names and batch["published_by"])
    assert len(get(cluster, "/jobs/wc/batches?n=2")[1]["batches"]) == 2
    assert all(batch["batch"] < names[3] for batch in get(cluster, f"/jobs/wc/batches?before={names[3]}")[1]["batches"])


def test_what_is_asked_wrongly_is_said_and_a_new_master_begins_anew(cluster, redis):
    append(cluster, "log://text", [b"a b"])
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    assert "there is no job 'none'" in cluster.cli("describe", "none", "--batches", code=1).stderr
    assert "there is no job 'none'" in get(cluster, "/jobs/none/batches")[1]["error"]
    assert get(cluster, "/jobs/none/batches")[0] == 404
    for query in ("n=0", "n=601", "n=99999999999", "n=many", "n=", "before=-1", "before=x"):
        code, answer = get(cluster, f"/jobs/wc/batches?{query}")
        assert code == 400 and answer["error"].startswith(query.split("=")[0] + " is "), query
    cluster.cli("describe", "wc", "--batches", "0", code=2)
    with cluster.api() as connection:
        try:
            connection.control.batches("wc", 601, 0)
            raise AssertionError("601 batches are given")
        except api.Failure as failure:
            assert failure.message == "n is 601; it must be 1 to 600"
    cluster.cli("stop", "wc")
    assert get(cluster, "/jobs/wc/batches")[1]["batches"], "of a job at rest its last batches are known"
    cluster.master.kill()
    cluster.master.start()
    wait_for("the job", lambda: get(cluster, "/jobs/wc/batches")[0] == 200)
    assert get(cluster, "/jobs/wc/batches")[1]["batches"] == []
    assert cluster.cli("describe", "wc", "--batches").stdout == "no batch has been applied since this master began to run the job\n"
