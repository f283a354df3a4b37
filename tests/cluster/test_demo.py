"""scripts/demo --keep: what it prints can be done, and nothing of it is left behind. The built programs are used as they
are."""

import json
import os
import re
import signal
import subprocess
import threading
import urllib.request

import pytest

from processes import PYTHON, ROOT, wait_for


class Demo:
    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [PYTHON, f"{ROOT}/scripts/lib/demo.py", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.text = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.text += line

    def wait_for(self, pattern, seconds=90):
        found = wait_for(f"the demo to say {pattern}",
                         lambda: re.search(pattern, self.text) or self.process.poll() is not None, seconds)
        assert found is not True, self.text
        return found

    def family(self):
        """Pids of all that it started, and of what those started."""
        pids = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as file:
                    if f"{ROOT}/build/demo/" in (command := file.read()) or f"{ROOT}/build/release/bin/millrace" in command:
                        pids.append((int(entry), command.split("\0")[0]))
            except OSError:
                pass
        return {pid for pid, _ in pids if self.process.pid in ancestors(pid)}


def ancestors(pid):
    while pid > 1:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rsplit(b")", 1)[1].split()[1])
        except OSError:
            return
        yield pid


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False


def said_at(page, path, body=None):
    request = urllib.request.Request(f"{page}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_kept_can_be_tried_and_ends_without_a_trace(number):
    demo = Demo("--keep", "--seconds", "2")
    try:
        page = demo.wait_for(r"kept running: (http://\S+)/ ")[1]
        assert "exact: yes" in demo.text
        assert "<html" in said_at(page, "/").lower()
        if number == signal.SIGTERM:
            command = demo.wait_for(r"\n +(\S+/millrace simulate-users .*)\n")[1]
            simulation = subprocess.Popen(
                ["bash", "-c", f"exec {command.replace('30s', '4s')}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            os.kill(int(demo.wait_for(r"kill -9 (\d+) ")[1]), signal.SIGKILL)
            demo.wait_for(r"worker-1 had ended; it is started again as \d+")
            said, problem = simulation.communicate(timeout=120)
            assert simulation.returncode == 0 and "exact: yes" in said, (said, problem)
        said_at(page, "/submit_text", json.dumps({"text": "To be, or not to be? A question.", "user_id": "ann"}).encode())
        wait_for("its count", lambda: '"count":1' in said_at(page, "/api/v1/jobs/words/counts/question"))
        assert '"count":null' in said_at(page, "/api/v1/jobs/words/counts/not"), "a stop word"
        another = subprocess.run([PYTHON, f"{ROOT}/scripts/lib/demo.py"], capture_output=True, text=True, timeout=30)
        assert another.returncode == 1 and "another demo is running here" in another.stderr, another
        family = demo.family()
        assert len(family) >= 6, family  # gateway, workers with their executors, master
        demo.process.send_signal(number)
        assert demo.process.wait(30) == 0, demo.text
        wait_for("its end", lambda: not [pid for pid in family if alive(pid)], 10)
    finally:
        demo.process.terminate()
        demo.process.wait(30)
