#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that other programs read a GGUF file as it was meant.

FILE is a GGUF file that `codecllm convert` wrote, MODEL_DIR the model it was made from, in 16 or 32 bits.

  values     every tensor, dequantized by the gguf package, against MODEL_DIR's: the largest difference, which must be
             0 where FILE holds plain floats (in F16 half of its smallest number), and at most half a step of its block
             where it holds codes (a whole one at that end of a Q4_0 block where the codes end at 7)
  logits     FILE as transformers loads it against MODEL_DIR
  tokens     the tokenizer that transformers makes of FILE against MODEL_DIR's

Usage: check_gguf.py FILE MODEL_DIR    (needs the packages gguf, torch and transformers)
"""
import argparse
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers

from check_interchange import compare, load, logits, read_tensors, verdict

TEXTS = ["Once upon a time there was a fox.", "  two spaces, 123 and 4567", "caf\u00e9 \u4e16\u754c", "It's\n\na new line"]

# The largest error over the largest magnitude of a block; its scale is rounded to F16.
STEPS = {"Q8_0": 0.5 / 127 + 2**-11, "Q4_0": 1 / 8 + 2**-11}


def back(weight, heads):
    """Undoes llama.cpp's order of q's and k's rows."""
    rows = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def check_values(path, folder, config, problems):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    originals = {names.get_name(name, try_suffixes=(".weight", ".bias")): tensor.float().numpy()
                 for name, tensor in read_tensors(folder).items()}
    reader = gguf.GGUFReader(path)
    permuted = bytes(reader.fields["general.architecture"].parts[-1]) == b"llama"
    worst = 0.0
    for tensor in reader.tensors:
        if tensor.name not in originals:
            continue
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        if permuted and ".attn_q." in tensor.name:
            values = back(values, config.num_attention_heads)
        if permuted and ".attn_k." in tensor.name:
            values = back(values, config.num_key_value_heads)
        original = originals.pop(tensor.name).astype(np.float64)
        error, size = np.abs(values - original), np.abs(original)
        if tensor.tensor_type.name in STEPS:
            size = size.reshape(-1, 32).max(1).repeat(32).reshape(size.shape)
        smallest = 2**-25 if tensor.tensor_type.name == "F16" else 0
        if not (error <= STEPS.get(tensor.tensor_type.name, 0) * size + smallest).all():
            problems.append(f"{tensor.name}: differs by up to {error.max():.3e}")
        worst = max(worst, float(error.max()))
    if originals:
        problems.append(f"not in the file: {sorted(originals)}")
    print(f"values: {len(reader.tensors)} tensors, largest difference {worst:.3e}")


def check(path, folder):
    """What is wrong, in sentences."""
    problems = []
    original = load(folder)
    check_values(path, folder, original.config, problems)

    loaded = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    ids = torch.as_tensor(np.random.default_rng(1).integers(3, original.config.vocab_size, 32))
    compare("original / GGUF", logits(original, ids), logits(loaded, ids))

    theirs = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    ours = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        a, b = (t(text, add_special_tokens=False)["input_ids"] for t in (theirs, ours))
        if a != b:
            problems.append(f"tokens of {text!r}: {a}, expected {b}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("model_dir", type=pathlib.Path)
    args = parser.parse_args()
    return verdict(lambda: check(args.file, args.model_dir))


if __name__ == "__main__":
    sys.exit(main())
