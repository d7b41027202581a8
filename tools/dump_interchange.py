#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/quant/data/interchange: a tiny random Llama, quantized by other programs.

  plain         the model in BF16
  NAME          what compressed-tensors, bitsandbytes, GPTQModel, AutoAWQ or transformers makes of it
  NAME/reference.safetensors
                input_ids   tokens
                logits      what the package computes on them, in F32
                dequantized the same with the package's weights and activations in F32: the same as logits where only
                            weights are quantized
                checksum    a hash of each linear layer's weights in F32, as the package dequantizes them
  ours.safetensors
                what transformers, or GPTQModel for GPTQ and AWQ, makes of checkpoints that codecllm wrote, for each scheme
                and each layout that `convert` writes: logits and dequantized as above, and file, a hash of the weights' file

Usage: dump_interchange.py [NAME ...]              (in the root of the tree; without a name, all)
       dump_interchange.py --ours CODECLLM
Needs torch and transformers; compressed-tensors for ct-*, bitsandbytes for bnb-*, GPTQModel for gptq-*, awq-int4 and --ours,
AutoAWQ for awq-int4-asym, gguf for --ours.
"""
import importlib.util
import json
import pathlib
import shutil
import string
import subprocess
import sys
import tempfile
import types

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path("tests/quant/data/interchange")
IDS = torch.as_tensor(np.random.default_rng(1).integers(3, 64, 12))
FILES = ("config.json", "model.safetensors")
LETTERS = (string.ascii_letters + string.digits)[:60]


def plain(hidden=64, intermediate=160):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=1, num_attention_heads=4,
                                      num_key_value_heads=2, vocab_size=64, max_position_embeddings=64,
                                      initializer_range=0.2)
    model = transformers.LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:  # heavier tails than a Gaussian's, and rows of different sizes
            parameter.data *= torch.rand_like(parameter) + torch.rand(len(parameter), 1)
        else:
            parameter.data = 1 + 0.2 * torch.randn_like(parameter)
    return model.bfloat16()


def linears(model):
    return {name: module for name, module in model.named_modules()
            if name.startswith("model.layers.") and name.endswith("_proj")}


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS[None], use_cache=False).logits[0].float().contiguous()


def checksum(weight):
    """The hash of src/codec/checksum.h over the bytes of F32 numbers."""
    mask, state = (1 << 64) - 1, 0
    for word in weight.detach().float().contiguous().numpy().reshape(-1).view("<u8").tolist():
        state = ((state ^ word) * 0x9E3779B97F4A7C15) & mask
        state = ((state << 29) | (state >> 35)) & mask
    return state


def save(name, source, runs, weights):
    """Keeps of `source` what is needed. `runs`: the package's own model, or None where it only stores; `weights`:
    dequantized, by module."""
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(source / file, folder / file)
    config = json.loads((folder / "config.json").read_text())
    if config.get("quantization_config", {}).pop("meta", None):  # machine and settings of the quantizer
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    dense = transformers.AutoModelForCausalLM.from_pretrained(OUT / "plain", dtype=torch.float32)
    assert set(weights) == set(linears(dense))
    others = {n: t for n, t in load_file(folder / "model.safetensors").items() if n in dense.state_dict() and t.is_floating_point()}
    dense.load_state_dict({n: t.float() for n, t in others.items() if n.removesuffix(".weight") not in weights}, strict=False)
    for module, weight in weights.items():
        dense.get_submodule(module).weight.data = weight.detach().float().clone()
    dequantized = logits(dense)
    own = dequantized if runs is None else logits(runs)
    sums = torch.as_tensor([checksum(weights[module]) - (1 << 63) for module in sorted(weights)])
    save_file({"input_ids": IDS, "logits": own, "dequantized": dequantized.clone(), "checksum": sums},
              folder / "reference.safetensors")
    print(f"{name:22} logits / dequantized: {float((own - dequantized).abs().max()):.2e}")


def ranges(weight, args):
    """Smallest and largest of the weights that share a scale."""
    rows, columns = weight.shape
    if args.strategy == "tensor":
        return weight.min().reshape(1), weight.max().reshape(1)
    if args.strategy == "channel":
        return weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    if args.strategy == "group":
        groups = weight.reshape(rows, -1, args.group_size)
        return groups.amin(-1), groups.amax(-1)
    high, wide = args.block_structure
    padded = torch.nn.functional.pad(weight, (0, -columns % wide, 0, -rows % high))
    blocks = padded.reshape(padded.shape[0] // high, high, padded.shape[1] // wide, wide)
    return blocks.amin((1, 3)), blocks.amax((1, 3))


def compressed_tensors(name, work, weights, inputs=None, form="pack-quantized"):
    from compressed_tensors.compressors import BaseCompressor, ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from compressed_tensors.quantization.utils import calculate_qparams
    settings = QuantizationConfig(
        config_groups={"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}},
        ignore=["lm_head"], format=form, quantization_status="frozen")
    seen, model = {}, transformers.AutoModelForCausalLM.from_pretrained(OUT / "plain", dtype=torch.bfloat16)
    hooks = [module.register_forward_pre_hook(lambda m, x, n=n: seen.update({n: x[0].detach().float()}))
             for n, module in linears(model).items()]
    logits(model)
    for hook in hooks:
        hook.remove()
    apply_quantization_config(model, settings)
    args = settings.config_groups["group_0"]
    for n, module in linears(model).items():
        low, high = ranges(module.weight.data.float(), args.weights)
        scale, zero = calculate_qparams(low, high, args.weights)
        module.weight_scale.data = scale.reshape(module.weight_scale.shape).to(torch.bfloat16)
        if not args.weights.symmetric:
            module.weight_zero_point.data = zero.reshape(module.weight_zero_point.shape).to(torch.int8)
        if hasattr(module, "input_scale"):
            scale, _ = calculate_qparams(seen[n].min().reshape(1), seen[n].max().reshape(1), args.input_activations)
            module.input_scale.data = scale.to(torch.bfloat16)
    compressor = ModelCompressor(quantization_config=settings)
    compressor.compress_model(model)
    model.save_pretrained(work)
    config = json.loads((work / "config.json").read_text())
    if "quantization_config" not in config:
        compressor.update_config(work)
    stored, dense = load_file(work / "model.safetensors"), {}
    for n in linears(model):
        parts = {key.rpartition(".")[2]: tensor for key, tensor in stored.items() if key.startswith(n + ".")}
        parts["weight_scale"] = parts["weight_scale"].float()  # its products have the scale's type
        dense[n] = BaseCompressor.get_value_from_registry(form).decompress(parts, args)["weight"]
    runs = None if inputs is None else transformers.AutoModelForCausalLM.from_pretrained(work, dtype=torch.float32)
    save(name, work, runs, dense)


def bitsandbytes(name, work):
    settings = transformers.BitsAndBytesConfig(load_in_8bit=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        OUT / "plain", quantization_config=settings, dtype=torch.float16, device_map="cpu")
    model.save_pretrained(work)
    runs = transformers.AutoModelForCausalLM.from_pretrained(work, device_map="cpu", dtype=torch.float16)
    stored = load_file(work / "model.safetensors")
    weights = {n: stored[n + ".weight"].float() * (stored[n + ".SCB"][:, None] / 127) for n in linears(model)}
    save(name, work, runs, weights)


def save_tokenizer(folder):
    """Three special tokens, a space and sixty letters and digits, each a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    names = ["w0", "w1", "w2", "\u0120", *LETTERS]
    letters = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    letters.pre_tokenizer, letters.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="w0", bos_token="w1", eos_token="w2",
                                         pad_token="w0").save_pretrained(folder)


