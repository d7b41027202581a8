#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the shape of the tree: who includes whom, sizes, licence lines, stray paths and markers, ISA conditionals.

Prints one line for each violation and exits with 1 if there is one; long functions below the hard limit are notes.
Usage: check_layers.py [--root DIR] | --self-test
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

FLOORS = [["base"], ["format", "codec"], ["kernels", "io", "text"], ["model"], ["gen", "quant", "eval"], ["plan"],
          ["report", "serve"], ["cli", "c", "api"]]
ONLY = {"text": {"base"}, "serve": {"gen", "model", "text", "base"}}  # narrower than their floor allows
FLOOR = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}

SIZED = ("src/", "include/", "tests/", "tools/", "bench/", "fuzz/")
MAX_LINES, MAX_MEDIAN = 500, 200
CPP = (".cc", ".h", ".c", ".def", ".cu", ".cuh")
SOURCE = CPP + (".py", ".sh", ".cmake", "CMakeLists.txt")
DATA = re.compile(r"(^|/)(data|golden|corpus)/|^models/")

MARKER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(home|root|work|Users)/\w")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
ISA_CONDITION = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif|elifdef)\b.*__AVX")
ISA_PLACE = re.compile(r"^src/(kernels/cpu/[^/]+\.h|base/cpu\.cc)$")
LITERAL = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)


def list_files(root):
    """Tracked and new files that git does not ignore; without git, everything but build output."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"], check=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        names = sorted(set(os.fsdecode(name) for name in out.split(b"\0") if name))
    except (OSError, subprocess.CalledProcessError):
        names = []
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(set(folders) - {".git", "build", "__pycache__", ".cache"})
            names += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(files)]
    return [name for name in names if os.path.isfile(os.path.join(root, name))]


def read_text(path):
    with open(path, "rb") as file:
        data = file.read()
    return None if b"\0" in data[:8192] else data.decode("utf-8", "replace")


def check_includes(name, lines):
    parts = name.split("/")
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        seen = target.split("/")[0]
        if parts[0] == "include":
            if seen != "codecllm":
                yield f"{name}:{number}: the public API includes {target}"
            continue
        own = parts[1]
        if own not in FLOOR:
            yield f"{name}:{number}: folder {own} stands on no floor"
        elif "/" not in target or seen not in FLOOR and seen != "codecllm":
            yield f"{name}:{number}: {target} is not spelled from src or include"
        elif seen in (own, "codecllm"):
            continue
        elif FLOOR[seen] >= FLOOR[own] or seen not in ONLY.get(own, FLOOR):
            yield f"{name}:{number}: {own} (floor {FLOOR[own]}) includes {target} (floor {FLOOR[seen]})"


def functions(text):
    """(first line, number of lines) of what looks like a function's body; nothing here parses C++."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0))
    text = DIRECTIVE.sub(blank, LITERAL.sub(blank, text))
    header, stack, line, first = "", [], 1, 0
    inside = 0  # braces open since the function's own
    for position, char in enumerate(text):
        if char == "\n":
            line += 1
        if inside:
            inside += (char == "{") - (char == "}")
            if inside == 0:
                yield first, line - first + 1
                rest = text[position + 1:position + 200].lstrip()
                header = header + "0" if rest[:1] in (",", "{") else ""  # it was a member's initializer
            continue
        if char == "{":
            scope = re.search(r"\b(namespace|class|struct|union|enum|extern)\b[^()]*$", header)
            if not scope and ")" in header and header.count("(") == header.count(")") and not header.rstrip().endswith("="):
                first, inside = line, 1
                continue
            stack.append(header)
            header = ""
        elif char == "}":
            if stack:
                stack.pop()
            header = ""
        elif char == ";":
            header = ""
        else:
            header += char


def check_functions(name, text, notes):
    limit = 150 if name.startswith("src/kernels/") else 60
    for first, count in functions(text):
        if count > 1.5 * limit:
            yield f"{name}:{first}: a function of {count} lines (limit {limit})"
        elif count > limit:
            notes.append(f"note: {name}:{first}: a function of {count} lines (limit {limit})")


def check_file(name, text, notes):
    lines = text.split("\n")
    data = DATA.search(name)
    cpp = name.endswith(CPP)
    if cpp and name.startswith(("src/", "include/")):
        yield from check_includes(name, lines)
    for number, line in enumerate(lines, 1):
        if MACHINE_PATH.search(line):
            yield f"{name}:{number}: a path of somebody's machine"
        if MARKER.search(line) and not data:
            yield f"{name}:{number}: a marker for unfinished work"
        if cpp and ISA_CONDITION.match(line) and not ISA_PLACE.match(name):
            yield f"{name}:{number}: an ISA conditional outside src/kernels/cpu/*.h and src/base/cpu.cc"
    if data or not (name.endswith(SOURCE) or text.startswith("#!")) or not text:
        return
    if not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:3]):
        yield f"{name}:1: no SPDX line"
    if name.startswith(SIZED):
        if len(lines) - 1 > MAX_LINES:
            yield f"{name}:1: {len(lines) - 1} lines (limit {MAX_LINES})"
        if cpp and not name.endswith(".def"):
            yield from check_functions(name, text, notes)


