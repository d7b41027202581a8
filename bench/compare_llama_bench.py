#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our speed beside that of an engine with llama.cpp's `llama-bench`: both sides in turns, medians in one table.

    bench/compare_llama_bench.py --llama-bench PATH --gguf a.gguf --gguf b.gguf --scheme int8 --scheme int4-g128

The GGUF files hold the same shape as --shape. Give several --llama-bench for several engines; each runs every file that
it can read. Every round runs each side once, so that a machine whose speed changes from second to second is fair to all.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        return None
    return json.loads(done.stdout)


def rival_round(binary, gguf, args):
    """(prefill, decode) in tokens per second; None where the engine cannot read the file."""
    rows = run_json([binary, "-m", gguf, "-p", str(args.prompt_tokens), "-n", str(args.decode_tokens),
                     "-t", str(args.threads), "-r", "1", "-o", "json"])
    if not rows:
        return None
    prefill = [row["avg_ts"] for row in rows if row["n_prompt"] > 0 and row["n_gen"] == 0]
    decode = [row["avg_ts"] for row in rows if row["n_gen"] > 0 and row["n_prompt"] == 0]
    return (prefill[0], decode[0]) if prefill and decode else None


def engine_name(binary, binaries):
    """The first folder above the binary that no other binary shares: build/llama.cpp/bin/llama-bench is llama.cpp."""
    folders = [os.path.abspath(other).split(os.sep)[:-1] for other in binaries]
    own = os.path.abspath(binary).split(os.sep)[:-1]
    return next((folder for folder in reversed(own) if sum(folder in other for other in folders) == 1), own[-1])


def our_round(scheme, compute, args):
    """(prefill, decode, machine)"""
    out = run_json([args.codecllm, "bench", "--shape", args.shape, "--scheme", scheme, "--compute", compute,
                    "--threads", str(args.threads), "--rounds", "1", "--prompt-tokens", str(args.prompt_tokens),
                    "--decode-tokens", str(args.decode_tokens), "--batch", "1", "--json", "-q"])
    if out is None:
        sys.exit(f"codecllm bench --scheme {scheme} failed")
    row = out["runs"][0]
    return row["prefill_tok_s"], row["decode_tok_s"], out["machine"]


def print_table(results, machines, args):
    read = [m["read_bytes_s"] / 1e9 for m in machines]
    cores = [m["two_over_one"] for m in machines]
    print(f"{args.shape}, {args.threads} thread(s), {args.rounds} rounds, {machines[0]['cpu']}, reads "
          f"{statistics.median(read):.1f} GB/s ({min(read):.1f}-{max(read):.1f}), compute of all threads over an even share "
          f"{statistics.median(cores):.2f}")
    print("\n| | prefill tok/s | decode tok/s |\n|---|---|---|")
    for name, rounds in results.items():
        cells = []
        for values in zip(*rounds):
            cells.append(f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-bench", action="append", required=True, help="path of a llama-bench; repeatable")
    parser.add_argument("--gguf", action="append", required=True, help="a model for it; repeatable")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--codecllm", default=os.path.join(here, "..", "build", "release", "codecllm"))
    parser.add_argument("--shape", default="tinyllama-1.1b")
    parser.add_argument("--scheme", action="append", help="ours, repeatable; scheme:a8 for INT8 activations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--decode-tokens", type=int, default=32)
    args = parser.parse_args()
    for binary in [args.codecllm, *args.llama_bench]:
        if not os.access(binary, os.X_OK):
            sys.exit(f"{binary} is not a program that can be run")
    results, machines, unreadable = {}, [], set()
    for _ in range(args.rounds):
        for binary in args.llama_bench:
            for gguf in args.gguf:
                name = f"{engine_name(binary, args.llama_bench)}/{os.path.basename(gguf)}"
                measured = None if name in unreadable else rival_round(binary, gguf, args)
                if measured is None:
                    unreadable.add(name)
                else:
                    results.setdefault(name, []).append(measured)
        for scheme in args.scheme or ["bf16", "int8", "int8:a8", "int4-g128"]:
            element, _, compute = scheme.partition(":")
            prefill, decode, machine = our_round(element, compute or "a16", args)
            results.setdefault(f"codecllm {element} {compute or 'a16'}", []).append((prefill, decode))
            machines.append(machine)
    for name in sorted(unreadable):
        print(f"note: {name} did not run", file=sys.stderr)
    print_table(results, machines, args)


if __name__ == "__main__":
    main()
