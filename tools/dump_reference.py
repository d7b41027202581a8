#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tiny random-weight models and their reference results, for the tests.

Each row of CASES becomes one folder in Hugging Face layout:

  config.json            as transformers writes it (old keys where `old_config` is set)
  config_old.json        the same model with the keys of transformers 4.x
  model.safetensors      the weights, in the dtype of the case
  reference.safetensors  input_ids  I64 [T]
                         logits     F32 [T, V]
                         hidden.i   F32 [T, D]  0: embeddings, i: output of block i
                                                (before the final norm)
                         final_norm F32 [T, D]
                         native.logits F32 [T, V]  (16-bit weights only) the run with
                                                activations in the dtype of the weights
                         prompt, greedy, greedy_rep I64  (`generate` only)

Everything but native.logits is computed in float32 from the stored weights.
The weights come from numpy's generator, so a rerun with the same versions gives
the same files.

Usage: dump_reference.py [--out tests/model/data] [--only CASE ...]
"""

import argparse
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

PROMPT_TOKENS = 8
NEW_TOKENS = 16
REPETITION_PENALTY = 1.3
FIRST_SEED = 102
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


@dataclasses.dataclass
class Case:
    name: str
    family: str  # prefix of the transformers classes
    config: dict  # what differs from BASE
    dtype: str = "f32"
    tokens: int = 32
    generate: bool = False  # also dump greedy continuations
    old_config: bool = False  # config.json itself in the old style


BASE = dict(
    hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=96, max_position_embeddings=64, rms_norm_eps=1e-5,
    tie_word_embeddings=False)
WIDE = dict(hidden_size=64, intermediate_size=96)
HEAD16 = dict(num_attention_heads=2, num_key_value_heads=1)  # 8 rotation frequencies


def rope(kind, **keys):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **keys}}


CASES = [
    Case("llama", "Llama", {}, generate=True),
    Case("llama-bf16", "Llama", {**WIDE, **rope("default", rope_theta=500000.0)}, "bf16", 24),
    Case("llama-f16", "Llama", WIDE, "f16", 24),
    Case("llama-tied", "Llama", dict(tie_word_embeddings=True, num_key_value_heads=1,
                                     num_hidden_layers=3)),
    # Everything off the beaten track at once: a head size that is not hidden/heads and not
    # a multiple of 8, all biases, and an epsilon large enough to show in the results.
    Case("llama-mha", "Llama", dict(
        hidden_size=48, intermediate_size=84, num_attention_heads=2, num_key_value_heads=2,
        head_dim=20, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-2, vocab_size=101),
        tokens=24),
    # The 8 wavelengths fall into all three ranges of the llama3 rule.
    Case("rope-llama3", "Llama", {**HEAD16, **rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)}, tokens=40),
    Case("rope-linear", "Llama", {**HEAD16, **rope("linear", factor=4.0)}, old_config=True),
    # Longer than max_position_embeddings, so the base grows with the text.
    Case("rope-dynamic", "Llama", {**HEAD16, "max_position_embeddings": 16,
                                   **rope("dynamic", factor=2.0)}),
    Case("rope-yarn", "Llama", {**HEAD16, "max_position_embeddings": 128, **rope(
        "yarn", factor=4.0, original_max_position_embeddings=32)}, tokens=40),
    Case("mistral", "Mistral", dict(sliding_window=8)),
    Case("qwen2", "Qwen2", dict(tie_word_embeddings=True, rms_norm_eps=1e-6,
                                **rope("default", rope_theta=1000000.0))),
    Case("qwen3", "Qwen3", dict(head_dim=16, rms_norm_eps=1e-6,
                                **rope("default", rope_theta=1000000.0))),
]


def build(case):
    """The model with the weights of its constructor."""
    keys = {**BASE, "bos_token_id": 1, "eos_token_id": 2, **case.config}
    config = getattr(transformers, case.family + "Config")(**keys)
    return getattr(transformers, case.family + "ForCausalLM")(config).eval()


def randomize(model, rng):
    """Weights that give spread logits and attention that is far from uniform."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = rng.standard_normal(tensor.shape)
            if name.endswith("norm.weight"):
                noise = 1 + 0.2 * noise
            elif name.endswith(".bias"):
                noise = 0.3 * noise
            else:
                noise = 1.6 / np.sqrt(tensor.shape[-1]) * noise
            tensor.copy_(torch.from_numpy(noise))


