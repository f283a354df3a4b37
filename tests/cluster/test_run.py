"""`millrace run`: a job in one process, from a pipe, a file or a log to standard output."""

import collections
import itertools
import json
import os
import re
import signal
import subprocess
import xml.etree.ElementTree

import pytest

from harness import BIN, prose, with_bad_records
from processes import wait_for
from terminal import Terminal
from test_bad_input import one_line
from test_word_count import append

RUN = [f"{BIN}/millrace", "run", "word_count"]


def run(*arguments, stdin=b"", code=0, **more):
    done = subprocess.run([*RUN, *arguments], input=stdin, capture_output=True, timeout=60, **more)
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout[:500]}\n{done.stderr[:500]}"
    return done


def counts_of(lines):
    """What is printed for them, by Python."""
    counts = collections.Counter(word for line in lines for word in line.split())
    return b"".join(b"%s\t%d\n" % pair for pair in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


@pytest.fixture
def endless():
    """Standard input that brings something and does not end."""
    read, write = os.pipe()
    os.write(write, b"so far so\n")
    yield read
    os.close(read)
    os.close(write)


def threads_wait_in(pid):
    """The system calls in which the threads of a process wait, as far as they are of interest."""
    names = {"1": "write", "20": "write", "271": "ppoll"}  # write, writev; as x86-64 numbers them
    calls = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/syscall", encoding="ascii") as file:
            calls.add(names.get(file.read().split()[0]))
    return calls


def test_a_pipe_is_counted_and_every_word_printed_the_highest_first():
    done = run("--source", "-", stdin=b"a b a\n")
    assert (done.stdout, done.stderr) == (b"a\t2\nb\t1\n", b"")


@pytest.mark.parametrize("text", [b"", b"\n", b"no end", b"\n\nties b a\n", "naïve Größe\n".encode(), b"carriage\r\nreturn\r\n"])
@pytest.mark.parametrize("lanes", [1, 3])
def test_whatever_the_input_ends_with_it_is_counted(text, lanes):
    done = run("--lanes", str(lanes), stdin=text)
    assert (done.stdout, done.stderr) == (counts_of(text.split(b"\n")), b"")


@pytest.mark.slow
def test_a_large_input_is_counted_exactly_in_bounded_memory():
    lines = list(itertools.islice(prose(7), 20_000))
    text = b"\n".join(lines) + b"\n"
    times = (600 << 20) // len(text)
    process = subprocess.Popen(RUN, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(times):
        process.stdin.write(text)
    process.stdin.close()
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    once = dict(line.rsplit(b"\t", 1) for line in counts_of(lines).splitlines())
    assert dict(line.rsplit(b"\t", 1) for line in printed.splitlines()) == {
        word: b"%d" % (int(count) * times) for word, count in once.items()}
    assert usage.ru_maxrss < 560 << 10, "KiB, fewer than came in"


def test_records_that_cannot_be_counted_are_told_with_their_lines():
    done = run("--max-record-bytes", "20", stdin=b"good\n\xff\xfe\nlast " + b"x" * 30 + b"\ngood")
    assert done.stdout == b"good\t2\n"
    told = done.stderr.decode().splitlines()
    assert told[0] == "millrace: 2 records were not counted:" and len(told) == 3, told
    assert {re.match(r"  line (\d+): .", line)[1] for line in told[1:]} == {"2", "3"}
    many = run(stdin=b"\xff\n" * 25_000).stderr.decode().splitlines()
    assert many[0] == "millrace: 25000 records were not counted:" and many[-1] == "  and 24990 more", many
    one_line(run("--on-bad-record", "fail", stdin=b"good\n\xff\n", code=1).stderr.decode(), "UTF-8")


def test_json_is_one_object():
    done = run("--json", stdin=b"a b a\n\xff\n")
    assert json.loads(done.stdout) == {
        "records": 2, "dead_letters": 1, "values": [{"word": "a", "count": 2}, {"word": "b", "count": 1}]}


def test_a_job_without_a_rank_is_printed_by_key():
    done = subprocess.run([f"{BIN}/millrace", "run", "two_sum"], input=b"b a b\n", capture_output=True, timeout=60)
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [[b"a", b"1"], [b"b", b"2"]]


@pytest.mark.parametrize("arguments, expected", [
    (["--set", "fields=x"], "there is no setting 'fields'"), (["--set", "rank"], "KEY=VALUE"),
    (["--source", "lines"], "kafka://HOST:PORT/TOPIC"), (["--source", "log://lines"], "--logs is missing"),
    (["--until", "latest"], "standard input ends by itself"), (["--until", "never"], "latest"),
    (["--lanes", "0"], "--lanes"), (["--sink", "redis"], "redis://"), (["-n", "0"], "-n"),
])
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, expected):
    done = run(*arguments, code=2)
    assert not done.stdout
    one_line(done.stderr.decode(), expected)


def test_an_unknown_job_is_named_with_those_there_are():
    done = subprocess.run([f"{BIN}/millrace", "run", "word_cont"], input=b"", capture_output=True, timeout=60)
    assert done.returncode == 2
    one_line(done.stderr.decode(), "'word_cont'", "word_count")


def test_what_cannot_be_read_is_named(directory):
    folder = os.open(directory, os.O_RDONLY)
    done = subprocess.run(RUN, stdin=folder, capture_output=True, timeout=60)
    os.close(folder)
    assert done.returncode == 1
    one_line(done.stderr.decode(), "standard input cannot be read: Is a directory")
    one_line(run("--source", "log://absent", "--logs", directory, code=1).stderr.decode(), "absent")
    one_line(run("--source", "kafka://127.0.0.1:1/t", code=1).stderr.decode(), "127.0.0.1:1")


def test_a_reader_that_leaves_ends_it_without_a_word():
    words = b"".join(b"word%d\n" % n for n in range(200_000))
    run_process = subprocess.Popen(RUN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    head = subprocess.Popen(["head", "-1"], stdin=run_process.stdout, stdout=subprocess.PIPE)
    run_process.stdout.close()
    _, said = run_process.communicate(words, timeout=60)
    assert head.communicate()[0] == b"word0\t1\n"
    assert said == b"" and run_process.returncode == -signal.SIGPIPE


def test_a_full_output_is_said():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(RUN, input=b"a\n", stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    one_line(done.stderr.decode(), "cannot write the output", "No space left")


def test_an_interrupt_prints_no_counts_of_a_part_and_leaves_nothing_behind(directory, endless):
    process = subprocess.Popen(RUN, stdin=endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": directory, "HOME": directory})
    wait_for("its lanes", lambda: any(
        "lane" in open(f"/proc/{process.pid}/task/{task}/comm", encoding="ascii").read()
        for task in os.listdir(f"/proc/{process.pid}/task")))
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=10)
    assert process.returncode == 1 and printed == b""
    one_line(told.decode(), "interrupted after", "no counts are printed")
    assert os.listdir(directory) == []


def test_input_that_is_given_up_is_not_taken_for_all_of_it(endless):
    process = subprocess.Popen(RUN, stdin=endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for("the input to be waited for", lambda: "ppoll" in threads_wait_in(process.pid))
    process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, b""), err
    assert b"given up" in err


def test_printing_to_a_reader_that_does_not_read_can_be_ended():
    process = subprocess.Popen(RUN, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"\n".join(b"word-%d" % number for number in range(100_000)))
    process.stdin.close()
    wait_for("the pipe to be full", lambda: "write" in threads_wait_in(process.pid))
    process.terminate()
    assert process.wait(timeout=20) == -signal.SIGTERM


def test_of_a_job_that_goes_by_time_it_is_said_what_is_shown():
    done = subprocess.run([f"{BIN}/millrace", "run", "recent_words"], input=b"a b a\n", capture_output=True, timeout=60)
    assert done.returncode == 0
    one_line(done.stderr.decode(), "goes by time", "last slide")


def test_a_job_of_two_shuffles_is_counted_to_the_end_of_its_input():
    ads = [f'{{"type":"impression","id":"{n}","ad":"ad{n % 3}"}}' for n in range(3000)]
    clicks = [f'{{"type":"click","id":"{n * n % 3000}"}}' for n in range(2000)]
    truth = [sum(n * n % 3000 % 3 == ad for n in range(2000)) for ad in range(3)]
    lines = "\n".join(clicks[:500] + ads + clicks[500:])
    command = [f"{BIN}/millrace", "run", "click_through", "--lanes", "2"]
    done = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = sorted(((count, f"ad{ad}") for ad, count in enumerate(truth) if count), key=lambda each: (-each[0], each[1]))
    assert done.stdout.decode() == "".join(f"{ad}\t{count}\n" for count, ad in expected)


def test_windows_by_event_time_are_closed_at_the_end_of_the_input():
    lines = [f'{{"user":"{user}","time":"2020-01-01T{hour:02}:00:00Z"}}' for hour in range(3) for user in ("ann", "bob")]
    done = subprocess.run([f"{BIN}/millrace", "run", "user_sessions"], input="\n".join(lines).encode(), capture_output=True,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"ann\t[3,3,0]\nbob\t[3,3,0]\n"


def test_a_terminal_shows_the_highest_and_how_far_it_is(directory):
    with open(f"{directory}/book", "wb") as book:
        book.write(b"".join(b"word%d " % n * (50 - n) + b"\n" for n in range(50)) * 20_000)
    with open(f"{directory}/book", "rb") as book:
        terminal = Terminal([*RUN, "-n", "3"], stdin=book)
    try:
        wait_for("the progress", lambda: re.search(r"\d+ records, [\d.]+ [kM]/s, \d+%, [\d.]+ s left\r\n", terminal.read()))
        assert terminal.wait() == 0
        drawn = terminal.last_drawn()
        assert re.fullmatch(r"1000000 records in [\d.]+ s", drawn[0]), drawn
        assert [line.split() for line in drawn[1:]] == [["word0", "1000000"], ["word1", "980000"], ["word2", "960000"]]
    finally:
        terminal.end()


def test_ctrl_c_on_a_terminal_leaves_what_was_counted_so_far(endless):
    terminal = Terminal(RUN, stdin=endless)
    try:
        wait_for("the counts", lambda: terminal.last_drawn()[1:] == ["so\t2", "far\t1"])
        terminal.press_ctrl_c()
        assert terminal.wait() == 1
        drawn = terminal.last_drawn()
        assert drawn[1:] == ["so\t2", "far\t1", "millrace: interrupted after 1 record; the counts are of those"]
    finally:
        terminal.end()


def test_what_is_typed_is_counted_when_it_ends():
    terminal = Terminal(RUN)
    try:
        os.write(terminal.master, b"a b a\n\x04")
        assert terminal.wait() == 0
        assert terminal.read().splitlines()[-2:] == ["a\t2", "b\t1"] and "\x1b" not in terminal.text
    finally:
        terminal.end()


def test_words_cannot_steer_the_terminal():
    read, write = os.pipe()
    os.write(write, b"\x1b[31mred\n")
    os.close(write)
    terminal = Terminal(RUN, stdin=read)
    os.close(read)
    try:
        assert terminal.wait() == 0
        assert terminal.last_drawn()[1:] == ["\\x1b[31mred\t1"]
    finally:
        terminal.end()


def test_a_topic_is_counted_to_where_it_ended(cluster, shared_kafka):
    lines = list(itertools.islice(with_bad_records(prose(3)), 5_000))
    uri = shared_kafka.uri(shared_kafka.topic("run", 3))
    append(cluster, uri, lines)
    shared_kafka.topic("run-empty", 1)
    assert run("--source", shared_kafka.uri("run-empty"), "--until", "latest").stdout == b""
    good = [line for line in lines if is_utf8(line)]
    done = run("--source", uri, "--until", "latest")
    assert done.stdout == counts_of(good)
    assert f"{len(lines) - len(good)} records were not counted" in done.stderr.decode()


def test_an_embedded_log_is_counted_beside_its_master_until_an_interrupt(cluster):
    append(cluster, "log://run", [b"a b", b"a"])
    logs = ["--source", "log://run", "--logs", f"{cluster.directory}/master/logs"]
    assert run(*logs, "--until", "latest").stdout == b"a\t2\nb\t1\n"
    terminal = Terminal([*RUN, *logs])
    try:
        wait_for("the counts", lambda: terminal.last_drawn()[1:] == ["a\t2", "b\t1"])
        append(cluster, "log://run", [b"b b"])
        wait_for("the new ones", lambda: terminal.last_drawn()[1:] == ["b\t3", "a\t2"])
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    finally:
        terminal.end()


def test_results_go_to_redis_besides(redis):
    lines = list(itertools.islice(prose(5), 2_000))
    done = run("--sink", redis.uri, "--name", "wc", stdin=b"\n".join(lines))
    assert done.stdout == counts_of(lines)
    assert redis.counts("wc") == {word: int(count) for word, count in
                                  (line.rsplit(b"\t", 1) for line in done.stdout.splitlines())}
    one_line(run("--sink", redis.uri, "--name", "wc", stdin=b"a", code=1).stderr.decode(), "--take-over")
    assert run("--sink", redis.uri, "--name", "wc", "--take-over", stdin=b"a").stdout == b"a\t1\n"
    assert redis.counts("wc") == {b"a": 1}


def is_utf8(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


SVG = "{http://www.w3.org/2000/svg}"


def explain(*arguments, code=0):
    done = subprocess.run([f"{BIN}/millrace", "explain", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_a_job_is_explained_stage_by_stage():
    assert explain("user_sessions", "--set", "gap=5m", "--state-partitions", "8").endswith("""
setting  delay=10s
setting  gap=5m
setting  time=field
time     that of the records; they may come 10s late
batches  at every interval
maps, beside the log's partitions
  1   source  records
  2   chain   filter, map, event_time  <- 1
  3   chain   map  <- 2
behind shuffle 1, 8 state partitions
  4   state   open  <- 3
              count_by_value in sessions with a gap of 5m by event time
              text -> sessions with a gap of 300000 ms: int64
  5   chain   closed, map  <- 4
behind shuffle 2, 8 state partitions
  6   state   ended  <- 5
              reduce_by_key
              text -> (int64, int64, int64)
  7   table   sessions  <- 6
              keys may go
              rank top: the highest 1000
""")


def test_each_built_in_job_is_drawn_as_it_is_explained(tmp_path):
    names = explain("none of these", code=2).split("there are: ")[1].strip().split(", ")
    assert "word_count" in names
    for name in names:
        job = [name, "--set", 'model={"centres":[[1]]}'] if name == "score" else [name]
        parts = json.loads(explain(*job, "--json"))["parts"]
        drawing = tmp_path / f"{name}.svg"
        assert explain(*job, "--svg", str(drawing)) == ""
        assert explain(*job, "--svg", "-") == drawing.read_text()
        drawn = [group.find(f"{SVG}title").text for group in xml.etree.ElementTree.parse(drawing).iter(f"{SVG}g")]
        assert drawn == ["\n".join([f"{part['kind']} {part['name']}", *part["facts"]]) for part in parts]
        assert parts[0]["kind"] == "source"
        assert {"state", "output"} & {part["kind"] for part in parts}


def test_a_drawing_that_cannot_be_written_is_a_failure_with_its_reason(tmp_path):
    assert "No such file or directory" in explain("word_count", "--svg", str(tmp_path / "away" / "a.svg"), code=1)
