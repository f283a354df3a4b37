"""What `cmake --install` gives is all that a project outside the tree needs: the one in template/, built and tested."""

import collections
import glob
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree

import pytest

from harness import as_json, prose
from processes import ROOT, wait_for
from test_word_count import append

SVG = "{http://www.w3.org/2000/svg}"

# Works everywhere but in a worker.
CRASHES_IN_WORKERS = """
#include <csignal>
#include <fstream>
#include <string>
#include <millrace/job.h>

MILLRACE_JOB(crashing, "a job whose executors die") { job.lines().count_by_value().publish("counts"); }

static const bool crashed = [] {
  std::string arguments;
  std::getline(std::ifstream("/proc/self/cmdline"), arguments);
  return arguments.find("--executor") != std::string::npos && std::raise(SIGSEGV) == 0;
}();
"""

# Dies of one word.
DIES = """
#include <csignal>
#include <millrace/job.h>

MILLRACE_JOB(dying, "a job whose executors die of a word") {
  job.lines()
      .flat_map(millrace::split_words)
      .filter([](std::string_view word) { return word != "die" || std::raise(SIGSEGV) == 0; })
      .count_by_value()
      .publish("counts");
}
"""

# Waits for ever at one word.
HANGS = """
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <millrace/job.h>

MILLRACE_JOB(hanging, "a job that stands still") {
  job.lines()
      .flat_map(millrace::split_words)
      .filter([](std::string_view word) {
        if (word == "hang") std::fputs("hangs\\n", stderr);
        while (word == "hang") std::this_thread::sleep_for(std::chrono::seconds(1));
        return true;
      })
      .count_by_value()
      .publish("counts");
}
"""

# The template's job with a second table, and one that keeps something else under the same name.
CHANGED = """
#include <string>
#include <millrace/job.h>

MILLRACE_JOB(long_words, "how often each long word of a text occurs, and how many of each length") {
  const auto least = static_cast<size_t>(job.number("least", 5, 1, 100, "the least length of a word, in bytes"));
  const auto words = job.lines()
                         .flat_map(millrace::split_words)
                         .filter([least](std::string_view word) noexcept { return word.size() >= least; });
  const auto lengths = words.map([](std::string_view word) { return std::to_string(word.size()); }).count_by_value("lengths");
  words.count_by_value().publish("counts").rank("top", 100);
  lengths.publish("lengths").rank("commonest", 3);
}

MILLRACE_JOB(renamed_words, "the template's job, with another name for what it keeps") {
  job.lines().flat_map(millrace::split_words).count_by_value("words").publish("counts");
}

MILLRACE_JOB(longest_lines, "the longest line of each first word") {
  job.lines()
      .map([](std::string_view line) { return std::pair(line.substr(0, line.find(' ')), line); })
      .reduce_by_key([](const std::string& a, const std::string& b) { return a.size() < b.size() ? b : a; }, "count_by_value")
      .publish("longest");
}

MILLRACE_JOB(shown_words, "counts that are kept as they are shown") {
  job.lines()
      .flat_map(millrace::split_words)
      .map([](std::string_view word) { return std::pair(word, std::string("1")); })
      .reduce_by_key([](const std::string& a, const std::string& b) { return std::to_string(std::stoll(a) + std::stoll(b)); },
                     "count_by_value")
      .migrate_from<int64_t>([](int64_t count) { return std::to_string(count); })
      .publish("counts");
}

MILLRACE_JOB(many_files, "appends its lines side by side") {
  job.lines().write("lines", millrace::text_lines, {.parts = 100});
  job.lines().count_by_value(std::string("<a> & \\"b\\"")).publish("counts");
}
"""


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
    shutil.copytree(installed / "share/millrace/template", source)
    (source / "crashing.cc").write_text(CRASHES_IN_WORKERS)
    with open(source / "CMakeLists.txt", "a", encoding="utf-8") as lists:
        lists.write("millrace_jobs(crashing crashing.cc)\nmillrace_jobs(dying dying.cc)\nmillrace_jobs(changed changed.cc)\nmillrace_jobs(hanging hanging.cc)\nadd_library(no_jobs MODULE no_jobs.cc)\n")
    (source / "dying.cc").write_text(DIES)
    (source / "changed.cc").write_text(CHANGED)
    (source / "hanging.cc").write_text(HANGS)
    (source / "no_jobs.cc").write_text("int main_of_nothing() { return 0; }\n")
    run("cmake", "-S", str(source), "-B", str(source / "build"), f"-DCMAKE_PREFIX_PATH={installed}", "-DCMAKE_BUILD_TYPE=Debug")
    run("cmake", "--build", str(source / "build"), "--parallel", "2")
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