def run(model, ids):
    """Logits, the residual stream around each block and the final norm, as float32."""
    seen = {}

    def keep(name):
        def hook(_module, _args, output):
            value = output[0] if isinstance(output, tuple) else output
            seen[name] = value.reshape(-1, value.shape[-1]).float().clone()
        return hook

    inner = model.model
    hooks = [inner.embed_tokens.register_forward_hook(keep("hidden.0")),
             inner.norm.register_forward_hook(keep("final_norm"))]
    for i, layer in enumerate(inner.layers):
        hooks.append(layer.register_forward_hook(keep(f"hidden.{i + 1}")))
    with torch.no_grad():
        seen["logits"] = model(ids[None], use_cache=False).logits[0].float().clone()
    for hook in hooks:
        hook.remove()
    return seen


def generate(model, prompt, penalty):
    options = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS, repetition_penalty=penalty, pad_token_id=0)
    model.generation_config = transformers.GenerationConfig()  # no stop token
    with torch.no_grad():
        return model.generate(prompt[None], attention_mask=torch.ones_like(prompt)[None],
                              generation_config=options)[0, len(prompt):]


def greedy_by_hand(model, prompt, penalty):
    """The same without a cache: what generate() must give, and the closest decision."""
    ids, margin = prompt, np.inf
    for _ in range(NEW_TOKENS):
        with torch.no_grad():
            scores = model(ids[None], use_cache=False).logits[0, -1]
        seen = ids.unique()
        scores[seen] = torch.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
        best = scores.topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids = torch.cat([ids, best.indices[:1]])
    return ids[len(prompt):], margin


def continuations(model, ids):
    prompt = ids[:PROMPT_TOKENS].clone()
    result = {"prompt": prompt}
    for name, penalty in (("greedy", 1.0), ("greedy_rep", REPETITION_PENALTY)):
        result[name] = generate(model, prompt, penalty)
        expected, margin = greedy_by_hand(model, prompt, penalty)
        assert torch.equal(result[name], expected), name
        assert margin > 0.01, f"{name}: a tie too close to test ({margin})"
    return result


def old_style(config):
    """The same model in the keys that transformers 4.x wrote."""
    old = dict(config)
    scaling = dict(old.pop("rope_parameters"))
    old["rope_theta"] = scaling.pop("rope_theta")
    kind = scaling.pop("rope_type")
    # Llama 3 checkpoints came with "rope_type" already; the older kinds with "type".
    scaling["rope_type" if kind == "llama3" else "type"] = kind
    old["rope_scaling"] = None if kind == "default" else scaling
    old["torch_dtype"] = old.pop("dtype")
    if old.get("head_dim") == old["hidden_size"] // old["num_attention_heads"]:
        del old["head_dim"]  # was left out where implied
    old["transformers_version"] = "4.40.0"
    return old


def write_configs(case, folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    old = json.dumps(old_style(config), indent=2, sort_keys=True) + "\n"
    (folder / "config_old.json").write_text(old)
    if case.old_config:
        path.write_text(old)


def load(folder, dtype, config_name="config.json"):
    # Not model.to(dtype), which would also round the rotation frequencies.
    kind = type(transformers.AutoConfig.from_pretrained(folder))
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, config=kind.from_json_file(folder / config_name), dtype=dtype,
        attn_implementation="eager").eval()


def dump(case, seed, out):
    rng = np.random.default_rng(seed)
    model = build(case)
    randomize(model, rng)
    ids = torch.from_numpy(rng.integers(3, model.config.vocab_size, case.tokens))

    folder = out / case.name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(DTYPES[case.dtype]).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_configs(case, folder)

    model = load(folder, torch.float32)
    reference = {"input_ids": ids, **run(model, ids)}
    old = run(load(folder, torch.float32, "config_old.json"), ids)
    assert torch.equal(old["logits"], reference["logits"]), "the two configs disagree"
    if case.dtype != "f32":
        native = load(folder, DTYPES[case.dtype])
        reference["native.logits"] = run(native, ids)["logits"]
    if case.generate:
        reference.update(continuations(model, ids))
    save_file(reference, folder / "reference.safetensors")
    describe(case, folder, reference, model, ids)


def describe(case, folder, reference, model, ids):
    with torch.no_grad():
        attention = model(ids[None], use_cache=False, output_attentions=True).attentions
    peak = torch.stack([a.max(-1).values.mean() for a in attention]).mean()
    size = sum(f.stat().st_size for f in folder.iterdir())
    line = f"{case.name:14} {size / 1000:6.1f} kB  logits std {reference['logits'].std():.2f}" \
           f"  attention peak {peak:.2f}"
    if "native.logits" in reference:
        drift = (reference["native.logits"] - reference["logits"]).abs().max()
        line += f"  native differs by {drift:.3g}"
    print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve()
                        .parent.parent / "tests/model/data")
    parser.add_argument("--only", nargs="*", help="names of the cases to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for seed, case in enumerate(CASES, start=FIRST_SEED):
        if not args.only or case.name in args.only:
            dump(case, seed, args.out)


if __name__ == "__main__":
    main()
