# SPDX-License-Identifier: Apache-2.0
"""Seeded random choices that are skewed and depend on their context.

A uniform choice leaves a language model with a tie that no training resolves, and
a tie makes greedy decoding depend on rounding. So the generator prefers some
options clearly, and which ones it prefers depends on a key (a name, a place).
Learning those preferences is also work for the model's memory.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Each option is RATIO times as likely as the next one in the order of its key.
RATIO = 2.2
# Now and then the choice ignores the preferences, so that what follows in the
# text has to be copied from it and cannot be guessed from the key.
WILD = 0.10


@functools.lru_cache(maxsize=None)
def preference(count: int, key: tuple) -> tuple[int, ...]:
    """A fixed order of ``count`` options for a key."""
    order = list(range(count))
    random.Random(f"{count}|" + "|".join(map(str, key))).shuffle(order)
    return tuple(order)


class Dice:
    def __init__(self, seed: int | str):
        self.rng = random.Random(seed)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: Sequence[T], *key: object, ratio: float = RATIO,
             wild: float = WILD, avoid: Sequence[T] = ()) -> T:
        """One option, by the preferences of the key; never one of ``avoid``."""
        order = [options[i] for i in preference(len(options), key)]
        if avoid:
            order = [option for option in order if option not in avoid]
        if self.rng.random() < wild:
            return order[self.rng.randrange(len(order))]
        rank = 0
        while self.rng.random() * ratio < 1.0:
            rank += 1
        return order[rank % len(order)]

    def say(self, variants: Sequence[str], *key: object) -> str:
        """One phrasing; unlike ``pick`` it has no wild choices."""
        return self.pick(variants, *key, wild=0.0)

    def number(self, low: int, high: int, *key: object) -> int:
        """A number from low to high inclusive, with a milder preference."""
        return self.pick(range(low, high + 1), *key, ratio=1.7, wild=0.25)
