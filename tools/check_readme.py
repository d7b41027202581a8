#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the README's own commands: every line of its ```sh blocks, but for ./demo.sh and ./test.sh, which would run this.

Usage: check_readme.py BUILD_DIRECTORY. The lines of one block run in one shell, from the top of the tree, with the freshly
built codecllm first on PATH; what they write under out/ goes to a temporary directory.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def blocks(text):
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = [line for line in block.splitlines() if line.strip() and line.split()[0] not in ("./demo.sh", "./test.sh")]
        if lines:
            yield "\n".join(lines)


def main():
    build = os.path.abspath(sys.argv[1])
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        found = list(blocks(readme.read()))
    if not found:
        sys.exit("check_readme: the README has no ```sh block to run")
    with tempfile.TemporaryDirectory() as work:
        os.symlink(os.path.join(ROOT, "models"), os.path.join(work, "models"))
        environment = dict(os.environ, PATH=build + os.pathsep + os.environ["PATH"])
        for block in found:
            print(block, flush=True)
            if subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=work, env=environment, check=False).returncode:
                sys.exit(f"check_readme: failed:\n{block}")


if __name__ == "__main__":
    main()
