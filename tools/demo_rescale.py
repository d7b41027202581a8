# SPDX-License-Identifier: Apache-2.0
"""Rescales a Llama checkpoint's queries and keys by powers of two, without changing what the model computes.

Rotary embeddings rotate rows i and i + head_dim/2 of a head together, so one factor s per such pair may multiply the
query rows and divide the key rows: every product of a query and a key, and so every output, stays what it was. All
query heads that share a KV head take its factors. A power of two only moves the exponent of a BF16 number.
"""
import array
import json
import os
import random
import shutil
import struct
import sys

MIN_EXPONENT, MAX_EXPONENT = -7, 6  # 2^-7 to 2^6: four decades


def read_safetensors(path):
    """(header, offset of the data, the whole file as bytes that can be written to)."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    length = struct.unpack_from("<Q", data)[0]
    return json.loads(data[8:8 + length].decode("utf-8")), 8 + length, data


def shift_exponent(row, shift):
    """Multiplies BF16 numbers (as 16-bit codes) by 2^shift, or raises where that is not exact."""
    for index, code in enumerate(row):
        exponent = (code >> 7) & 0xFF
        if code & 0x7FFF == 0:
            continue
        if not (exponent and 0 < exponent + shift < 255):
            raise ValueError(f"BF16 {code:#06x} times 2^{shift} is not exact")
        row[index] = code + (shift << 7)


def rescale_projection(data, header, base, name, head_dim, shift_of_row):
    entry = header[name]
    if entry["dtype"] != "BF16":
        raise ValueError(f"{name} is {entry['dtype']}, not BF16")
    rows, columns = entry["shape"]
    begin = base + entry["data_offsets"][0]
    for row in range(rows):
        at = begin + 2 * columns * row
        codes = array.array("H", bytes(data[at:at + 2 * columns]))
        if sys.byteorder == "big":
            codes.byteswap()
        shift_exponent(codes, shift_of_row(row // head_dim, row % head_dim))
        if sys.byteorder == "big":
            codes.byteswap()
        data[at:at + 2 * columns] = codes.tobytes()


def rescale_model(source, target, seed=7):
    with open(os.path.join(source, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    half, rng = head_dim // 2, random.Random(seed)
    os.makedirs(target)
    for name in sorted(os.listdir(source)):
        if name.endswith(".json") or name == "chat_template.jinja":
            shutil.copy(os.path.join(source, name), target)
    header, base, data = read_safetensors(os.path.join(source, "model.safetensors"))
    for layer in range(config["num_hidden_layers"]):
        shifts = [[rng.randint(MIN_EXPONENT, MAX_EXPONENT) for _ in range(half)] for _ in range(kv_heads)]
        prefix = f"model.layers.{layer}.self_attn."
        group = heads // kv_heads
        rescale_projection(data, header, base, prefix + "q_proj.weight", head_dim,
                           lambda head, i: shifts[head // group][i % half])
        rescale_projection(data, header, base, prefix + "k_proj.weight", head_dim,
                           lambda head, i: -shifts[head][i % half])
        if prefix + "q_proj.bias" in header or prefix + "q_norm.weight" in header:
            raise ValueError("only checkpoints without query biases and norms can be rescaled here")
    with open(os.path.join(target, "model.safetensors"), "wb") as file:
        file.write(data)
