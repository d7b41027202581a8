# SPDX-License-Identifier: Apache-2.0
"""Gives a Llama checkpoint activation outliers, as large models have them, without changing what it computes.

Eight channels of every norm before attention and MLP are multiplied by 64 or 128, and the columns of the matrices
that read them divided. Powers of two only move the exponent of BF16 and F32 numbers, so in 16 bits every output stays
what it was; INT8 activations with one scale per token lose the other channels.

    python3 tools/inject_outliers.py MODEL OUT
"""
import json
import os
import random
import shutil
import struct
import sys

CHANNELS, EXPONENTS = 8, (6, 7)
READERS = {"input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
           "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj")}
FORMATS = {"BF16": ("H", 7, 2), "F32": ("I", 23, 4)}  # code, bits of the fraction, bytes


def shift(data, at, dtype, exponent):
    """Multiplies the number at this offset by 2^exponent, or raises where that is not exact."""
    code, fraction, _ = FORMATS[dtype]
    bits = struct.unpack_from("<" + code, data, at)[0]
    magnitude = bits & ((1 << (fraction + 8)) - 1)
    if magnitude == 0:
        return
    old = magnitude >> fraction
    if not (old and 0 < old + exponent < 255):
        raise ValueError(f"{dtype} {bits:#x} times 2^{exponent} is not exact")
    struct.pack_into("<" + code, data, at, bits + (exponent << fraction))


def inject(data, header, base, layers, seed):
    rng = random.Random(seed)
    for layer in range(layers):
        for norm, readers in READERS.items():
            prefix = f"model.layers.{layer}."
            entry = header[prefix + norm + ".weight"]
            hidden = entry["shape"][0]
            channels = {channel: rng.choice(EXPONENTS) for channel in rng.sample(range(hidden), CHANNELS)}
            for channel, exponent in channels.items():
                shift(data, base + entry["data_offsets"][0] + channel * FORMATS[entry["dtype"]][2], entry["dtype"], exponent)
            for reader in readers:
                entry = header[prefix + reader + ".weight"]
                size, begin = FORMATS[entry["dtype"]][2], base + entry["data_offsets"][0]
                for row in range(entry["shape"][0]):
                    for channel, exponent in channels.items():
                        shift(data, begin + (row * hidden + channel) * size, entry["dtype"], -exponent)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = sys.argv[1:]
    shutil.copytree(source, target)
    with open(os.path.join(target, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    path = os.path.join(target, "model.safetensors")
    with open(path, "rb") as file:
        data = bytearray(file.read())
    length = struct.unpack_from("<Q", data)[0]
    inject(data, json.loads(data[8:8 + length].decode("utf-8")), 8 + length, config["num_hidden_layers"], seed=11)
    os.chmod(path, 0o644)
    with open(path, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    main()
