#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the GGUF fixtures of tests/io/data/gguf with the `gguf` package (writer, quantizers and dequantizers in NumPy).

blocks.gguf         one tensor of random blocks for each number format
blocks.safetensors  the values that the package's dequantizer gives them
quantized.safetensors  values, and the bytes that the package's quantizers make of them
llama.gguf          the tiny Llama of tests/model/data/llama: rows of q and k reordered as llama.cpp's converter does,
                    matrices in several formats
llama.safetensors   its tensors as Hugging Face names and orders them, with the values that the package gives them

Usage: dump_gguf.py    (in the root of the tree; needs the packages gguf and safetensors)
"""
import pathlib

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file

TYPES = gguf.GGMLQuantizationType
OUT = pathlib.Path("tests/io/data/gguf")
BLOCKS = [TYPES.Q4_0, TYPES.Q4_1, TYPES.Q5_0, TYPES.Q5_1, TYPES.Q8_0, TYPES.Q2_K, TYPES.Q3_K, TYPES.Q4_K, TYPES.Q5_K,
          TYPES.Q6_K]
HALVES = {TYPES.Q4_0: [0], TYPES.Q4_1: [0, 2], TYPES.Q5_0: [0], TYPES.Q5_1: [0, 2], TYPES.Q8_0: [0],
          TYPES.Q2_K: [80, 82], TYPES.Q3_K: [108], TYPES.Q4_K: [0, 2], TYPES.Q5_K: [0, 2], TYPES.Q6_K: [208]}  # where a block has F16 numbers


def random_blocks(dice, kind, rows, per_row):
    """Bytes [rows, per_row * size]; every F16 number is finite, some are negative, zero or subnormal."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    data = dice.integers(0, 256, (rows * per_row, size), dtype=np.uint8)
    for at in HALVES[kind]:
        scale = (dice.standard_normal(len(data)) * 10.0 ** dice.integers(-7, 2, len(data))).astype(np.float16)
        scale[0] = 0
        data[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return data.reshape(rows, per_row * size)


def write_blocks(dice):
    writer = gguf.GGUFWriter(OUT / "blocks.gguf", "llama")
    values = {}
    for kind in BLOCKS:
        data = random_blocks(dice, kind, 2, 2)
        writer.add_tensor(kind.name.lower(), data, raw_dtype=kind)
        values[kind.name.lower()] = gguf.dequantize(data, kind).astype(np.float32)
    plain = dice.standard_normal((3, 5)).astype(np.float32)
    for kind, name in [(TYPES.F32, "f32"), (TYPES.F16, "f16"), (TYPES.BF16, "bf16")]:
        data = gguf.quantize(plain, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
        values[name] = gguf.dequantize(data, kind).astype(np.float32)
    finish(writer)
    save_file(values, OUT / "blocks.safetensors")


def write_quantized(dice):
    values = (dice.standard_t(3, (4, 96)) * 10.0 ** dice.integers(-6, 3, (4, 1))).astype(np.float32)
    values[0, :32] = 0
    values[1, :32] = np.linspace(-1, 1, 32)
    tensors = {"values": values}
    for kind in (TYPES.Q8_0, TYPES.Q4_0):
        tensors[kind.name.lower()] = gguf.quantize(values, kind)
    save_file(tensors, OUT / "quantized.safetensors")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def reorder(weight, heads):
    """Rows (i, i + head_dim / 2) of every head become neighbours."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


NAMES = {"model.embed_tokens": ("token_embd", TYPES.Q8_0), "model.norm": ("output_norm", TYPES.F32),
         "lm_head": ("output", TYPES.Q4_1), "input_layernorm": ("attn_norm", TYPES.F32),
         "self_attn.q_proj": ("attn_q", TYPES.Q8_0), "self_attn.k_proj": ("attn_k", TYPES.F16),
         "self_attn.v_proj": ("attn_v", TYPES.Q5_0), "self_attn.o_proj": ("attn_output", TYPES.BF16),
         "post_attention_layernorm": ("ffn_norm", TYPES.F32), "mlp.gate_proj": ("ffn_gate", TYPES.Q4_0),
         "mlp.up_proj": ("ffn_up", TYPES.Q8_0), "mlp.down_proj": ("ffn_down", TYPES.F32)}


def write_llama():
    source = load_file("tests/model/data/llama/model.safetensors")
    writer = gguf.GGUFWriter(OUT / "llama.gguf", "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(80)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    values = {}
    for name, tensor in source.items():
        module = name.removesuffix(".weight")
        block = ""
        if module.startswith("model.layers."):
            _, _, number, module = module.split(".", 3)
            block = f"blk.{number}."
        short, kind = NAMES[module]
        heads = {"attn_q": 4, "attn_k": 2}.get(short)
        stored = gguf.quantize(np.ascontiguousarray(reorder(tensor, heads) if heads else tensor), kind)
        writer.add_tensor(f"{block}{short}.weight", stored, raw_dtype=kind)
        values[name] = gguf.dequantize(gguf.quantize(tensor, kind), kind).astype(np.float32)
    finish(writer)
    save_file(values, OUT / "llama.safetensors")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(1)
    write_blocks(dice)
    write_quantized(dice)
    write_llama()


if __name__ == "__main__":
    main()
