"""The rules of ARCHITECTURE.md and CONTRIBUTING.md that a program can check: who includes whom, sizes, leftovers."""

import os
import re

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE_FOLDERS = ["common", "stream", "millrace", "jobs", "master", "worker", "adapters", "gateway", "local", "client", "bench", "tests"]

# folder -> what its files may include of ours (their own folder goes without saying). ARCHITECTURE.md, "Folders".
SEAMS = ["common/seams", "common/model", "common/base"]
RUNTIME = ["common/runtime", "common/wire", *SEAMS]
MAY_INCLUDE = {
    "common/base": [],
    "common/metrics": ["common/base"],
    "common/model": ["common/base"],
    "common/api": ["common/model", "common/base"],
    "common/wire": ["common/model", "common/base"],
    "common/seams": ["common/model", "common/base"],
    "common/runtime": RUNTIME,
    "stream": SEAMS,
    "millrace": ["stream", *SEAMS],
    "jobs": ["millrace", "stream", *SEAMS],
    "master": ["stream/job.h", "common/api", "common/metrics", *RUNTIME],
    "worker": ["stream/job.h", *RUNTIME],
    "adapters": ["common/api", "common/metrics", *SEAMS],
    "gateway": ["stream/text.h", "common/api", "common/metrics", *RUNTIME],
    "local": ["client/local_run.h", "master", "worker", "adapters", "jobs", "stream/job.h", *RUNTIME],
    "client": ["common/api", "common/seams/http.h", "common/seams/http_caller.h", "common/model", "common/base"],
}
# Headers of others -> folders whose files may include them.
RESTRICTED = {
    r"zmq.*": ["adapters"],
    r"rocksdb/.*": ["adapters"],
    r"hiredis/.*": ["adapters"],
    r"(zlib|zstd|lz4frame|snappy-c)\.h": ["adapters"],
    r"librdkafka/.*": ["adapters", "bench"],
    r"boost/beast/.*": ["adapters"],
    r"openssl/.*": ["gateway"],
    r"prometheus/.*": ["common/metrics", "gateway"],
    r"thrift/(server|concurrency|async)/.*": ["adapters"],
    r"thrift/(transport|protocol|processor)/.*": ["adapters", "common/wire", "common/api", "client"],
    r"(thread|mutex|condition_variable|shared_mutex|future)": ["adapters", "common/runtime", "common/base", "local", "bench", "client"],
    r"(sys|netinet|arpa)/.*|unistd\.h|fcntl\.h": ["adapters", "jobs", "common/runtime", "common/base", "bench", "client"],
    r"gflags/.*": ["adapters"],  # adapters/settings.cc reads the flags; only main files define them
}
# Roles get time and randomness by seams.
FORBIDDEN_IN_ROLES = re.compile(r"(steady_clock|system_clock|high_resolution_clock)::now|random_device|\bsleep_for\b|\busleep\b|\brand\(\)")
ROLE_FOLDERS = ["common/model", "common/wire", "common/seams", "stream", "millrace", "jobs", "master", "worker", "gateway"]

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 90
# file -> lines, or file:function's first line -> lines; each with the reason. Prefer to split.
LONG_FILES = {}
LONG_FUNCTIONS = {}


def sources(folders=SOURCE_FOLDERS, endings=(".h", ".cc")):
    for folder in folders:
        for directory, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def lines_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read().split("\n")


def includes_of(path):
    for number, line in enumerate(lines_of(path), 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1), match.group(2)


def folder_of(path):
    return next((folder for folder in MAY_INCLUDE if path.startswith(folder + "/")), path.split("/")[0])


def names_everything(path):
    """Programs' main files and tests put adapters and roles together."""
    return path.endswith("_main.cc") or path.startswith(("tests/", "bench/"))


def is_ours(include):
    return os.path.exists(os.path.join(ROOT, include))


def breaches_of(path):
    folder = folder_of(path)
    if names_everything(path):
        return
    allowed = [folder + "/"] + [entry if entry.endswith(".h") else entry + "/" for entry in MAY_INCLUDE[folder]]
    for number, form, include in includes_of(path):
        if form == '"' and is_ours(include) and not include.startswith(tuple(allowed)):
            yield f"{path}:{number} includes {include}: {folder} may include {', '.join(allowed)}"
        for pattern, folders in RESTRICTED.items():
            if re.fullmatch(pattern, include) and folder not in folders:
                yield f"{path}:{number} includes {include}: only {', '.join(folders) or 'main files'} may"


