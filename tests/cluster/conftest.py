"""Fixtures. What a test started is ended after it, whatever happened; the logs of a failed one are printed and kept."""

import os
import shutil
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../../scripts/lib"]

from browser import Browser  # noqa: E402
from harness import Cluster  # noqa: E402
from http_gateway import Gateway  # noqa: E402
from processes import Kafka, Redis  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: long chaos, only in scripts/test --slow")
    config.addinivalue_line("markers", "browser: needs chromium, only in scripts/test --slow")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.failed_once = True
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Cluster):
                report.sections.append(("logs", value.logs()))


@pytest.fixture
def directory(request):
    path = tempfile.mkdtemp(prefix="millrace-test-")
    yield path
    if getattr(request.node, "failed_once", False):
        print(f"kept for a look: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_cluster(directory):
    made = []

    def make(workers=2, lanes=2, **more):
        made.append(Cluster(directory, workers, lanes, **more))
        return made[-1]

    yield make
    for cluster in made:
        cluster.end()


@pytest.fixture
def cluster(make_cluster):
    """A master and two workers, up."""
    return make_cluster().start()


@pytest.fixture
def make_redis(directory):
    made = []

    def make(**more):
        made.append(Redis(directory, **more))
        return made[-1].start()

    yield make
    for redis in made:
        redis.process.end()


@pytest.fixture
def redis(make_redis):
    return make_redis()


@pytest.fixture(scope="session")
def shared_kafka():
    """A broker for the tests that do not kill it; each takes topics of its own."""
    path = tempfile.mkdtemp(prefix="millrace-kafka-")
    broker = Kafka(path)
    try:
        yield broker.start()
    finally:
        broker.process.end()
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_kafka(directory):
    """A broker that the test may kill."""
    broker = Kafka(directory)
    yield broker.start()
    broker.process.end()


@pytest.fixture
def open_browser(directory):
    """Opens Chromium, without a window."""
    opened = []

    def open_one(**more):
        opened.append(Browser(directory, **more))
        return opened[-1]

    yield open_one
    for browser in opened:
        browser.end()


@pytest.fixture
def words(cluster):
    """A cluster whose job counts what the gateway's page sends."""
    cluster.open_log("text")
    cluster.submit("word_count", "words", "log://text", "none:")
    return cluster


@pytest.fixture
def gateway(words):
    """In front of `words`."""
    return Gateway(words).start()
