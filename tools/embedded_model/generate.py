# SPDX-License-Identifier: Apache-2.0
"""Writes training or held-out text, or held-out questions.

    python -m embedded_model.generate --seed 1 --documents 100
    python -m embedded_model.generate --heldout --bytes 160000
    python -m embedded_model.generate --questions 360
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from . import drills, facts, questions
from .dice import Dice

STORY_SHARE = 0.6
FACT_SHARE = 0.32


def document(split: str, seed: int, index: int) -> str:
    """One document; the split is part of the seed, so that splits never meet."""
    dice = Dice(f"{split} {seed} {index}")
    kind = dice.rng.random()
    if kind < STORY_SHARE:
        return questions.document(dice)
    if kind < STORY_SHARE + FACT_SHARE:
        return facts.document(dice)
    return drills.document(dice)


def documents(seed: int, start: int = 0, split: str = "train") -> Iterator[str]:
    """An endless sequence of documents; none has a blank line inside."""
    index = start
    while True:
        yield document(split, seed, index)
        index += 1


def heldout_text(size: int, seed: int = 0) -> str:
    """About ``size`` bytes of held-out documents, separated by blank lines."""
    parts, total = [], 0
    for text in documents(seed, split="heldout"):
        parts.append(text)
        total += len(text) + 2
        if total >= size:
            return "\n\n".join(parts) + "\n"
    raise AssertionError("the sequence of documents is endless")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=0, help="stop after this size instead")
    parser.add_argument("--heldout", action="store_true", help="documents never trained on")
    parser.add_argument("--questions", type=int, default=0, help="write held-out questions instead")
    args = parser.parse_args()
    if args.questions:
        dice = Dice(f"questions {args.seed}")
        for item in questions.items(dice, args.questions):
            print(json.dumps(item))
    elif args.bytes:
        sys.stdout.write(heldout_text(args.bytes, args.seed))
    else:
        stream = documents(args.seed, split="heldout" if args.heldout else "train")
        print("\n\n".join(next(stream) for _ in range(args.documents)))


if __name__ == "__main__":
    main()
