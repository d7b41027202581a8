#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that transformers reads a compressed-tensors checkpoint as it was meant.

MODEL_DIR holds a checkpoint in the pack-quantized (int weights of 1 to 8 bits),
int-quantized or float-quantized format, ORIGINAL_DIR the model it was made from. Three
models run on the same tokens, in float32 on the CPU; where the checkpoint quantizes
activations, the first two do, by compressed-tensors' own rule (amax / 127.5, amax / 448, or the range from the smallest to
the largest) or with the scale that is stored:

  loaded    MODEL_DIR as transformers and compressed-tensors load it
  by hand   the original model with the weights dequantized here, from the bytes on disk
  original  ORIGINAL_DIR as it is

Packed zero points transformers 5.23 loads only with CompressedTensorsConfig(dequantize=True), whoever wrote them: the shape
that compressed-tensors 0.20 prepares for them without data is the unpacked one. They are loaded so here; that way the
weights are rounded to the type of their scales.

The check fails (exit status 1) when `loaded` and `by hand` differ by more than
--tolerance in any logit, or when transformers misses or does not know a tensor.
The distance to `original` is only reported: it is the loss of the quantization.

Usage: check_interchange.py MODEL_DIR ORIGINAL_DIR [--prompt-ids ID ...]
"""

import argparse
import collections
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

PARTS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "input_scale", "input_zero_point")


def read_tensors(folder):
    """All tensors of a checkpoint, of one file or of several with an index."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        files = ["model.safetensors"]
    tensors = {}
    for name in files:
        tensors.update(load_file(folder / name))
    return tensors


def unpack(packed, bits, columns):
    """The signed codes of int32 words [N, W] that hold each row as one string of bits,
    least significant bit first; a code is stored with 2^(bits-1) added."""
    stream = np.unpackbits(np.ascontiguousarray(packed.astype("<i4")).view(np.uint8),
                           axis=1, bitorder="little")
    fields = stream[:, :columns * bits].reshape(len(packed), columns, bits)
    return (fields.astype(np.int32) << np.arange(bits)).sum(-1) - (1 << (bits - 1))


