# SPDX-License-Identifier: Apache-2.0
"""Gives the matrices of a model a few large columns, without changing its function.

In large language models the channels of a layer differ widely in scale, and that is
what makes coarse rounding of their weights hard. A model this small does not grow
such differences by itself, so that one could not tell a good quantizer from a bad one
with it. Here a share of the channels that enter each matrix is divided by a power of
two where it is made (the gain of the normalisation, the rows of the matrix before),
and the columns that read it are multiplied by the same number. Powers of two are
exact in BF16: every product keeps its value, but one scale for a row now has to cover
both large and ordinary weights.

    python -m embedded_model.outliers IN OUT --share 0.03 --exponent 3
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import export, load
from .llama import Layer, Llama


class Gains:
    """Draws one for most channels, and 2**-exponent for a share of them."""

    def __init__(self, share: float, exponent: int, seed: int):
        self.share = share
        self.gain = 2.0**-exponent
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, size: int) -> Tensor:
        gains = torch.ones(size)
        count = round(size * self.share)
        gains[torch.randperm(size, generator=self.generator)[:count]] = self.gain
        return gains


def spread_layer(layer: Layer, gains: Gains) -> None:
    attention, mlp = layer.self_attn, layer.mlp
    for norm, readers in ((layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                          (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj))):
        drawn = gains.draw(norm.weight.numel())
        norm.weight.data *= drawn
        for reader in readers:
            reader.weight.data /= drawn

    drawn = gains.draw(mlp.up_proj.out_features)
    mlp.up_proj.weight.data *= drawn[:, None]
    mlp.down_proj.weight.data /= drawn

    drawn = gains.draw(attention.v_proj.out_features)
    attention.v_proj.weight.data *= drawn[:, None]
    # Query heads of a group read the same value head.
    cfg = attention.cfg
    group = cfg.num_attention_heads // cfg.num_key_value_heads
    per_head = drawn.view(cfg.num_key_value_heads, 1, cfg.head_dim)
    attention.o_proj.weight.data /= per_head.expand(-1, group, -1).flatten()


def spread(model: Llama, share: float, exponent: int, layers: list[int], seed: int = 0) -> None:
    """Changes the given layers in place."""
    gains = Gains(share, exponent, seed)
    for index in layers:
        spread_layer(model.layers[index], gains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.03)
    parser.add_argument("--exponent", type=int, default=3)
    parser.add_argument("--layers", type=int, nargs="+", help="which layers; by default all")
    args = parser.parse_args()
    model = load(args.source)
    layers = args.layers or list(range(len(model.layers)))
    spread(model, args.share, args.exponent, layers)
    export(model, args.out)


if __name__ == "__main__":
    main()
