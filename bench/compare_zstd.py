#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`codecllm compress` beside zstd -3 and -19, one thread each: sizes, and MB/s of the original file both ways.

    bench/compare_zstd.py build/release/codecllm

Files: the model that ships, and made-up BF16 weights drawn from a Student-t distribution with five degrees of freedom. Both
sides read and write files; medians of --rounds turns (zstd -19 packs once).
"""
import argparse
import array
import json
import math
import os
import random
import statistics
import struct
import subprocess
import tempfile
import time


def heavy_tailed(path, weights):
    """One BF16 tensor; values are picked from 65536 draws, which keeps the distribution and takes seconds."""
    rng = random.Random(1)
    draws = array.array("f", (0.02 * rng.gauss(0, 1) / math.sqrt(rng.gammavariate(2.5, 2) / 5) for _ in range(65536)))
    bits = array.array("I")
    bits.frombytes(draws.tobytes())
    table = [value >> 16 for value in bits]
    header = json.dumps({"weight": {"dtype": "BF16", "shape": [weights // 1024, 1024], "data_offsets": [0, 2 * weights]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(weights >> 20):
            file.write(array.array("H", rng.choices(table, k=1 << 20)).tobytes())


def timed(*command):
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codecllm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megaweights", type=int, default=24)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made_up, packed, unpacked = (f"{folder}/{name}" for name in ("made_up.safetensors", "packed", "unpacked"))
        heavy_tailed(made_up, args.megaweights << 20)
        print("| file | | size | MB/s packed | MB/s unpacked |\n|---|---|---|---|---|")
        for label, source in (("model that ships", "models/codecllm-stories/model.safetensors"), ("Student-t5", made_up)):
            size = os.path.getsize(source)
            ours = [args.codecllm, "compress", source, "-o", packed, "--threads", "1", "-q"], [args.codecllm, "decompress", packed, "-o", unpacked, "--threads", "1", "-q"]
            sides = {"codecllm compress": (*ours, args.rounds)}
            for level in (3, 19):
                sides[f"zstd -{level}"] = (["zstd", f"-{level}", "-T1", "-f", "-q", source, "-o", packed], ["zstd", "-d", "-f", "-q", packed, "-o", unpacked],
                                           1 if level == 19 else args.rounds)
            for name, (pack, unpack, rounds) in sides.items():
                times = []
                for _ in range(args.rounds):
                    for path in (packed, unpacked) if rounds > 1 or not times else (unpacked,):
                        if os.path.exists(path):
                            os.unlink(path)
                    times.append((timed(*pack) if rounds > 1 or not times else times[0][0], timed(*unpack)))
                subprocess.run(["cmp", source, unpacked], check=True)
                speed = [size / 1e6 / statistics.median(column) for column in zip(*times)]
                print(f"| {label}, {size / 1e6:.1f} MB | {name} | {os.path.getsize(packed) / size:.4f} | {speed[0]:.0f} | {speed[1]:.0f} |", flush=True)


main()