@pytest.fixture
def open_cluster(make_cluster):
    """A cluster that takes libraries of jobs."""
    return make_cluster(environment={"MILLRACE_ALLOW_JOB_LIBRARIES": "true"}).start()


def counts(cluster, name, *words):
    return cluster.cli("get", name, *words).stdout


def test_a_job_is_upgraded_with_what_it_has_counted_and_taken_back(project, open_cluster):
    changed = str(project / "build/libchanged.so")
    append(open_cluster, "log://text", [b"streams of long streams"] * 1000)
    open_cluster.submit(str(project / "build/libmy_jobs.so"), "mine", "log://text", "none:", "--set", "least=4")
    open_cluster.cli("lag", "mine", "--until-zero", "30s")

    refused = open_cluster.cli("upgrade", "mine", changed, "--job", "longest_lines", "--unset", "least", code=2).stderr
    assert "state 'count_by_value' was kept as text -> int64, and the new code keeps it as text -> text" in refused
    refused = open_cluster.cli("upgrade", "mine", changed, "--job", "renamed_words", "--unset", "least", code=2)
    assert "  dropped  count_by_value: text -> int64; all that it holds is lost\n" in refused.stdout
    assert "(new, and of fitting types: 'words'); to lose it, say --drop 'count_by_value'" in refused.stderr
    plan = open_cluster.cli("upgrade", "mine", changed, "--plan").stdout
    assert plan == "job mine would become version 2\n  new      lengths: text -> int64\n  kept     count_by_value: text -> int64\n"
    job = open_cluster.describe("mine")
    assert (job.summary.state, job.summary.applied.incarnation, job.version) == ("running", 1, 1)

    assert "mine becomes version 2" in open_cluster.cli("upgrade", "mine", changed, "--set", "least=6").stdout
    append(open_cluster, "log://text", [b"long streams"])
    open_cluster.workers[0].kill()
    open_cluster.workers[0].start()
    open_cluster.cli("lag", "mine", "--until-zero", "30s")
    assert counts(open_cluster, "mine", "streams", "long") == "streams\t2001\nlong\t1000\n"
    job = open_cluster.describe("mine")
    assert (job.summary.type, job.settings, job.version) == ("long_words", {"least": "6"}, 2)

    open_cluster.cli("stop", "mine")
    kept = json.loads(open_cluster.cli("--json", "checkpoints", "mine").stdout)["checkpoints"]
    assert [checkpoint["version"] for checkpoint in kept][:2] == [1, 2], kept
    open_cluster.cli("resume", "mine", "--from", kept[0]["batch"])
    open_cluster.cli("lag", "mine", "--until-zero", "30s")
    assert counts(open_cluster, "mine", "streams", "long") == "streams\t2001\nlong\t1001\n"
    job = open_cluster.describe("mine")
    assert (job.settings, job.version) == ({"least": "4"}, 1)

    said = open_cluster.cli("upgrade", "mine", changed, "--job", "shown_words", "--unset", "least").stdout
    assert "  migrated count_by_value: text -> text, from text -> int64\n" in said
    append(open_cluster, "log://text", [b"long"])
    open_cluster.cli("lag", "mine", "--until-zero", "30s")
    assert counts(open_cluster, "mine", "streams", "long") == "streams\t2001\nlong\t1002\n"


