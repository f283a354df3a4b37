"""What is wrong with a job's types is said by one error with a message of ours, and with the user's own line."""

import collections
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = "tests/lint/wrong_jobs.inc"


def expected():
    """Line of each job's code -> the job's name; name -> what is to be said of it."""
    names, said, name, says = {}, {}, None, None
    with open(os.path.join(ROOT, JOBS), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if match := re.match(r"// says: (.*)", line):
                name, says = None, match[1]
            elif match := re.match(r"void (\w+)\(JobBuilder& job\)", line):
                name = match[1]
                said[name] = says
            if name is not None:
                names[number] = name
    return names, said


@pytest.fixture(scope="module")
def errors():
    """Job -> its errors; what has no line of a job stands under None. All are compiled at once, as headers cost most."""
    command = ["g++", "-std=c++23", "-I.", "-fsyntax-only", "-fdiagnostics-color=never", "-x", "c++", JOBS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names, _ = expected()
    found, line = collections.defaultdict(list), None
    for text in done.stderr.splitlines():
        if "In instantiation of" in text or "In substitution of" in text:
            line = None
        if match := re.match(rf"{JOBS}:(\d+):\d+:\s+required from", text):
            line = int(match[1])
        elif match := re.match(r"(\S+?):(\d+):\d+: (?:fatal )?error: (.*)", text):
            found[names.get(int(match[2]) if match[1] == JOBS else line)].append(match[3])
            line = None
    return found


def test_each_wrong_job_has_one_error_that_says_what_is_wrong_and_where(errors):
    _, said = expected()
    assert len(said) >= 30
    assert errors.pop(None, []) == [], "these name no line of the job"
    wrong = {name: errors.get(name) for name, says in said.items() if len(errors[name]) != 1 or says not in errors[name][0]}
    assert wrong == {}
