# SPDX-License-Identifier: Apache-2.0
"""Checks the exported model: perplexity, damage by rounding, questions, samples.

    python -m embedded_model.check models/codecllm-stories
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from .checkpoint import load
from .data import END_ID, batches, evaluation_rows
from .llama import Llama

CONTEXT = 512
SAMPLE_TOKENS = 200
MATCH_TOKENS = 64


def rounded(model: Llama, bits: int) -> Llama:
    """A copy whose layer matrices are rounded to nearest, one scale per output channel."""
    other = copy.deepcopy(model)
    top = 2 ** (bits - 1) - 1
    for module in other.modules():
        if isinstance(module, torch.nn.Linear):
            weight = module.weight.data
            scale = weight.abs().amax(dim=1, keepdim=True) / top
            weight.copy_((weight / scale).round().clamp(-top, top) * scale)
    return other


def perplexity(model: Llama, rows: Tensor) -> float:
    total = 0.0
    for part in batches(rows, 8):
        logits = model(part[:, :-1]).flatten(0, 1)
        total += F.cross_entropy(logits, part[:, 1:].flatten(), reduction="sum").item()
    return math.exp(total / (rows.shape[0] * (rows.shape[1] - 1)))


def choose(model: Llama, tokenizer: Tokenizer, item: dict) -> int:
    """The choice with the highest total log probability after the prompt."""
    start = len(tokenizer.encode(item["prompt"]).ids)
    texts = [tokenizer.encode(item["prompt"] + c).ids for c in item["choices"]]
    longest = max(map(len, texts))
    ids = torch.tensor([t + [END_ID] * (longest - len(t)) for t in texts])
    log_probs = model(ids[:, :-1])[:, start - 1:].log_softmax(-1)
    picked = log_probs.gather(-1, ids[:, start:, None]).squeeze(-1)
    scores = [picked[i, : len(t) - start].sum().item() for i, t in enumerate(texts)]
    return scores.index(max(scores))


def accuracy(model: Llama, tokenizer: Tokenizer, items: list[dict]) -> dict[str, float]:
    """The share of right answers in all and for each kind."""
    right: dict[str, list[bool]] = {"all": []}
    for item in items:
        hit = choose(model, tokenizer, item) == item["answer"]
        right["all"].append(hit)
        right.setdefault(item["kind"], []).append(hit)
    return {kind: sum(hits) / len(hits) for kind, hits in right.items()}


def continuation(model: Llama, ids: list[int], count: int) -> tuple[list[int], float]:
    """Greedy tokens, and the smallest gap between the two best logits on the way."""
    ids, gap = list(ids), math.inf
    for _ in range(count):
        best = model(torch.tensor([ids]))[0, -1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        ids.append(int(best.indices[0]))
    return ids[-count:], gap


def matches(model: Llama, other: Llama, tokenizer: Tokenizer, prompts: list[str]) -> int:
    """On how many prompts both models continue alike."""
    same = 0
    for prompt in prompts:
        ids = tokenizer.encode(prompt).ids
        ours, gap = continuation(model, ids, MATCH_TOKENS)
        theirs, _ = continuation(other, ids, MATCH_TOKENS)
        first = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), MATCH_TOKENS)
        same += first == MATCH_TOKENS
        print(f"  {first:3d} tokens alike, smallest gap {gap:.3f}: {prompt}")
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--weights", type=Path, help="a folder with other weights for the same texts")
    parser.add_argument("--rows", type=int, default=0, help="use only so many rows of text")
    parser.add_argument("--items", type=int, default=0, help="use only so many questions")
    parser.add_argument("--no-samples", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    model = load(args.weights or args.model)
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    rows = evaluation_rows(tokenizer, (args.model / "heldout.txt").read_text(), CONTEXT)
    rows = rows[: args.rows or None]
    items = [json.loads(line) for line in (args.model / "questions.jsonl").read_text().splitlines()]
    prompts = (args.model / "prompts.txt").read_text().splitlines()

    plain = perplexity(model, rows)
    print(f"perplexity BF16 {plain:.4f} on {rows.shape[0] * CONTEXT} tokens")
    for bits in (8, 4, 3):
        value = perplexity(rounded(model, bits), rows)
        print(f"perplexity INT{bits} {value:.4f} ({100 * (value / plain - 1):+.2f}%)")
    shares = accuracy(model, tokenizer, items[: args.items or None])
    print("right answers " + ", ".join(f"{kind} {share:.3f}" for kind, share in shares.items()))
    capital, _ = continuation(model, tokenizer.encode("The capital of France is").ids, 12)
    print("The capital of France is" + tokenizer.decode(capital))
    if args.no_samples:
        return
    for prompt in prompts[1:4]:
        ids, _ = continuation(model, tokenizer.encode(prompt).ids, SAMPLE_TOKENS)
        print("--- " + prompt + tokenizer.decode(ids, skip_special_tokens=False))
    print("greedy text of BF16 and INT8:")
    print(f"{matches(model, rounded(model, 8), tokenizer, prompts)} of {len(prompts)} alike")


if __name__ == "__main__":
    main()
