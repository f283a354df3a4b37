"""The flag files of cluster-configs/ bring up the clusters that they describe."""

import os
import re

import pytest

from harness import BIN, check_word_count
from processes import ROOT, Process, free_ports, wait_for
from test_gateway import Gateway
from test_word_count import append

CONFIGS = f"{ROOT}/cluster-configs"


def adapted(path, directory, replacements):
    """A copy of the flag file with free ports and our directories in it."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for old, new in replacements.items():
        text = text.replace(old, new)
    copy = os.path.join(directory, os.path.basename(path))
    with open(copy, "w", encoding="utf-8") as file:
        file.write(text)
    return copy


@pytest.mark.parametrize("config,workers,hosts", [("one-machine", 2, 1), ("three-hosts", 3, 3)])
def test_a_cluster_of_the_flag_files_counts(make_cluster, directory, redis, config, workers, hosts):
    """Three hosts are three addresses of the loop here: the files' 10.0.0.N become 127.0.0.N."""
    cluster = make_cluster(workers=workers)
    ports = free_ports(7)
    replacements = {f"70{70 + index}": str(port) for index, port in enumerate(ports[:5])}
    replacements |= {"7080": str(ports[5]), "7082": str(ports[6]), "10.0.0.": "127.0.0."}
    replacements |= {"/tmp/millrace-checkpoints": f"{directory}/checkpoints", "/mnt/millrace": directory}
    replacements |= {"build/cluster": directory}
    cluster.listen, cluster.api_port = f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
    replacements["/var/lib/millrace/master"] = f"{directory}/master"
    flags = adapted(f"{CONFIGS}/{config}/master.flags", directory, replacements)
    cluster.master = Process("master", [f"{BIN}/millrace-master", f"--flagfile={flags}"], directory)
    cluster.workers = []
    for number in range(1, workers + 1):
        replacements["/var/lib/millrace/worker"] = f"{directory}/worker-{number}"
        flags = adapted(f"{CONFIGS}/{config}/worker-{number}.flags", directory, replacements)
        cluster.workers.append(Process(f"worker-{number}", [f"{BIN}/millrace-worker", f"--flagfile={flags}"], directory))
    cluster.start()
    append(cluster, "log://text", [b"the words of a test"] * 100)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))


def test_the_gateway_of_the_flag_files_takes_text(cluster, directory):
    port = free_ports(1)[0]
    flags = adapted(f"{CONFIGS}/one-machine/gateway.flags", directory, {"127.0.0.1:7071": cluster.api_port, "7090": str(port)})
    gateway = Gateway(cluster)
    gateway.port = port
    gateway.process.command = [f"{BIN}/millrace-gateway", f"--flagfile={flags}"]
    assert gateway.start().submit("a")[0] == 200


def test_the_environment_wins_over_the_flag_file_and_the_command_line_over_both(make_cluster, directory):
    cluster = make_cluster(workers=1)
    flags = f"{directory}/worker.flags"
    with open(flags, "w", encoding="utf-8") as file:
        file.write("# a comment\n--lanes=1\n--http=127.0.0.1:0\n")
    worker = cluster.workers[0]
    worker.command = [part for part in worker.command if not re.match("--(lanes|http)=", part)] + [f"--flagfile={flags}"]
    worker.environment = {"MILLRACE_LANES": "3"}
    cluster.start()
    assert cluster.ready_workers()[0].lanes == 3
    worker.kill()
    worker.command.append("--lanes=2")
    worker.start()
    # The killed one may be listed for a moment, in front or behind.
    wait_for("the worker of two lanes alone", lambda: [entry.lanes for entry in cluster.ready_workers()] == [2])