def check_tree(root):
    violations, notes, sizes = [], [], []
    for name in list_files(root):
        text = read_text(os.path.join(root, name))
        if text is None:
            continue
        name = name.replace(os.sep, "/")
        violations += check_file(name, text, notes)
        if name.startswith(SIZED) and name.endswith(SOURCE) and not DATA.search(name) and text:
            sizes.append(text.count("\n"))
    if sizes and statistics.median(sizes) > MAX_MEDIAN:
        violations.append(f"the median file has {statistics.median(sizes):g} lines (limit {MAX_MEDIAN})")
    return violations, notes, sizes


SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
GOOD = {
    "src/base/a.h": SPDX + '#include "codecllm/error.h"\n',
    "src/base/cpu.cc": SPDX + "#if defined(__AVX2__)\n#endif\n",
    "src/kernels/cpu/vec.h": SPDX + '#include "format/b.h"\n#ifdef __AVX2__\n#endif\n',
    "src/model/arch/x.cc": SPDX + '#include "model/spec.h"\n#include "io/c.h"\n#include "base/a.h"\n',
    "src/model/long.cc": SPDX + "namespace n {\nstruct S {\n  int f() const {\n" + "    g();\n" * 50 + "  }\n};\n" +
                         "S::S(int a) : b_{a}, c_(a) {\n" + "  h();\n" * 50 + "}\n" + "int t[] = {\n" + "  1,\n" * 100 + "};\n}\n",
    "src/kernels/dot.cc": SPDX + "void f(int a) {\n" + "  g('\"', \"}\");\n" * 120 + "}\n",
    "tests/model/data/config.json": "\n" * 900,
    "docs/long.md": "\n" * 900,
}
BAD = [  # what each breaks, a file, its text
    ("includes io/c.h (floor 2)", "src/kernels/bad.cc", SPDX + '#include "io/c.h"\n'),
    ("includes model/spec.h (floor 3)", "src/base/bad.h", SPDX + '#include "model/spec.h"\n'),
    ("includes format/b.h", "src/text/bad.cc", SPDX + '#include "format/b.h"\n'),
    ("includes quant/q.h (floor 4)", "src/eval/bad.cc", SPDX + '#include "quant/q.h"\n'),
    ("not spelled from src", "src/base/bad.cc", SPDX + '#include "a.h"\n'),
    ("stands on no floor", "src/attic/bad.cc", SPDX + '#include "base/a.h"\n'),
    ("the public API includes", "include/codecllm/bad.h", SPDX + '#include "base/a.h"\n'),
    ("600 lines (limit 500)", "tests/base/bad.cc", SPDX + "\n" * 599),
    ("a function of 102 lines", "src/model/bad.cc", SPDX + "namespace n {\nint f(int a) {\n" + "  g();\n" * 100 + "}\n}\n"),
    ("a function of 302 lines", "src/kernels/bad.cc", SPDX + "TEST(A, B) {\n" + "  g();\n" * 300 + "}\n"),
    ("no SPDX line", "tools/bad.py", "print(1)\n"),
    ("no SPDX line", "run", "#!/bin/sh\ntrue\n"),
    ("somebody's machine", "docs/bad.md", "see /ho" + "me/ann/model\n"),
    ("unfinished work", "docs/bad.md", "TO" + "DO: more\n"),
    ("an ISA conditional", "src/kernels/cpu/bad.cc", SPDX + "#ifdef __AVX512F__\n#endif\n"),
]


def self_test():
    def run(files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                    file.write(text)
            return check_tree(root)[0]

    failures = [f"a clean tree is blamed: {line}" for line in run(GOOD)]
    for expected, name, text in BAD:
        found = run({**GOOD, name: text})
        if len(found) != 1 or expected not in found[0]:
            failures.append(f"{name} should give one line with '{expected}', gave {found}")
    large = {f"src/base/f{i}.cc": SPDX + "\n" * 300 for i in range(9)}
    if not any("median" in line for line in run(large)):
        failures.append("a large median is not seen")
    print("\n".join(failures) or f"self-test: {len(BAD) + 2} trees judged as they should be")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--self-test", action="store_true", help="show that every rule can fail")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    violations, notes, sizes = check_tree(options.root)
    print("\n".join(notes + violations + [f"{len(sizes)} files, {len(violations)} violations, {len(notes)} notes"]))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
