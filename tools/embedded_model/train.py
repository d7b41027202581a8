# SPDX-License-Identifier: Apache-2.0
"""Trains the embedded model on endless generated text, for a given time.

    python -m embedded_model.train --minutes 100 --work /tmp/run --out models/codecllm-stories

A run that stops early resumes from the checkpoint in --work.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from .checkpoint import export
from .data import Rows
from .llama import Config, Llama

# Long rows come last: they are slower, and few are needed to learn far positions.
LONG_FROM = 0.9
WARMUP = 0.02
DECAY_FROM = 0.75


def learning_rate(peak: float, done: float) -> float:
    """Warm up, stay, then fall to zero, by the share of the time that has passed."""
    if done < WARMUP:
        return peak * max(done / WARMUP, 0.01)
    if done < DECAY_FROM:
        return peak
    return peak * max(0.01, 0.5 * (1 + math.cos(math.pi * (done - DECAY_FROM) / (1 - DECAY_FROM))))


def make_optimizer(model: Llama, peak: float, decay: float) -> torch.optim.AdamW:
    """Weight decay applies to the matrices of the layers only."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), fused=True)


class Run:
    """The state of a training run, which the checkpoint holds completely."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.file = args.work / "checkpoint.pt"
        torch.manual_seed(args.seed)
        self.model = Llama(Config(num_hidden_layers=args.layers))
        self.optimizer = make_optimizer(self.model, args.lr, args.weight_decay)
        self.rows = Rows(Tokenizer.from_file(str(args.out / "tokenizer.json")), args.seed)
        self.seconds, self.step, self.tokens = 0.0, 0, 0
        if self.file.exists():
            self._load()

    def _load(self) -> None:
        state = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seconds, self.step, self.tokens = state["seconds"], state["step"], state["tokens"]
        self.rows.next_document = state["next_document"]

    def save(self) -> None:
        self.args.work.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                    "seconds": self.seconds, "step": self.step, "tokens": self.tokens,
                    "next_document": self.rows.next_document}, partial)
        partial.replace(self.file)
        export(self.model, self.args.work / "latest")

    @property
    def done(self) -> float:
        return self.seconds / (60 * self.args.minutes)

    def train_step(self) -> float:
        start = time.monotonic()
        rate = learning_rate(self.args.lr, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        longer = 2 if self.done > LONG_FROM else 1
        ids, targets = self.rows.batch(self.args.rows // longer, self.args.context * longer)
        loss = F.cross_entropy(self.model(ids).flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.tokens += ids.numel()
        self.seconds += time.monotonic() - start
        return loss.item()


def train(run: Run) -> None:
    args = run.args
    early = args.export_after * 60
    next_save = run.seconds + args.save_every * 60
    losses: list[float] = []
    mark = (run.tokens, run.seconds)
    while run.done < 1.0:
        losses.append(run.train_step())
        if run.step % args.report == 0:
            speed = (run.tokens - mark[0]) / (run.seconds - mark[1])
            print(f"step {run.step} minute {run.seconds / 60:.1f} tokens {run.tokens / 1e6:.2f}M "
                  f"loss {sum(losses) / len(losses):.4f} {speed:.0f} tok/s", flush=True)
            losses, mark = [], (run.tokens, run.seconds)
        if run.seconds >= next_save:
            run.save()
            next_save = run.seconds + args.save_every * 60
        if early and run.seconds >= early:
            export(run.model, args.out)
            early = 0
    run.save()
    export(run.model, args.out)
    print("finished", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=100)
    parser.add_argument("--work", type=Path, required=True, help="checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="holds tokenizer.json; gets the model")
    parser.add_argument("--export-after", type=float, default=0, help="minutes to an early export")
    parser.add_argument("--save-every", type=float, default=4, help="minutes between checkpoints")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--report", type=int, default=25, help="steps between progress lines")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(Run(args))


if __name__ == "__main__":
    main()
