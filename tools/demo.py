#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows what quantization keeps and what it costs, with the codecllm command on a small trained model.

Exits with 1 if INT8 does not reproduce at least 18 of 20 greedy continuations, or if the rescaled model does not show
the difference between one scale per channel and one per tensor.
"""
import argparse
import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time

from demo_rescale import rescale_model

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WIDTH, TOKENS, SLICE_BYTES = 106, 64, 24000
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
MIN_SAME = 18


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def title(text):
    print(f"\n{paint(text, 1)}\n{'=' * len(text)}")


class Codecllm:
    def __init__(self, binary, threads):
        self.binary, self.threads = binary, threads

    def attempt(self, command, *arguments):
        """(exit code, stdout, stderr)"""
        call = [self.binary, command, *map(str, arguments), "--json", "-q"]
        if self.threads:
            call += ["--threads", str(self.threads)]
        done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")

    def __call__(self, command, *arguments):
        code, out, error = self.attempt(command, *arguments)
        if code != 0:
            sys.exit(f"demo: {command} {' '.join(map(str, arguments))}\nexit code {code}: {error}")
        return json.loads(out)

    def generate(self, model, prompts):
        """The greedy continuation of every prompt: [(text, tokens)]."""
        answers = [self("generate", model, "-p", prompt, "-n", TOKENS, "--temperature", 0) for prompt in prompts]
        return [(answer["text"], answer["tokens"]) for answer in answers]


def ascii_safe(text):
    return "".join(char if 32 <= ord(char) < 127 else " " if char in "\n\t" else "?" for char in text)


def mark_differences(left, right):
    """Both texts; what only one has stands in brackets."""
    marked = [[], []]
    words = left.split(), right.split()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, *words, autojunk=False).get_opcodes():
        for side, piece in enumerate((words[0][a:b], words[1][c:d])):
            marked[side] += piece if tag == "equal" or not piece else [f"[{' '.join(piece)}]"]
    return [" ".join(side) for side in marked]


def tint(lines, width):
    """Pads first, as colour takes no room; a bracket may close on a later line."""
    inside, cells = False, []
    for line in lines:
        cell, run = "", ""
        for char in line.ljust(width):
            if char == "[" and not inside:
                cell, run, inside = cell + run, "", True
            run += char
            if char == "]" and inside:
                cell, run, inside = cell + paint(run, "31;1"), "", False
        cells.append(cell + (paint(run, "31;1") if inside else run))
    return cells


def columns(heads, texts, prompt):
    width = (WIDTH - 7) // 2
    rule = "+" + "+".join(["-" * (width + 2)] * 2) + "+"
    wrapped = [textwrap.wrap(text, width) or [""] for text in mark_differences(*map(ascii_safe, texts))]
    rows = max(map(len, wrapped))
    sides = [tint(side + [""] * (rows - len(side)), width) for side in wrapped]
    print(f"+{'-' * (2 * width + 5)}+")
    for line in textwrap.wrap("> " + ascii_safe(prompt), 2 * width + 3):
        print(f"| {paint(line.ljust(2 * width + 3), 36)} |")
    print(rule)
    print("| " + " | ".join(head.ljust(width) for head in heads) + " |")
    print(rule)
    for cells in zip(*sides):
        print("| " + " | ".join(cells) + " |")
    print(rule)


def table(head, rows):
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    align = lambda row: [cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))]
    print(rule)
    print("| " + " | ".join(align(head)) + " |")
    print(rule)
    for row in rows:
        print("| " + " | ".join(align(row)) + " |")
    print(rule)


def count_same(left, right):
    return sum(a[1] == b[1] for a, b in zip(left, right))


def show_generation(run, models, prompts):
    title(f"{len(prompts)} prompts, {TOKENS} tokens each, greedy: BF16 against INT8 (one scale per channel)")
    plain, int8 = run.generate(models["bf16"], prompts), run.generate(models["int8"], prompts)
    same = count_same(plain, int8)
    differing = [i for i in range(len(prompts)) if plain[i][1] != int8[i][1]]
    paris = next((i for i, prompt in enumerate(prompts) if "France" in prompt), 0)
    chosen = list(dict.fromkeys([paris] + differing + list(range(len(prompts)))))[:3]
    for i in chosen:
        columns(["BF16", "INT8"], [plain[i][0], int8[i][0]], prompts[i])
    print(f"{same} of {len(prompts)} continuations are the same token for token "
          f"(what differs stands in [brackets]; {MIN_SAME} are asked for)")
    return plain, int8, same >= MIN_SAME * len(prompts) / 20


def show_rescaling(run, models, prompts, plain, int8, text):
    title("The same function written with other numbers: why one scale per tensor is not enough")
    print(textwrap.fill("Queries are multiplied and keys divided by powers of two between 2^-7 and 2^6, one for each pair "
                        "of rows that rotates together. In BF16 nothing changes. INT8 with one scale per channel "
                        "absorbs the factors in its scales; with one scale per tensor, small rows round to zero.", WIDTH))
    rescaled = run.generate(models["rescaled"], prompts)
    channel = run.generate(models["rescaled-int8"], prompts)
    tensor = run.generate(models["rescaled-int8-tensor"], prompts)
    columns(["rescaled, INT8 per channel", "rescaled, INT8 per tensor"], [channel[0][0], tensor[0][0]], prompts[0])
    perplexity = {name: run("perplexity", models[name], "--text", text)["perplexity"]
                  for name in ("bf16", "rescaled", "int8", "rescaled-int8", "int8-tensor", "rescaled-int8-tensor")}
    counts = {"rescaled": ("bf16", count_same(rescaled, plain)), "rescaled-int8": ("int8", count_same(channel, int8)),
              "rescaled-int8-tensor": ("int8", count_same(tensor, int8))}
    table(["model", "perplexity", "not rescaled", "same texts as"],
          [[name, f"{perplexity[name]:.3f}", f"{perplexity[name.replace('rescaled-', '').replace('rescaled', 'bf16')]:.3f}",
            f"{other}: {same} of {len(prompts)}"] for name, (other, same) in counts.items()])
    fails = counts["rescaled-int8-tensor"][1] <= len(prompts) // 2 and \
        perplexity["rescaled-int8-tensor"] > 1.1 * perplexity["int8"]
    return counts["rescaled-int8"][1] == len(prompts), fails


def show_table(run, models, text, tasks):
    title("Size, accuracy and speed")
    names = ["bf16", "int8", "int8-g128", "int4-g128"]
    bench = {row["name"]: row for row in run("bench", *(models[name] for name in names))["runs"]}
    rows, base = [], None
    for name in names:
        scores = run("perplexity", models[name], "--text", text, "--reference", models["bf16"])
        accuracy = run("evaluate", models[name], "--tasks", tasks)["accuracy"]
        base = base or scores["perplexity"]
        speed = bench[models[name]]
        rows.append([name, f"{speed['weight_bytes'] / 1e6:.2f}", f"{speed['bits_per_weight']:.2f}",
                     f"{scores['perplexity']:.3f}", f"{scores['perplexity'] / base:.4f}", f"{scores['kl_mean']:.5f}",
                     f"{accuracy:.1%}", f"{speed['prefill_tok_s']:.0f}", f"{speed['decode_tok_s']:.0f}",
                     f"{speed['peak_rss_bytes'] / 1e6:.0f}"])
        if name == "int8":
            int8_ratio = scores["perplexity"] / base
    table(["model", "size MB", "bits/weight", "perplexity", "ratio", "KL", "accuracy", "prefill tok/s", "decode tok/s", "peak MB"], rows)
    return int8_ratio


def make_models(run, model, folder):
    title(f"Quantizing {os.path.relpath(model, ROOT)}")
    models = {"bf16": model}

    def quantize(source, scheme, name):
        models[name] = os.path.join(folder, name)
        arguments = ["quantize", source, "-o", models[name], "--scheme", scheme]
        code, out, error = run.attempt(*arguments)
        if code == 1:  # refused as garbage; the demo wants to show what it would have been
            print(textwrap.fill(f"{name} is refused: {error.strip()}", WIDTH, subsequent_indent="    "))
            _, out, _ = run.attempt(*arguments, "--force")
        made = json.loads(out)
        print(f"{name:21s} {made['weight_bytes'] / 1e6:7.2f} MB  {made['bits_per_weight']:6.2f} bits per weight  "
              f"{made['seconds']:6.2f} s")

    for scheme in ("int8", "int8-g128", "int4-g128", "int8-tensor"):
        quantize(model, scheme, scheme)
    models["rescaled"] = os.path.join(folder, "rescaled")
    rescale_model(model, models["rescaled"])
    for scheme in ("int8", "int8-tensor"):
        quantize(models["rescaled"], scheme, "rescaled-" + scheme)
    return models


def write_slice(source, target):
    """The first lines of the held-out text, about SLICE_BYTES of them: enough to compare, short enough to wait for."""
    with open(source, encoding="utf-8") as file:
        text = file.read(SLICE_BYTES)
    with open(target, "w", encoding="utf-8") as file:
        file.write(text[:text.rfind("\n") + 1] or text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "codecllm"))
    parser.add_argument("--model", default=os.path.join(ROOT, "models", "codecllm-stories"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--keep", metavar="DIR", help="a new directory for the quantized models, which then stay")
    options = parser.parse_args()
    started = time.monotonic()
    if options.keep:
        os.makedirs(options.keep)
    folder = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="codecllm-demo-")
    try:
        with open(os.path.join(options.model, "prompts.txt"), encoding="utf-8") as file:
            prompts = [line.rstrip("\n") for line in file if line.strip()][:20]
        text = os.path.join(folder, "heldout-slice.txt")
        write_slice(os.path.join(options.model, "heldout.txt"), text)
        run = Codecllm(options.binary, options.threads)
        models = make_models(run, options.model, folder)
        plain, int8, kept = show_generation(run, models, prompts)
        channel_same, tensor_fails = show_rescaling(run, models, prompts, plain, int8, text)
        int8_ratio = show_table(run, models, text, os.path.join(options.model, "questions.jsonl"))
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    title("Result")
    checks = [("INT8 keeps the greedy texts", kept), ("INT8 perplexity: at most 1.002 of BF16's", int8_ratio <= 1.002), ("per channel: rescaling changes no text", channel_same),
              ("per tensor: rescaling ruins the texts", tensor_fails)]
    for what, good in checks:
        print(f"{what:42s} {paint('yes', 32) if good else paint('NO', 31)}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if all(good for _, good in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