def test_a_built_in_job_gets_other_settings(open_cluster):
    append(open_cluster, "log://text", [b"a A"])
    open_cluster.submit("word_count", "wc", "log://text", "none:")
    open_cluster.cli("lag", "wc", "--until-zero", "30s")
    said = open_cluster.cli("upgrade", "wc", "word_count", "--set", "words=unicode").stdout
    assert "kept     count_by_value: text -> int64" in said
    append(open_cluster, "log://text", [b"a A"])
    open_cluster.cli("lag", "wc", "--until-zero", "30s")
    assert counts(open_cluster, "wc", "a", "A") == "a\t3\nA\t1\n"
    assert "is what it would become already" in open_cluster.cli("upgrade", "wc", "word_count", code=2).stderr


def test_a_library_runs_on_a_cluster_through_kills_of_all_its_processes(project, open_cluster):
    library = str(project / "build/libmy_jobs.so")
    append(open_cluster, "log://text", [b"streams of long streams", b"and rivers"] * 1000)
    open_cluster.submit(library, "mine", "log://text", "none:", "--set", "least=4")
    open_cluster.cli("lag", "mine", "--until-zero", "30s")
    assert counts(open_cluster, "mine", "streams", "long", "of") == "streams\t2000\nlong\t1000\nof\t-\n"
    os.remove(library)  # the cluster has its own
    for process in [*open_cluster.workers, open_cluster.master]:
        process.kill()
    for process in [open_cluster.master, *open_cluster.workers]:
        process.start()
    append(open_cluster, "log://text", [b"streams"])
    open_cluster.cli("lag", "mine", "--until-zero", "30s")
    assert counts(open_cluster, "mine", "streams", "rivers") == "streams\t2001\nrivers\t1000\n"
    assert open_cluster.describe("mine").summary.type == "long_words"


def check_both_tables(cluster, redis, lines):
    """Both tables of `mine` and their ranks in Redis are those of `lines`."""
    cluster.cli("lag", "mine", "--until-zero", "60s")
    words = collections.Counter(word for line in lines for word in line.split())
    lengths = collections.Counter()
    for word, count in words.items():
        lengths[str(len(word)).encode()] += count
    for table, rank, size, truth in [("counts", "top", 100, words), ("lengths", "commonest", 3, lengths)]:
        assert redis.texts("mine", table) == {key: str(count).encode() for key, count in truth.items()}
        assert redis.top("mine", rank) == sorted(truth.items(), key=lambda pair: (-pair[1], pair[0]))[:size]
    return words, [(length.decode(), count) for length, count in redis.top("mine", "commonest")]


def test_a_job_of_two_tables_is_exact_in_both_through_the_kill_of_a_worker(project, open_cluster, redis):
    lines = list(itertools.islice(prose(7), 20_000))
    append(open_cluster, "log://text", lines[:10_000])
    open_cluster.submit(str(project / "build/libchanged.so"), "mine", "log://text", redis.uri, "--job", "long_words", "--set", "least=1")
    open_cluster.wait_for_records("mine", 1)
    open_cluster.workers[0].kill()
    append(open_cluster, "log://text", lines[10_000:])
    check_both_tables(open_cluster, redis, lines)
    open_cluster.workers[0].start()
    open_cluster.workers[1].kill()
    lines += [b"and more"] * 10
    append(open_cluster, "log://text", lines[20_000:])
    words, commonest = check_both_tables(open_cluster, redis, lines)

    first, count = commonest[0]
    assert counts(open_cluster, "mine", "more", first) == f"more\t{words[b'more']}\n{first}\t-\n"
    assert counts(open_cluster, "mine", first, "more", "--table", "lengths") == f"{first}\t{count}\nmore\t-\n"
    assert open_cluster.cli("top", "mine", "-n", "2", "--table", "lengths").stdout == "".join(f"{key}\t{count}\n" for key, count in commonest[:2])
    shown = as_json(open_cluster.cli("--json", "watch", "mine", "-n", "3", "--updates", "1", "--table", "lengths"))
    assert (shown["table"], [(value["word"], value["count"]) for value in shown["values"]]) == ("lengths", commonest)
    assert as_json(open_cluster.cli("--json", "top", "mine"))["table"] == "counts"
    refused = open_cluster.cli("get", "mine", "more", "--table", "commonest", code=1).stderr
    assert refused == "millrace: job 'mine' has no table 'commonest'; it publishes counts, lengths\n"
    assert as_json(open_cluster.cli("--json", "describe", "mine"))["tables"] == [
        {"name": "counts", "rank": "top", "rank_size": 100}, {"name": "lengths", "rank": "commonest", "rank_size": 3}]
    assert "lengths, with the rank commonest\n" in open_cluster.cli("describe", "mine").stdout


