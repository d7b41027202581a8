#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a large checkpoint of made-up BF16 weights, quantizes it, and prints the time and the peak memory.

Usage: large_checkpoint.py CODECLLM DIRECTORY [--gigabytes 8] [--scheme int8]
DIRECTORY needs room for the model and its quantized copy, and is left empty.
"""
import argparse
import array
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import time

HIDDEN, INTERMEDIATE, VOCAB, HEADS, KV_HEADS = 4096, 14336, 128256, 32, 8
SHARD_BYTES = 4 << 30


def bf16_noise(count):
    """Gaussian weights as BF16 bytes."""
    rng = random.Random(1)
    floats = array.array("f", (rng.gauss(0, 0.02) for _ in range(count)))
    bits = array.array("I")
    bits.frombytes(floats.tobytes())
    return array.array("H", (value >> 16 for value in bits)).tobytes()


def tensors(layers):
    kv = HIDDEN // HEADS * KV_HEADS
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for i in range(layers):
        block = f"model.layers.{i}."
        yield block + "input_layernorm.weight", (HIDDEN,)
        yield block + "post_attention_layernorm.weight", (HIDDEN,)
        for name, rows, columns in (("self_attn.q_proj", HIDDEN, HIDDEN), ("self_attn.k_proj", kv, HIDDEN),
                                    ("self_attn.v_proj", kv, HIDDEN), ("self_attn.o_proj", HIDDEN, HIDDEN),
                                    ("mlp.gate_proj", INTERMEDIATE, HIDDEN), ("mlp.up_proj", INTERMEDIATE, HIDDEN),
                                    ("mlp.down_proj", HIDDEN, INTERMEDIATE)):
            yield f"{block}{name}.weight", (rows, columns)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def size_of(shape):
    return 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)


def layers_for(total):
    one, two = (sum(size_of(shape) for _, shape in tensors(n)) for n in (1, 2))
    return max(1, round((total - one) / (two - one)) + 1)


def write_shard(path, shard, noise):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shard:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size_of(shape)]}
        offset += size_of(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (_, shape) in enumerate(shard):
            left, start = size_of(shape), (index * 7919) % 1024 * 2
            while left > 0:
                piece = noise[start:start + left]
                file.write(piece)
                left -= len(piece)
                start = 0


def make(directory, total):
    shards, used = [[]], 0
    for name, shape in tensors(layers_for(total)):
        if used + size_of(shape) > SHARD_BYTES:
            shards.append([])
            used = 0
        shards[-1].append((name, shape))
        used += size_of(shape)
    noise, weight_map = bf16_noise(1 << 20), {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(os.path.join(directory, name), shard, noise)
        weight_map.update({tensor: name for tensor, _ in shard})
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
              "intermediate_size": INTERMEDIATE, "num_hidden_layers": layers_for(total), "num_attention_heads": HEADS,
              "num_key_value_heads": KV_HEADS, "vocab_size": VOCAB, "rms_norm_eps": 1e-5, "torch_dtype": "bfloat16",
              "max_position_embeddings": 8192, "rope_theta": 500000.0, "tie_word_embeddings": False}
    for name, value in (("config.json", config), ("model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            json.dump(value, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codecllm")
    parser.add_argument("directory")
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--scheme", default="int8")
    arguments = parser.parse_args()
    source, output = (os.path.join(arguments.directory, name) for name in ("large", "large-quantized"))
    os.makedirs(source)
    try:
        make(source, arguments.gigabytes * 1e9)
        start = time.monotonic()
        code = subprocess.run([arguments.codecllm, "quantize", source, "-o", output, "--scheme", arguments.scheme],
                              stdout=subprocess.DEVNULL, check=False).returncode
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        size = sum(entry.stat().st_size for entry in os.scandir(source))
        print(f"{size / 1e9:.2f} GB, {arguments.scheme}: {seconds:.0f} s, {size / 1e6 / seconds:.0f} MB/s, "
              f"peak memory {peak / 1e6:.0f} MB, exit code {code}")
        sys.exit(code)
    finally:
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(output, ignore_errors=True)


if __name__ == "__main__":
    main()