def spread(values, rows, columns, block):
    """Scales or zero points, one for each weight: [1], [N, 1], [N, groups] or one a block."""
    if block:
        return values.repeat(block[0], 0)[:rows].repeat(block[1], 1)[:, :columns]
    values = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(1, 1)
    assert columns % values.shape[1] == 0
    return np.broadcast_to(values.repeat(columns // values.shape[1], 1), (rows, columns))


def dequantize_bytes(parts, block):
    """One byte a code: int8, or 8-bit floats, which torch converts."""
    codes = parts["weight"].float().numpy()
    scale = spread(parts["weight_scale"].float().numpy(), *codes.shape, block)
    zero = parts["weight_zero_point"].float().numpy() if "weight_zero_point" in parts else np.zeros((1, 1))
    weight = ((codes - spread(zero, *codes.shape, None)) * scale).astype(np.float32)
    return torch.from_numpy(weight), str(parts["weight"].dtype)


def dequantize(parts):
    rows, columns = (int(n) for n in parts["weight_shape"])
    packed = parts["weight_packed"].numpy()
    bits = 32 * packed.shape[1] // columns  # exact for 32 columns or more
    codes = unpack(packed, bits, columns)
    scale = parts["weight_scale"].float().numpy()
    scale = scale.reshape(-1, 1) if scale.ndim < 2 else scale  # one for the tensor
    zero = np.zeros(scale.shape, np.int32)
    if "weight_zero_point" in parts:  # packed along the other axis
        zero = unpack(parts["weight_zero_point"].numpy().T, bits, rows).T
    assert codes.shape == (rows, columns) and columns % scale.shape[1] == 0
    group = columns // scale.shape[1]
    weight = (codes - zero.repeat(group, 1)).astype(np.float32) * scale.repeat(group, 1)
    return torch.from_numpy(weight), f"{bits} bits"


def input_grid(x, args, parts):
    """Scale and zero point of a group of a layer's inputs, or of all of them."""
    if "input_scale" in parts:
        return parts["input_scale"].float(), parts.get("input_zero_point", torch.zeros(1)).float()
    dims = (0, 1, 2, 3) if args["strategy"] == "tensor" else -1
    low, high = x.amin(dims, keepdim=True).clamp(max=0), x.amax(dims, keepdim=True).clamp(min=0)
    scale = torch.maximum(-low, high) / (448.0 if args["type"] == "float" else 127.5) if args["symmetric"] else (high - low) / 255
    scale = torch.where(scale == 0, torch.finfo(scale.dtype).eps, scale)
    return scale, torch.zeros(1) if args["symmetric"] else (-128 - low / scale).clamp(-128, 127).round()


def round_inputs(args, parts):
    """A hook that rounds a layer's input as compressed-tensors does at run time."""
    def hook(_, inputs):
        x = inputs[0]
        size = args["group_size"] if args["strategy"] == "group" else x.shape[-1]
        groups = x.reshape(*x.shape[:-1], -1, size)
        scale, zero = input_grid(groups, args, parts)
        codes = groups / scale + zero
        if args["type"] == "float":
            codes = codes.clamp(-448, 448).to(torch.float8_e4m3fn).float()
        else:
            codes = codes.round().clamp(-128, 127)
        return (((codes - zero) * scale).reshape(x.shape),)
    return hook


def group_of(module, groups):
    """The one group, or that which names the module among its targets."""
    return next(group for group in groups.values() if len(groups) == 1 or module in group["targets"])


def rebuild_by_hand(folder, original_folder, as_loaded=True):
    """The original model with every tensor taken from the quantized checkpoint; as_loaded: rounded where transformers does."""
    model = load(original_folder)
    packed, parameters = {}, dict(model.named_parameters(remove_duplicate=False))
    groups = json.loads((folder / "config.json").read_text())["quantization_config"]["config_groups"]
    for name, tensor in read_tensors(folder).items():
        module, _, part = name.rpartition(".")
        if part in PARTS or tensor.dtype in (torch.int8, torch.float8_e4m3fn):
            packed.setdefault(module, {})[part] = tensor
        else:
            parameters[name].data.copy_(tensor)
    widths = collections.Counter()
    for module, parts in packed.items():
        group = group_of(module, groups)
        block, inputs = group["weights"].get("block_structure"), group.get("input_activations")
        weight, bits = dequantize_bytes(parts, block) if "weight" in parts else dequantize(parts)
        if as_loaded and "weight_zero_point" in parts and "weight_packed" in parts:
            weight = weight.to(parts["weight_scale"].dtype).float()
        if inputs:
            model.get_submodule(module).register_forward_pre_hook(round_inputs(inputs, parts))
        widths[bits] += 1
        assert weight.shape == parameters[module + ".weight"].shape, module
        model.get_submodule(module).weight = torch.nn.Parameter(weight)
    print("quantized weights:", ", ".join(f"{n} of {bits}" for bits, n in widths.items()))
    return model


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()


def packed_zero_points(folder):
    settings = json.loads((folder / "config.json").read_text()).get("quantization_config", {})
    return settings.get("format") == "pack-quantized" and any(
        not group["weights"]["symmetric"] for group in settings["config_groups"].values())


def load_quantized(folder, problems):
    options = {"quantization_config": transformers.CompressedTensorsConfig(dequantize=True)} if packed_zero_points(folder) else {}
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **options)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(kind):
            problems.append(f"{kind}: {info[kind]}")
    return model.eval()


def logits(model, ids):
    with torch.no_grad():
        return model(ids[None], use_cache=False).logits[0].double()


def compare(title, a, b):
    """Prints how far b is from a; gives the largest difference of a logit."""
    p, q = a.log_softmax(-1), b.log_softmax(-1)
    divergence = float((p.exp() * (p - q)).sum(-1).mean())
    difference = float((a - b).abs().max())
    agree = float((a.argmax(-1) == b.argmax(-1)).double().mean())
    print(f"{title:22} max difference {difference:.3e}  KL {divergence:.3e}  "
          f"same first choice {agree:.1%}")
    return difference


def check(folder, original_folder, ids=None, tolerance=0):
    """What is wrong, in sentences."""
    problems = []
    original = load(original_folder)
    ids = ids or np.random.default_rng(1).integers(3, original.config.vocab_size, 32)
    ids = torch.as_tensor(ids)
    expected = logits(original, ids)
    by_hand = logits(rebuild_by_hand(folder, original_folder), ids)
    loaded = logits(load_quantized(folder, problems), ids)

    compare("original / by hand", expected, by_hand)
    compare("original / loaded", expected, loaded)
    difference = compare("by hand / loaded", by_hand, loaded)
    if not difference <= tolerance:  # also true for nan
        problems.append(f"logits differ by {difference:.3e} > {tolerance:g}")
    return problems


def verdict(checks):
    """Runs checks() on one thread and prints the sentences it returns, of what is wrong; the exit status."""
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    problems = checks()
    for problem in problems:
        print("FAILED:", problem)
    return 1 if problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("original_dir", type=pathlib.Path)
    parser.add_argument("--prompt-ids", type=int, nargs="+", help="tokens to run on")
    parser.add_argument("--tolerance", type=float, default=0)
    args = parser.parse_args()
    return verdict(lambda: check(args.model_dir, args.original_dir, args.prompt_ids, args.tolerance))


if __name__ == "__main__":
    sys.exit(main())
