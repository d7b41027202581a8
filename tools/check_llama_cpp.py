#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that llama.cpp and this engine make the same of a GGUF file.

Each FILE, or MODEL_DIR converted to every type that is written, is run by llama.cpp (the package xllamacpp) and by CODECLLM:
the greedy continuations must be the same text. Of MODEL_DIR, llama.cpp's quantizer also makes files of the types that are
only read here (matrices whose rows are whole blocks; the others stay F32). A place where llama.cpp's two likeliest tokens are nearly equally likely may
go either way; such a difference is printed, and counts only where it is clear (a margin of more than --margin in log
probability).

Usage: check_llama_cpp.py CODECLLM MODEL_DIR|FILE.gguf ... [--prompts FILE]
"""
import argparse
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import xllamacpp

PROMPTS = ["Once upon a time", "The capital of France is", "Tom had a", "In the morning, 12 birds"]
TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0"]
READ_ONLY = ["Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
TOKENS = 40


def quantize(source, target, kind):
    """A copy of an F32 file in blocks of this kind."""
    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer, long = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, long, long, long, pointer]
    number = gguf.GGMLQuantizationType[kind]
    values, size = gguf.GGML_QUANT_SIZES[number]
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        data = np.ascontiguousarray(tensor.data)
        if data.ndim < 2 or data.shape[1] % values:
            writer.add_tensor(tensor.name, data)
            continue
        assert data.dtype == np.float32
        out = np.empty((data.shape[0], data.shape[1] // values * size), np.uint8)
        library.ggml_quantize_chunk(number, data.ctypes.data, out.ctypes.data, 0, *data.shape, None)
        writer.add_tensor(tensor.name, out, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def theirs(path, prompts):
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.warmup = 256, 1, 0, False
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    for prompt in prompts:
        answer = server.handle_completions({"prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "logprobs": 2})
        choice = (json.loads(answer) if isinstance(answer, str) else answer)["choices"][0]
        margins = []
        for step in choice["logprobs"]["content"]:
            likeliest = sorted((top["logprob"] for top in step["top_logprobs"]), reverse=True)
            margins.append((step["token"], likeliest[0] - likeliest[1]))
        yield choice["text"], margins


def ours(binary, path, prompt):
    result = subprocess.run([binary, "generate", path, "-p", prompt, "-n", str(TOKENS), "--temperature", "0", "--json", "--threads", "1"], check=True, capture_output=True, text=True)
    return json.loads(result.stdout)["text"]


def check(binary, path, prompts, margin):
    same, bad = 0, []
    for prompt, (text, margins) in zip(prompts, theirs(path, prompts)):
        got = ours(binary, path, prompt)
        if got == text:
            same += 1
            continue
        at, before = 0, ""
        while at < len(margins) and got.startswith(before + margins[at][0]):
            before, at = before + margins[at][0], at + 1
        gap = margins[at][1] if at < len(margins) else float("inf")
        print(f"  {prompt!r}: after {at} tokens llama.cpp goes on with {text[len(before):][:20]!r}, we with {got[len(before):][:20]!r}; "
              f"its margin is {gap:.4f}")
        if gap > margin:
            bad.append(f"{path.name}: {prompt!r}")
    print(f"{path.name}: {same} of {len(prompts)} texts are the same")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codecllm")
    parser.add_argument("models", type=pathlib.Path, nargs="+")
    parser.add_argument("--prompts", type=pathlib.Path, help="a file with a prompt in each line")
    parser.add_argument("--margin", type=float, default=0.1)
    args = parser.parse_args()
    prompts = args.prompts.read_text().splitlines() if args.prompts else PROMPTS
    bad = []
    with tempfile.TemporaryDirectory() as work:
        for model in args.models:
            files = [model]
            if model.is_dir():
                files = [pathlib.Path(work) / f"{model.name}-{kind}.gguf" for kind in TYPES]
                for kind, file in zip(TYPES, files):
                    subprocess.run([args.codecllm, "convert", model, "-o", file, "--to", "gguf", "--type", kind, "-q"], check=True,
                                   stdout=subprocess.DEVNULL)
                for kind in READ_ONLY:
                    files.append(pathlib.Path(work) / f"{model.name}-{kind.lower()}.gguf")
                    quantize(files[0], files[-1], kind)
            for file in files:
                bad += check(args.codecllm, file, prompts, args.margin)
    for problem in bad:
        print("FAILED:", problem)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
