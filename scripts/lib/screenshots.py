"""Pictures of the gateway's page for the README, of a small cluster that counts the words of the documents here: screenshots.py DIR.

Needs the programs (scripts/build) and the packages of scripts/lib/packages-slow; pngquant, if it is there, makes them small."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../../tests/cluster"]

from browser import Browser  # noqa: E402
from harness import Cluster, Feeder  # noqa: E402
from http_gateway import Gateway  # noqa: E402
from processes import ROOT, wait_for  # noqa: E402

PICTURES = [  # name, view, width, height, dark
    ("page-light", "/", 1280, 860, False),
    ("page-dark", "/", 1280, 860, True),
    ("page-narrow", "/", 390, 860, False),
    ("page-console", "/#/console", 1280, 1100, False),
]


def prose():
    lines = []
    for path in sorted(glob.glob(f"{ROOT}/*.md") + glob.glob(f"{ROOT}/docs/*.md")):
        with open(path, "rb") as file:
            lines += [line for line in file.read().split(b"\n") if len(line) > 60 and line[:1].isalpha()]
    while True:
        yield from lines


def figures_of(browser, view):
    """True when nothing is missing any more."""
    if view == "/":
        return all(browser.text(f"#{part}") != "–" for part in ("rate", "engine-latency", "seen-latency"))
    return browser.rows("#jobs")[0][3] != "0" and browser.rows("#workers")[0][4] == "32" and len(browser.rows("#waterfall")) > 7


def main():
    target = sys.argv[1]
    os.makedirs(target, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="millrace-pictures-") as directory:
        cluster = Cluster(directory).start()
        try:
            cluster.open_log("text")
            cluster.submit("word_count", "words", "log://text", "none:", "--set", "words=unicode")
            gateway = Gateway(cluster).start()
            feeder = Feeder(cluster, "log://text", prose(), 300)
            cluster.wait_for_records("words", 6000)
            for name, view, width, height, dark in PICTURES:
                browser = Browser(directory, width, height, dark).open(gateway, view)
                browser.wait_for_text("#status", "Live: words")
                if view == "/":
                    browser.type("#text", "to be counted")
                    browser.click("#send button")
                wait_for("the figures", lambda: figures_of(browser, view))
                browser.run("window.scrollTo(0, 0)")
                browser.driver.save_screenshot(f"{target}/{name}.png")
                browser.end()
                if shutil.which("pngquant"):  # a quarter of the size
                    subprocess.run(["pngquant", "--force", "--ext", ".png", "64", f"{target}/{name}.png"], check=True)
            feeder.end()
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
