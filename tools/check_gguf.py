#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that other programs read a GGUF file as it was meant.

FILE is a GGUF file that `codecllm convert` wrote, MODEL_DIR the model it was made from, in 16 or 32 bits.

  values     every tensor, dequantized by the gguf package, against MODEL_DIR's: the largest difference, which must be
             0 where FILE holds plain floats, and at most half a step of its block where it holds codes
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

from check_interchange import compare, load, logits, read_tensors

TEXTS = ["Once upon a time there was a fox.", "  two spaces, 123 and 4567", "caf\u00e9 \u4e16\u754c", "It's\n\na new line"]


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
        difference = float(np.abs(values - original).max())
        plain = tensor.tensor_type.name in ("F32", "F16", "BF16")
        steps = {"Q8_0": 127, "Q4_0": 8}.get(tensor.tensor_type.name, 1)
        allowed = 0.0 if plain else 1.01 * float(np.abs(original).max()) / steps
        if not difference <= allowed:
            problems.append(f"{tensor.name}: differs by {difference:.3e}, more than {allowed:.3e}")
        worst = max(worst, difference)
    if originals:
        problems.append(f"not in the file: {sorted(originals)}")
    print(f"values: {len(reader.tensors)} tensors, largest difference {worst:.3e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("model_dir", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    problems = []
    original = load(args.model_dir)
    check_values(args.file, args.model_dir, original.config, problems)

    loaded = transformers.AutoModelForCausalLM.from_pretrained(args.file.parent, gguf_file=args.file.name, dtype=torch.float32).eval()
    ids = torch.as_tensor(np.random.default_rng(1).integers(3, original.config.vocab_size, 32))
    compare("original / GGUF", logits(original, ids), logits(loaded, ids))

    theirs = transformers.AutoTokenizer.from_pretrained(args.file.parent, gguf_file=args.file.name)
    ours = transformers.AutoTokenizer.from_pretrained(args.model_dir)
    for text in TEXTS:
        a, b = (t(text, add_special_tokens=False)["input_ids"] for t in (theirs, ours))
        if a != b:
            problems.append(f"tokens of {text!r}: {a}, expected {b}")
    for problem in problems:
        print("FAILED:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