def test_what_is_shown_of_a_job_of_one_table_does_not_speak_of_tables(project, open_cluster):
    append(open_cluster, "log://text", [b"streams"])
    open_cluster.submit(str(project / "build/libchanged.so"), "one", "log://text", "none:", "--job", "shown_words")
    open_cluster.cli("lag", "one", "--until-zero", "30s")
    assert list(as_json(open_cluster.cli("--json", "get", "one", "streams"))) == ["as_of", "batch", "values"]
    assert "table" not in open_cluster.cli("describe", "one").stdout


def test_a_library_that_crashes_in_workers_harms_no_other_job(project, open_cluster):
    append(open_cluster, "log://text", [b"a b a"])
    open_cluster.submit("word_count", "good", "log://text", "none:")
    open_cluster.submit(str(project / "build/libcrashing.so"), "bad", "log://text", "none:")
    # Its link may break before the agent has told of its end; then the next one's end is told rightly.
    told = r"the executor on worker \S+ ended before it was ready \(signal 11, Segmentation fault, see \S+ there\), most likely because of what the job's library does when it is loaded$"
    wait_for("the problem to be told", lambda: re.match(told, open_cluster.describe("bad").summary.problem))
    append(open_cluster, "log://text", [b"a"] * 10)
    open_cluster.cli("lag", "good", "--until-zero", "30s")
    assert counts(open_cluster, "good", "a") == "a\t12\n"
    open_cluster.cli("kill", "bad")


def test_a_job_whose_executors_die_of_a_record_is_failed_and_says_of_what_and_goes_on_by_other_code(project, open_cluster):
    append(open_cluster, "log://text", [b"a b a"])
    open_cluster.submit(str(project / "build/libdying.so"), "bad", "log://text", "none:")
    open_cluster.cli("lag", "bad", "--until-zero", "30s")
    append(open_cluster, "log://text", [b"die"])

    def problem():
        return open_cluster.describe("bad").summary.problem

    place = r"on worker \S+: signal 11, Segmentation fault, see /\S+ there, while it had to do: .*batch \d+ \(log partition \d+ offsets \d+ to \d+\)"
    wait_for("a death to be told", lambda: re.search(rf"died.*{place}", problem()))
    wait_for("the job to be failed", lambda: open_cluster.describe("bad").summary.state == "failed", seconds=90)
    assert re.match(rf"10 executors died, one after the other and no batch further, the last {place}", problem()), problem()
    assert executors_of("bad") == []
    open_cluster.cli("upgrade", "bad", "word_count")
    open_cluster.cli("lag", "bad", "--until-zero", "30s")
    assert counts(open_cluster, "bad", "a", "b", "die") == "a\t2\nb\t1\ndie\t1\n"


def executors_of(job):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, encoding="utf-8") as file:
                found += [path] * (f"--job_name={job}" in file.read().split("\0"))
        except OSError:
            pass  # it has ended
    return found


