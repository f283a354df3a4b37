"""The programs that the documentation shows run as they stand there."""

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


def test_the_receiver_of_the_documentation_brings_each_file_once_however_often_it_is_killed(cluster, directory):
    with open(f"{ROOT}/docs/receivers.md", encoding="utf-8") as file:
        program = re.search(r"```python\n(.*?)```", file.read(), re.S)[1]
    subprocess.run(["thrift", "--gen", "py", "-out", directory, f"{ROOT}/thrift/millrace.thrift"], check=True)
    program = program.replace("7071", cluster.api_port.split(":")[1])
    killed = re.sub(r"    os\.rename\(", "    os.kill(os.getpid(), 9); os.rename(", program)
    assert killed != program
    files = {f"file-{number}": [f"line {line} of {number}" for line in range(100)] for number in range(5)}
    for folder in ["spool", "done"]:
        os.mkdir(f"{directory}/{folder}")
    for name, lines in files.items():
        with open(f"{directory}/spool/{name}", "w", encoding="ascii") as file:
            file.write("\n".join(lines))
    for text, code in [(killed, -9), (killed, -9), (program, 0)]:
        done = subprocess.run([PYTHON, "-c", text, "spool", "done"], cwd=directory, capture_output=True, text=True,
                              timeout=30, env={**os.environ, "PYTHONPATH": directory})
        assert done.returncode == code, done.stderr
    assert sorted(os.listdir(f"{directory}/done")) == sorted(files)
    stored = [value.decode() for records in cluster.read_log("spool").values() for _, value in records]
    assert sorted(stored) == sorted(line for lines in files.values() for line in lines)
