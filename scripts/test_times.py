#!/usr/bin/env python3
"""Prints what the last run of the tests took: each binary, the slowest tests, what was skipped, what failed.

    scripts/test_times.py [BUILD] [COUNT]     the COUNT slowest tests (15) of the build directory (build)
"""
import json
import re
import sys
from pathlib import Path


def seconds(text):
    return float(text.removesuffix("s"))


def tests_of(file):
    """(name, seconds, result) of every test that the binary ran."""
    for suite in json.loads(file.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            result = "failed" if "failures" in test else test["result"].lower()
            yield f"{suite['name']}.{test['name']}", seconds(test["time"]), result


def main():
    build = Path(sys.argv[1] if len(sys.argv) > 1 else "build")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    files = sorted((build / "test-times").glob("*.json"))
    if not files:
        sys.exit(f"{build}/test-times holds nothing: run the tests first (scripts/test.sh)")

    ran = []
    print("\nTime by binary (its tests alone):")
    for file in files:
        tests = [(file.stem, *test) for test in tests_of(file)]
        ran += tests
        print(f"  {sum(test[2] for test in tests):8.1f} s  {len(tests):5}  {file.stem}")
    total = sum(test[2] for test in ran)
    print(f"  {total:8.1f} s  {len(ran):5}  in all")

    print(f"\nThe {count} slowest tests:")
    for binary, name, time, _ in sorted(ran, key=lambda test: -test[2])[:count]:
        print(f"  {time:8.1f} s  {binary}  {name}")

    log = build / "Testing/Temporary/LastTest.log"
    reasons = sorted(set(re.findall(r"^skipped: (.*)$", log.read_text(errors="replace"), re.M))) if log.exists() else []
    skipped = sum(test[3] == "skipped" for test in ran)
    if reasons or skipped:
        print(f"\nSkipped: {skipped} tests by themselves" + "".join(f"; {reason}" for reason in reasons))
    failed = [test for test in ran if test[3] == "failed"]
    if failed:
        print(f"\nFailed ({len(failed)}):")
        for binary, name, _, _ in failed:
            print(f"  {binary}  {name}")


main()