def test_a_function_that_never_returns_is_told_and_harms_no_other_job(project, make_cluster):
    environment = {"MILLRACE_ALLOW_JOB_LIBRARIES": "true", "MILLRACE_LANE_TIMEOUT": "1"}
    cluster = make_cluster(environment=environment).start()
    append(cluster, "log://text", [b"a b a"])
    cluster.submit("word_count", "good", "log://text", "none:")
    cluster.submit(str(project / "build/libhanging.so"), "bad", "log://text", "none:")
    cluster.cli("lag", "bad", "--until-zero", "30s")
    append(cluster, "log://text", [b"hang"])

    def problem():
        return cluster.describe("bad").summary.problem

    told = r"the job's code does not come back: lane \d has been at the map of batch \d+, log partition \d+, offsets \d+ to \d+ for more than 1s"
    wait_for("the problem to be told", lambda: re.match(told, problem()))
    executors = executors_of("bad")
    append(cluster, "log://text", [b"a"])
    cluster.cli("lag", "good", "--until-zero", "30s")
    assert counts(cluster, "good", "a") == "a\t3\n"
    assert re.match(told, problem()) and executors_of("bad") == executors, "nobody is ended for it"
    stopped = cluster.cli("stop", "bad", code=1).stderr
    assert "stopped before all its batches were applied: the job's code does not come back" in stopped
    assert "`millrace upgrade` the job, or kill it" in stopped and "stop the job" not in stopped
    wait_for("its executors to be ended", lambda: not executors_of("bad"))
    cluster.cli("resume", "bad")
    wait_for("its executors to be back", lambda: len(executors_of("bad")) == 2)
    cluster.cli("kill", "bad")
    wait_for("its executors to be ended", lambda: not executors_of("bad"))


def test_a_run_whose_function_never_returns_is_ended_by_a_second_interrupt(project):
    command = [os.path.join(ROOT, "build/release/bin/millrace"), "run", str(project / "build/libhanging.so")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        job.stdin.write(b"a\nhang\n")
        job.stdin.close()
        assert b"hangs\n" in iter(job.stderr.readline, b"")

        def ended():
            job.send_signal(signal.SIGINT)
            return job.poll() is not None

        wait_for("its end", ended, pause=0.2)
        assert job.returncode != 0


def test_libraries_are_refused_with_cause_and_remedy(project, cluster):
    append(cluster, "log://text", [b"a"])

    def refusal(library, *more):
        done = cluster.cli("submit", library, "--name", "mine", "--source", "log://text", "--sink", "none:", *more, code=2)
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    good = str(project / "build/libcrashing.so")
    assert "--allow_job_libraries" in refusal(good)
    assert "there are: crashing" in refusal(good, "--job", "other")
    assert "no setting 'most'" in refusal(good, "--set", "most=1")
    assert "MILLRACE_JOB" in refusal(str(project / "build/libno_jobs.so"))
    assert "'./absent.so' cannot be read" in refusal("./absent.so")
    assert "--job goes with a library" in refusal("word_count", "--job", "other")
    many = [str(project / "build/libchanged.so"), "--job", "many_files"]
    assert "raise --state-partitions" in refusal(*many)
    assert "--allow_job_libraries" in refusal(*many, "--state-partitions", "128")


def test_a_library_is_drawn_as_it_is_put_together(project):
    explain = [os.path.join(ROOT, "build/release/bin/millrace"), "explain", str(project / "build/libchanged.so"),
               "--job", "many_files", "--state-partitions", "128"]
    name = '<a> & "b"'
    assert f"state   {name}  <- " in run(*explain)
    titles = [part.find(f"{SVG}title").text for part in xml.etree.ElementTree.fromstring(run(*explain, "--svg", "-")).iter(f"{SVG}g")]
    assert f"state {name}\ncount_by_value\ntext -> int64" in titles, titles
    assert "output lines\nlines of text\nin 100 parts" in titles, titles


def run_library(library, *more):
    command = [os.path.join(ROOT, "build/release/bin/millrace"), "run", str(library), *more]
    return subprocess.run(command, input="b\nab\nb\n", capture_output=True, text=True, timeout=60)


def test_a_library_runs_in_one_process(project):
    done = run_library(project / "build/libcrashing.so", "--source", "-")
    assert (done.returncode, done.stdout) == (0, "ab\t1\nb\t2\n"), done.stderr


def test_a_run_prints_all_tables_of_a_job_or_one(project):
    options = [project / "build/libchanged.so", "--job", "long_words", "--set", "least=1"]
    assert run_library(*options).stdout == "counts\tb\t2\ncounts\tab\t1\nlengths\t1\t2\nlengths\t2\t1\n"
    assert run_library(*options, "--table", "lengths").stdout == "1\t2\n2\t1\n"
    refused = run_library(*options, "--table", "words")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "the job has no table 'words'; it publishes counts, lengths" in refused.stderr
