#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that other programs load what codecllm writes, scheme by scheme and layout by layout, and compute the same.

A small random Llama is quantized with every scheme that compressed-tensors expresses, and check_interchange.py runs on the
result. Then it is converted to GPTQ, AWQ and FP8 blocks; what GPTQModel and transformers load must give the logits of the
same weights as transformers loads them from the compressed-tensors directory.

Usage: check_readers.py CODECLLM [NAME ...]    (in the root of the tree; GPTQModel for gptq-* and awq-*)
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

from check_interchange import check, compare, logits
from dump_interchange import plain, save_tokenizer

SCHEMES = ["int8", "int8-g128", "int8-g32", "int8-asym", "int4", "int4-g128", "int4-g32", "int4-g64-asym", "w8a8", "fp8", "fp8-channel", "fp8-block"]
# layout, the scheme it is converted from
LAYOUTS = [("gptq", "int8"), ("gptq", "int4-g128"), ("gptq", "int4-g64-asym"), ("awq", "int4-g128"), ("awq", "int4-g64-asym"),
           ("fp8-block", "fp8-block"), ("fp8-block", "fp8")]
TOLERANCE = 0.02  # of the largest logit: they compute in 16 bits


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def with_gptqmodel(folder):
    import os
    os.cpu_count = lambda: 8  # with fewer it finds no threads to load with
    from gptqmodel import GPTQModel
    return GPTQModel.load(str(folder), device="cpu", backend="torch", dtype=torch.float16).model.float()


def with_transformers(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=transformers.FineGrainedFP8Config(dequantize=True)).float()


def dequantized(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=transformers.CompressedTensorsConfig(dequantize=True))


def main():
    binary, wanted, bad = sys.argv[1], sys.argv[2:], []
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        model = work / "plain"
        plain(128, 384).save_pretrained(model)
        save_tokenizer(model)
        ids = torch.arange(3, 35)
        for scheme in SCHEMES:
            if wanted and scheme not in wanted:
                continue
            print(f"\n{scheme}")
            run(binary, "quantize", model, "-o", work / scheme, "--scheme", scheme, "-q")
            bad += [f"{scheme}: {problem}" for problem in check(work / scheme, model)]
        for layout, scheme in LAYOUTS:
            target = work / f"{layout}-{scheme}"
            if wanted and target.name not in wanted:
                continue
            print(f"\n{target.name}")
            if not (work / scheme).exists():
                run(binary, "quantize", model, "-o", work / scheme, "--scheme", scheme, "-q")
            run(binary, "convert", work / scheme, "-o", target, "--to", layout, "-q")
            loaded = with_transformers(target) if layout == "fp8-block" else with_gptqmodel(target)
            expected = logits(dequantized(work / scheme), ids)
            difference = compare("dequantized / loaded", expected, logits(loaded.eval(), ids))
            if not difference <= TOLERANCE * float(expected.abs().max()):
                bad.append(f"{target.name}: logits differ by {difference:.3e}")
    for problem in bad:
        print("FAILED:", problem)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