def test_every_folder_includes_only_what_the_architecture_allows():
    found = [breach for path in sources() for breach in breaches_of(path)]
    assert not found, "\n".join(found)


def test_the_scan_sees_a_breach(monkeypatch):
    monkeypatch.setattr(f"{__name__}.includes_of", lambda path: [(1, '"', "master/master.h"), (2, "<", "zmq.hpp")])
    monkeypatch.setattr(f"{__name__}.is_ours", lambda include: "/" in include)
    assert len(list(breaches_of("worker/executor.cc"))) == 2
    assert len(list(breaches_of("adapters/zeromq_network.cc"))) == 1
    assert not list(breaches_of("worker/worker_main.cc"))


def test_roles_read_no_clock_and_draw_no_random_numbers():
    found = [
        f"{path}:{number} {line.strip()}"
        for path in sources(ROLE_FOLDERS)
        if not path.endswith("_main.cc")
        for number, line in enumerate(lines_of(path), 1)
        if FORBIDDEN_IN_ROLES.search(line.split("//")[0])
    ]
    assert not found, "\n".join(found)


def test_flags_are_defined_in_main_files_only():
    found = [
        path
        for path in sources()
        if not path.endswith(("_main.cc", "settings_test.cc")) and re.search(r"^DE(FINE|CLARE)_\w+\(", "\n".join(lines_of(path)), re.M)
    ]
    assert not found, "\n".join(found)


def test_files_are_not_too_long():
    lengths = {path: len(lines_of(path)) - 1 for path in [*sources(), *sources(["tests", "scripts"], (".py",)), *sources(["gateway/page"], (".js", ".css", ".html", ".json"))]}
    found = [f"{path}: {n} lines" for path, n in lengths.items() if n > LONG_FILES.get(path, MAX_FILE_LINES)]
    assert not found, "\n".join(found)


def functions_of(path):
    """(first line, number of lines) of the blocks at the outermost two levels: functions, and methods in classes."""
    for indent in ("", "  "):
        start, text = 0, ""
        for number, line in enumerate(lines_of(path), 1):
            body = line[len(indent):]
            if not line.startswith(indent) or not body or body[0] in " #/}{)":
                if line == indent + "}" and text:
                    yield start, number - start + 1
                continue
            if not re.match(r"(public|private|protected|case|default)\b.*:$", body):
                start, text = number, body


def test_functions_are_not_too_long():
    found = []
    for path in sources():
        for start, length in functions_of(path):
            if length > LONG_FUNCTIONS.get(f"{path}:{lines_of(path)[start - 1].strip()}", MAX_FUNCTION_LINES):
                found.append(f"{path}:{start} has {length} lines")
    assert not found, "\n".join(found)


def test_the_length_of_a_function_is_seen(tmp_path, monkeypatch):
    text = "int f(int a,\n      int b) {\n" + "  a += b;\n" * 95 + "  return a;\n}\n\nstruct S {\n  int g() {\n    return 1;\n  }\n};\n"
    monkeypatch.setattr(f"{__name__}.lines_of", lambda path: text.split("\n"))
    assert sorted(length for _, length in functions_of("any.cc"))[-1] == 99


def test_nothing_is_left_to_do():
    pattern = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    found = [
        f"{path}:{number} {line.strip()}"
        for path in [*sources(), *sources(["scripts", "tests", "thrift"], (".py", ".sh", ".thrift"))]
        for number, line in enumerate(lines_of(path), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_every_source_file_is_built():
    lists = "\n".join(
        "\n".join(lines_of(os.path.relpath(os.path.join(directory, name), ROOT)))
        for folder in SOURCE_FOLDERS
        for directory, _, names in os.walk(os.path.join(ROOT, folder))
        for name in names
        if name == "CMakeLists.txt"
    )
    found = [path for path in sources(endings=(".cc",)) if not re.search(rf"(^|[\s/]){re.escape(os.path.basename(path))}\b", lists, re.M)]
    assert not found, "in no CMakeLists.txt: " + ", ".join(found)


@pytest.mark.parametrize("path", list(sources(endings=(".h",))))
def test_headers_open_with_what_they_are(path):
    lines = lines_of(path)
    assert lines[0].startswith("//"), f"{path} opens without saying what it is"
    assert "#pragma once" in lines, path
