"""The ten-line client that the documentation shows runs as it stands there."""

import os
import re
import subprocess

from harness import check_word_count
from processes import PYTHON, ROOT
from test_word_count import append


def test_the_client_of_the_documentation_works(cluster, redis, directory):
    with open(f"{ROOT}/docs/python-client.md", encoding="utf-8") as file:
        text = file.read()
    program = max(re.findall(r"```python\n(.*?)```", text, re.S), key=len)
    append(cluster, "log://text", [b"the words the test the end"] * 3)
    cluster.submit("word_count", "wc", "log://text", redis.uri)
    check_word_count(cluster, redis, "wc", cluster.read_log("text"))
    subprocess.run(["thrift", "--gen", "py", "-out", directory, f"{ROOT}/thrift/millrace.thrift"], check=True)
    program = program.replace("7071", cluster.api_port.split(":")[1])
    done = subprocess.run([PYTHON, "-c", program], cwd=directory, capture_output=True, text=True, timeout=30,
                          env={**os.environ, "PYTHONPATH": directory})
    assert done.returncode == 0, done.stderr
    assert "the" in done.stdout and "9" in done.stdout
