#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a GPTQ or AWQ checkpoint that `codecllm convert` wrote, with a reader of its own in NumPy.

GROUPED_DIR holds the checkpoint, MODEL_DIR what it was made from: a compressed-tensors checkpoint, whose values it must
have bit by bit, or a plain model, from which it may be off by half a step.

Usage: check_grouped.py GROUPED_DIR MODEL_DIR
"""
import argparse
import json
import pathlib
import sys

import numpy as np

from check_interchange import dequantize, read_tensors

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def fields(words, bits):
    """The numbers of int32 words along the last axis, least significant first: [..., W] -> [..., W * 32 / bits]"""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    numbers = (words.astype(np.uint32)[..., None] >> shifts) & ((1 << bits) - 1)
    return numbers.reshape(*words.shape[:-1], -1).astype(np.int32)


def awq_fields(words):
    stored = fields(words, 4).reshape(words.shape[0], -1, 8)
    out = np.empty_like(stored)
    out[..., AWQ_ORDER] = stored
    return out.reshape(words.shape[0], -1)


def weight(tensors, module, settings):
    """[out, in], and the scales [out, in]"""
    words, zeros = (tensors[f"{module}.{part}"].numpy() for part in ("qweight", "qzeros"))
    scales = tensors[module + ".scales"].float().numpy()
    if settings["quant_method"] == "awq":
        codes, zeros = awq_fields(words), awq_fields(zeros)
        group_of = np.arange(len(codes)) // (len(codes) // len(scales))
    else:
        bits = settings["bits"]
        codes = fields(words.T, bits).T
        zeros = fields(zeros, bits) + (settings.get("checkpoint_format", "gptq") == "gptq")
        group_of = tensors[module + ".g_idx"].numpy()
    return (scales[group_of] * (codes - zeros[group_of])).T, scales[group_of].T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grouped_dir", type=pathlib.Path)
    parser.add_argument("model_dir", type=pathlib.Path)
    args = parser.parse_args()
    settings = json.loads((args.grouped_dir / "config.json").read_text())["quantization_config"]
    tensors, source = read_tensors(args.grouped_dir), read_tensors(args.model_dir)
    modules = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    exact, worst, bad = 0, 0.0, []
    for module in modules:
        got, scales = weight(tensors, module, settings)
        if module + ".weight_packed" in source:
            parts = {part: source[f"{module}.{part}"] for part in ("weight_packed", "weight_scale", "weight_shape")}
            expected, allowed = dequantize(parts)[0].numpy(), 0.0
        else:
            expected, allowed = source[module + ".weight"].float().numpy(), 0.51 * scales
        difference = np.abs(got - expected)
        exact += int(not difference.any())
        worst = max(worst, float(difference.max()))
        if not (difference <= allowed).all():
            bad.append(module)
    print(f"{len(modules)} layers, {exact} bit-exact, largest difference {worst:.3e}")
    for module in bad:
        print("FAILED:", module)
    return 1 if bad or not modules else 0


if __name__ == "__main__":
    sys.exit(main())