def gptqmodel_package():
    import os
    os.cpu_count = lambda: 8  # with fewer it finds no threads to load with
    import gptqmodel
    return gptqmodel


def gptqmodel(name, work, kind, settings):
    package = gptqmodel_package()
    folder = work.parent / "plain-with-tokenizer"
    shutil.copytree(OUT / "plain", folder, dirs_exist_ok=True)
    save_tokenizer(folder)
    torch.manual_seed(2)
    texts = [{"input_ids": torch.randint(3, 64, (32,)).tolist(), "attention_mask": [1] * 32} for _ in range(8)]
    if kind == "AWQConfig":  # its search for clipping takes whole batches of 64 rows only
        from gptqmodel.looper.awq_processor import AWQProcessor
        AWQProcessor._search_best_clip = lambda *_: []
    model = package.GPTQModel.load(str(folder), getattr(package.quantization.config, kind)(**settings), device="cpu")
    model.quantize(texts, batch_size=1)
    model.save(str(work))
    own = package.GPTQModel.load(str(work), device="cpu", backend="torch", dtype=torch.float16).model.float()
    weights = {}
    for n, module in linears(own).items():  # what it makes of one input at a time: its own weights
        with torch.no_grad():
            weights[n] = module(torch.eye(module.in_features)).T.contiguous()
    save(name, work, own, weights)


