#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that other programs load what codecllm writes, scheme by scheme and layout by layout, and compute the same.

A small random Llama is quantized with every scheme that compressed-tensors expresses, and check_interchange.py runs on the
result. Then it is converted to GPTQ, AWQ and FP8 blocks; what GPTQModel and transformers load must give the logits of the
same weights, dequantized from the compressed-tensors directory.

Usage: check_readers.py CODECLLM [NAME ...]    (in the root of the tree; GPTQModel for gptq-* and awq-*)
"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers

from check_interchange import check, compare, logits, rebuild_by_hand, verdict
from dump_interchange import LETTERS, plain, run, save_tokenizer, with_gptqmodel

SCHEMES = ["int8", "int8-g128", "int8-g32", "int8-asym", "int4", "int4-g128", "int4-g32", "int4-g64-asym", "w8a8", "w8a8-asym",
           "w8a8-static", "w8a8-static-asym", "w8a8-tensor", "int8-tensor", "int4-g256", "int2", "int3", "int5", "int6", "int7", "fp8",
           "fp8-channel", "fp8-block"]
FLOAT8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
TENSOR8 = {"num_bits": 8, "type": "float", "strategy": "tensor"}
# What has no name: steps of a recipe. Activations from calibration where a step is not dynamic.
RECIPES = {
    "mixed": [{"scheme": "int4-g32", "targets": ["mlp"]}, {"scheme": "w8a8", "targets": ["attention"]}],
    "fp8-weights": [{"scheme": {"weights": FLOAT8}}],
    "fp8-static": [{"scheme": {"weights": TENSOR8, "input_activations": TENSOR8}}],
}
# layout, the scheme it is converted from
LAYOUTS = [("gptq", "int8"), ("gptq", "int4-g128"), ("gptq", "int4-g64-asym"), ("awq", "int4-g128"), ("awq", "int4-g64-asym"),
           ("fp8-block", "fp8-block"), ("fp8-block", "fp8")]
# Of the largest logit. transformers reads FP8 blocks as we do, to the bit; GPTQModel multiplies GPTQ's weights in F32, in another
# order, and AWQ's as F16: 2^-11 of a value, in seven products one after another.
TOLERANCE = {"fp8-block": 0, "gptq": 1e-5, "awq": 7 * 2**-11}


def with_transformers(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=transformers.FineGrainedFP8Config(dequantize=True)).float()


def dequantized(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=transformers.CompressedTensorsConfig(dequantize=True))


def quantize(binary, work, scheme):
    if scheme in RECIPES:
        (work / "recipe.json").write_text(json.dumps({"version": 1, "steps": RECIPES[scheme]}))
    run(binary, "quantize", work / "plain", "-o", work / scheme, "-q", *(("--recipe", work / "recipe.json") if scheme in RECIPES else ("--scheme", scheme)),
        *(("--calibrate", work / "text", "--samples", 8) if "static" in scheme else ()))


def check_layout(binary, work, layout, scheme):
    target = work / f"{layout}-{scheme}"
    run(binary, "convert", work / scheme, "-o", target, "--to", layout, "-q")
    loaded = with_transformers(target) if layout == "fp8-block" else with_gptqmodel(target)
    ids = torch.arange(3, 35)
    exact = dequantized(work / scheme) if layout == "fp8-block" else rebuild_by_hand(work / scheme, work / "plain", as_loaded=False)
    expected = logits(exact, ids)
    difference = compare("dequantized / loaded", expected, logits(loaded.eval(), ids)) / float(expected.abs().max())
    print(f"of the largest logit: {difference:.2e}")
    return [] if difference <= TOLERANCE[layout] else [f"logits differ by {difference:.2e} of the largest"]


def check_all(binary, wanted, work):
    """What is wrong, in sentences."""
    bad = []
    plain(128, 384).save_pretrained(work / "plain")
    save_tokenizer(work / "plain")
    letters = np.random.default_rng(2).choice([*LETTERS, " "], 1024)
    (work / "text").write_text("".join(letters))
    for layout, scheme in [(None, scheme) for scheme in [*SCHEMES, *RECIPES]] + LAYOUTS:
        name = f"{layout}-{scheme}" if layout else scheme
        if wanted and name not in wanted:
            continue
        print(f"\n{name}")
        if not (work / scheme).exists():
            quantize(binary, work, scheme)
        problems = check_layout(binary, work, layout, scheme) if layout else check(work / scheme, work / "plain")
        bad += [f"{name}: {problem}" for problem in problems]
    return bad


def main():
    with tempfile.TemporaryDirectory() as work:
        return verdict(lambda: check_all(sys.argv[1], sys.argv[2:], pathlib.Path(work)))


if __name__ == "__main__":
    sys.exit(main())
