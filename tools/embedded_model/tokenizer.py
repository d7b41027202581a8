# SPDX-License-Identifier: Apache-2.0
"""Trains the byte-level BPE tokenizer and writes it in the HF layout.

    python -m embedded_model.tokenizer --out models/codecllm-stories
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from .generate import documents

END = "<|endoftext|>"
VOCAB_SIZE = 2048
# The split expression of Llama 3: contractions, words with one leading sign or
# space, up to three digits, runs of signs, line ends, spaces.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
         r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# Everyday prose, so that a few merges cover signs which the generator never uses.
PROSE = ("\"It's late,\" he said; \"don't wait!\" She'll come (or won't): who knows... "
         "You're right - I'm sure they've seen it, haven't they? [1/2] 50% & more; e.g. a_b = c + d*e.\n")


def train() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=[END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    sample = itertools.chain(itertools.islice(documents(seed=0), 12000), [PROSE] * 20)
    tokenizer.train_from_iterator(sample, trainer)
    # Each document starts with the end token of the one before, and so does a prompt.
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{END} $A", pair=f"{END} $A {END} $B",
                                      special_tokens=[(END, 0)]),
    ])
    return tokenizer


def write(tokenizer: Tokenizer, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    special = {"content": END, "lstrip": False, "normalized": False, "rstrip": False,
               "single_word": False, "special": True}
    config = {"added_tokens_decoder": {"0": special}, "bos_token": END, "eos_token": END,
              "clean_up_tokenization_spaces": False, "model_max_length": 1024,
              "tokenizer_class": "PreTrainedTokenizerFast"}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    tokenizer = train()
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"the vocabulary has {tokenizer.get_vocab_size()} entries, not {VOCAB_SIZE}")
    write(tokenizer, args.out)


if __name__ == "__main__":
    main()
