#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what one ctest run passed and failed: every gtest case once, every other ctest test once.

Usage: test_summary.py JUNIT_XML GTEST_XML_DIR. The last line is "PASSED FAILED SKIPPED"; the output of what failed
comes before it.
"""
import glob
import os
import re
import sys
import xml.etree.ElementTree as xml

MAX_LINES = 120  # of a failed test's output


def parse(path):
    """The root element, or None for a file that a crash left unfinished. Control characters are not XML: dropped."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return xml.fromstring(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]", "?", file.read()))
    except (OSError, xml.ParseError):
        return None


def count_cases(root):
    passed = failed = skipped = 0
    for case in root.iter("testcase"):
        if case.find("failure") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("status") == "notrun" or case.get("result") == "skipped":
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def show(name, output):
    lines = [line for line in output.splitlines() if not re.match(r"\[( RUN  |       OK|-----|=====)", line)]
    if len(lines) > MAX_LINES:
        lines = lines[:MAX_LINES // 2] + [f"... {len(lines) - MAX_LINES} lines ..."] + lines[-MAX_LINES // 2:]
    print(f"--- {name} failed:")
    print("\n".join("    " + line for line in lines))


def main(junit, gtest_folder):
    run = parse(junit)
    if run is None:
        print(f"--- ctest left no readable {junit}")
        print("0 1 0")
        return
    passed = failed = skipped = 0
    for test in run.iter("testcase"):
        name, output = test.get("name"), test.findtext("system-out") or ""
        status, skip = test.get("status"), test.find("skipped")
        if status == "disabled" or skip is not None and (skip.get("message") or "").startswith("SKIP_"):
            skipped += 1
            continue
        good = status == "run"
        roots = [parse(path) for path in glob.glob(os.path.join(gtest_folder, f"test_{glob.escape(name)}.xml"))]
        counts = [count_cases(root) for root in roots if root is not None]
        if counts:
            p, f, s = (sum(column) for column in zip(*counts))
        elif good:
            p, f, s = 1, 0, 0
        else:  # it crashed, timed out or could not start: what it had passed by then still counts
            p, f, s = len(re.findall(r"^\[       OK \]", output, re.M)), 1, 0
        if not good:
            f = max(f, 1)
            show(name, output or f"(no output; ctest says {status})")
        passed, failed, skipped = passed + p, failed + f, skipped + s
    print(passed, failed, skipped)


if __name__ == "__main__":
    main(*sys.argv[1:])