def save_tensors(work, tensors, settings):
    save_file({n: t.contiguous() for n, t in tensors.items()}, work / "model.safetensors", {"format": "pt"})
    config = json.loads((OUT / "plain" / "config.json").read_text())
    (work / "config.json").write_text(json.dumps({**config, "quantization_config": settings}, indent=2) + "\n")


def autoawq(name, work):
    """AutoAWQ's layer alone: the rest of the package needs an older transformers."""
    root = pathlib.Path(importlib.util.find_spec("awq").origin).parent
    for package in ("awq", "awq.modules", "awq.modules.linear", "awq.utils"):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(root.joinpath(*package.split(".")[1:]))]
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm
    model = transformers.AutoModelForCausalLM.from_pretrained(OUT / "plain", dtype=torch.float16)
    tensors, weights = dict(model.state_dict()), {}
    for n, module in linears(model).items():
        groups = module.weight.data.float().reshape(-1, 32)
        scales = ((groups.amax(1) - groups.amin(1)) / 15).half().float()
        zeros = (-torch.round(groups.amin(1) / scales)).clamp(0, 15)
        scales, zeros = (t.reshape(module.out_features, -1).T.contiguous() for t in (scales, zeros))
        module.weight.data = module.weight.data.float().T.reshape(-1, 32, module.out_features).clamp(
            (-zeros * scales)[:, None], ((15 - zeros) * scales)[:, None]).reshape(-1, module.out_features).T
        packed = WQLinear_GEMM.from_linear(module, 4, 32, scales=scales, zeros=zeros)
        parts = {"qweight": packed.qweight, "qzeros": packed.qzeros, "scales": packed.scales}
        del tensors[n + ".weight"]
        tensors.update({f"{n}.{part}": tensor for part, tensor in parts.items()})
        weights[n] = dequantize_gemm(packed.qweight, packed.qzeros, packed.scales.float(), 4, 32).T.contiguous()
    save_tensors(work, tensors, {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"})
    save(name, work, None, weights)


def round_to_fp8(x, group):
    """Activations as DeepSeek-V3's kernels round them: one scale for each group of a token."""
    groups = torch.nn.functional.pad(x.float(), (0, -x.shape[-1] % group)).unflatten(-1, (-1, group))
    scales = groups.abs().amax(-1, keepdim=True) / 448
    return ((groups / scales).to(torch.float8_e4m3fn).float() * scales).flatten(-2)[..., :x.shape[-1]]


def round_inputs(model, group):
    for module in linears(model).values():
        module.register_forward_pre_hook(lambda _, inputs: (round_to_fp8(inputs[0], group),))


def fine_grained_fp8(name, work, settings):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize
    block = settings["weight_block_size"]
    settings = transformers.FineGrainedFP8Config(activation_scheme="dynamic", **settings)
    holder = types.SimpleNamespace(quantization_config=settings)
    model = transformers.AutoModelForCausalLM.from_pretrained(OUT / "plain", dtype=torch.bfloat16)
    tensors, weights = dict(model.state_dict()), {}
    for n in linears(model):
        made = Fp8Quantize(holder).convert({n + ".weight": tensors[n + ".weight"]})
        tensors.update(made)
        weights[n] = Fp8Dequantize(holder)._dequantize_one(made[n + ".weight"], made[n + ".weight_scale_inv"], torch.float32)
    save_tensors(work, tensors, settings.to_dict())
    runs = transformers.AutoModelForCausalLM.from_pretrained(OUT / "plain", dtype=torch.float32)
    for n, module in linears(runs).items():
        module.weight.data = weights[n].clone()
    round_inputs(runs, block[1])
    save(name, work, runs, weights)


WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True}
FLOATS = {"num_bits": 8, "type": "float", "symmetric": True}
TOKEN = {"dynamic": True, "strategy": "token"}
CASES = {
    "ct-int8-channel": (compressed_tensors, {**WEIGHTS, "strategy": "channel"}),
    "ct-int8-tensor": (compressed_tensors, {**WEIGHTS, "strategy": "tensor"}),
    "ct-int8-g32": (compressed_tensors, {**WEIGHTS, "strategy": "group", "group_size": 32}),
    "ct-int8-asym": (compressed_tensors, {**WEIGHTS, "strategy": "channel", "symmetric": False}),
    "ct-int4-g32": (compressed_tensors, {**WEIGHTS, "num_bits": 4, "strategy": "group", "group_size": 32}),
    "ct-int4-g32-asym": (compressed_tensors, {**WEIGHTS, "num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False}),
    "ct-int4-actorder": (compressed_tensors, {**WEIGHTS, "num_bits": 4, "strategy": "group", "group_size": 32, "actorder": "weight"}),
    "ct-int3-g32": (compressed_tensors, {**WEIGHTS, "num_bits": 3, "strategy": "group", "group_size": 32}),
    "ct-w8a8": (compressed_tensors, {**WEIGHTS, "strategy": "channel"}, {**WEIGHTS, **TOKEN}, "int-quantized"),
    "ct-w8a8-static": (compressed_tensors, {**WEIGHTS, "strategy": "channel"}, {**WEIGHTS, "strategy": "tensor"}, "int-quantized"),
    "ct-fp8-static": (compressed_tensors, {**FLOATS, "strategy": "tensor"}, {**FLOATS, "strategy": "tensor"}, "float-quantized"),
    "ct-fp8-channel": (compressed_tensors, {**FLOATS, "strategy": "channel"}, {**FLOATS, **TOKEN}, "float-quantized"),
    "ct-fp8-block": (compressed_tensors, {**FLOATS, "strategy": "block", "block_structure": [128, 128]}, None, "float-quantized"),
    "bnb-int8": (bitsandbytes,),
    "gptq-int4": (gptqmodel, "GPTQConfig", {"bits": 4, "group_size": 32, "desc_act": False}),
    "gptq-int4-order": (gptqmodel, "GPTQConfig", {"bits": 4, "group_size": 32, "desc_act": True, "sym": False}),
    "gptq-int8-v2": (gptqmodel, "GPTQConfig", {"bits": 8, "group_size": -1, "desc_act": False, "act_group_aware": False, "format": "gptq_v2"}),
    "awq-int4": (gptqmodel, "AWQConfig", {"bits": 4, "group_size": 32}),
    "awq-int4-asym": (autoawq,),
    "hf-fp8-block": (fine_grained_fp8, {"weight_block_size": (32, 32)}),
    "hf-fp8-block-e8m0": (fine_grained_fp8, {"weight_block_size": (32, 32), "scale_fmt": "ue8m0"}),
}

OURS = ["int8", "int8-g32", "int8-asym", "int4", "int4-g32", "int4-g32-asym", "w8a8", "fp8", "fp8-channel", "fp8-block"]
# layout, the scheme it is converted from
CONVERTED = [("gptq", "int8"), ("gptq", "int4-g32"), ("gptq", "int4-g32-asym"), ("awq", "int4-g32"), ("awq", "int4-g32-asym")]
GGUF = ["bf16", "q8_0", "q4_0"]


def bytes_checksum(data):
    return checksum(torch.from_numpy(np.frombuffer(data + bytes(-len(data) % 8), np.float32).copy()))


def file_checksum(path):
    return torch.as_tensor([bytes_checksum(path.read_bytes()) - (1 << 63)])


def with_gptqmodel(folder):
    return gptqmodel_package().GPTQModel.load(str(folder), device="cpu", backend="torch", dtype=torch.float16).model.float()


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def quantized_by_us(binary, work, scheme, out):
    folder = work / scheme
    run(binary, "quantize", OUT / "plain", "-o", folder, "--scheme", scheme, "-q")
    wide = folder.with_suffix(".f32")  # the same numbers with scales in F32, whose type the products get
    shutil.copytree(folder, wide)
    stored = load_file(folder / "model.safetensors")
    save_file({n: t.float() if n.endswith("_scale") else t for n, t in stored.items()}, wide / "model.safetensors", {"format": "pt"})
    dense = transformers.AutoModelForCausalLM.from_pretrained(
        wide, dtype=torch.float32, quantization_config=transformers.CompressedTensorsConfig(dequantize=True))
    out[scheme + ".dequantized"] = logits(dense).clone()
    runs = dense if "asym" in scheme or scheme == "fp8-block" else transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if scheme == "fp8-block":  # transformers leaves its activations as they are
        round_inputs(runs, 128)
    out[scheme + ".logits"] = logits(runs)
    out[scheme + ".file"] = file_checksum(folder / "model.safetensors")


def converted_by_us(binary, work, layout, scheme, out):
    name = f"{layout}:{scheme}"
    run(binary, "convert", work / scheme, "-o", work / name, "--to", layout, "-q")
    save_tokenizer(work / name)  # GPTQModel loads nothing without one
    out[name + ".logits"] = logits(with_gptqmodel(work / name))
    out[name + ".dequantized"] = out[scheme + ".dequantized"].clone()
    out[name + ".file"] = file_checksum(work / name / "model.safetensors")


def gguf_by_us(binary, work, kind, out):
    source, path = work / "with-tokenizer", work / f"{kind}.gguf"
    if not source.exists():  # as model_with_tokenizer of tests/quant/convert_support.h
        shutil.copytree("tests/model/data/llama-bf16", source)
        tokenizer = json.loads(pathlib.Path("tests/text/data/tokenizer_llama2.json").read_text())["tokenizer"]
        (source / "tokenizer.json").write_text(json.dumps(tokenizer))
        (source / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}))
    run(binary, "convert", source, "-o", path, "--to", "gguf", "--type", kind, "-q")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(work, gguf_file=path.name, dtype=torch.float32)
    name = f"gguf:{kind}"
    out[name + ".logits"], out[name + ".dequantized"] = logits(loaded), logits(loaded).clone()
    out[name + ".file"] = file_checksum(path)


def ours(binary):
    out = {"input_ids": IDS}
    with tempfile.TemporaryDirectory() as work:
        for scheme in OURS:
            quantized_by_us(binary, pathlib.Path(work), scheme, out)
        for layout, scheme in CONVERTED:
            converted_by_us(binary, pathlib.Path(work), layout, scheme, out)
        for kind in GGUF:
            gguf_by_us(binary, pathlib.Path(work), kind, out)
    save_file(out, OUT / "ours.safetensors")
    print(", ".join(name.removesuffix(".file") for name in out if name.endswith(".file")))


def main():
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    work = pathlib.Path(sys.argv[0]).resolve().parent.parent / "build" / "interchange"
    if not (OUT / "plain").exists():
        plain().save_pretrained(OUT / "plain")
        (OUT / "plain" / "generation_config.json").unlink(missing_ok=True)
    if sys.argv[1:2] == ["--ours"]:
        return ours(sys.argv[2])
    for name in sys.argv[1:] or CASES:
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
        function, *rest = CASES[name]
        function(name, work / name, *rest)
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
