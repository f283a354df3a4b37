"""What `cmake --install` gives is all that a project outside the tree needs: the one in template/, built and tested."""

import os
import shutil
import subprocess

import pytest

from processes import ROOT


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", os.path.join(ROOT, "build/release"), "--prefix", str(prefix))
    return prefix


@pytest.fixture(scope="module")
def project(installed, tmp_path_factory):
    """A copy of the template, built."""
    source = tmp_path_factory.mktemp("project") / "my_jobs"
    shutil.copytree(os.path.join(ROOT, "template"), source)
    run("cmake", "-S", str(source), "-B", str(source / "build"), f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", str(source / "build"))
    return source


def test_the_programs_run_where_they_were_installed(installed):
    for program in ["millrace", "millrace-master", "millrace-worker"]:
        assert program in run(str(installed / "bin" / program), "--version")


def test_the_template_builds_outside_the_tree_and_passes_its_test(project):
    run("ctest", "--test-dir", str(project / "build"), "--output-on-failure", "--no-tests=error")


def test_a_library_of_jobs_shows_one_function(project):
    shown = run("nm", "-D", "--defined-only", str(project / "build/libmy_jobs.so"))
    ours = [line for line in shown.splitlines() if "millrace" in line]
    assert [line.split()[-1] for line in ours] == ["millrace_job_library"], shown
