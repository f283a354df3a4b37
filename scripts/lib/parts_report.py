"""Prints the table at the end of scripts/test: parts_report.py ROWS TOTAL_SECONDS TOTAL_BUDGET.

A row is: name, exit status, seconds, budget, log. Numbers of tests and seeds are read from the logs."""

import glob
import re
import sys


def count(log):
    """(tests, seeds) that a log speaks of, each as text."""
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    ctest_log = None
    match = re.search(r"^Internal ctest changing into directory: (.*)$", text, re.M)
    if match:  # the counts of the single programs stand in ctest's own log
        ctest_log = f"{match.group(1)}/Testing/Temporary/LastTest.log"
        for path in glob.glob(ctest_log):
            with open(path, encoding="utf-8", errors="replace") as file:
                text += file.read()
    tests = sum(int(number) for number in re.findall(r"^\[==========\] (\d+) tests? from .* ran\.", text, re.M))
    tests += sum(int(number) for number in re.findall(r"(\d+) passed", text))
    seeds = sum(int(number.replace(",", "")) for number in re.findall(r"^(?:seeds: ([\d,]+))", text, re.M))
    return (str(tests) if tests else "", str(seeds) if seeds else "")


def closing_line(log):
    """What ctest or pytest said last."""
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if re.search(r"tests passed|\d+ (passed|failed|error)", line)]
    return lines[-1] if lines else ""


def main():
    rows, total, budget = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    closing, failed = [], 0
    print(f"\n{'part':<14}{'result':<9}{'tests':>7}{'seeds':>9}{'seconds':>9}{'budget':>8}")
    with open(rows, encoding="utf-8") as file:
        for line in file:
            name, status, seconds, part_budget, log = line.rstrip("\n").split("\t")
            tests, seeds = count(log)
            failed += status != "0"
            result = "ok" if status == "0" else "FAILED"
            print(f"{name:<14}{result:<9}{tests:>7}{seeds:>9}{seconds:>9}{part_budget:>8}")
            if closing_line(log):
                closing.append(f"{name}: {closing_line(log)}")
    print(f"{'all':<14}{'FAILED' if failed else 'ok':<9}{'':>7}{'':>9}{total:>9}{budget:>8}\n")
    print("\n".join(closing))


if __name__ == "__main__":
    main()
