# SPDX-License-Identifier: Apache-2.0
"""Token rows for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .generate import documents

END_ID = 0


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of documents; the post-processor puts the end token in front."""
    return [e.ids for e in tokenizer.encode_batch(texts)]


class Rows:
    """Endless rows of training tokens; ``next_document`` allows resuming."""

    def __init__(self, tokenizer: Tokenizer, seed: int, next_document: int = 0):
        self.tokenizer = tokenizer
        self.seed = seed
        self.next_document = next_document

    def _row(self, length: int) -> list[int]:
        """A row starts with a document, as a prompt does; the last one is cut."""
        row: list[int] = []
        stream = documents(self.seed, self.next_document)
        while len(row) < length:
            row += self.tokenizer.encode(next(stream)).ids
            self.next_document += 1
        return row[:length]

    def batch(self, rows: int, context: int) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([self._row(context + 1) for _ in range(rows)])
        return ids[:, :-1], ids[:, 1:]


def evaluation_rows(tokenizer: Tokenizer, text: str, context: int) -> Tensor:
    """Blank-line separated documents as rows of context + 1 tokens, overlapping by one."""
    stream = [i for ids in encode(tokenizer, text.strip("\n").split("\n\n")) for i in ids]
    count = (len(stream) - 1) // context
    return torch.tensor([stream[i * context: (i + 1) * context + 1] for i in range(count)])


def batches(rows: Tensor, size: int) -> Iterable[Tensor]:
    return torch.split(rows, size)
