#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Independent NumPy versions of the algorithms on random problems -> tests/quant/data/algorithms.json.

GPTQ by the textbook (H inverted, columns eliminated one by one), in double; AWQ's search, AWQ's and MSE clipping and
SmoothQuant's factors by their formulas. Weights are multiples of 1/64 and inputs of 1/8 or 1/32, so that sums are exact.
"cases" list their numbers; those of "grids", larger, are made from a seed by SplitMix64, here and in the test.
Usage: dump_algorithms.py > tests/quant/data/algorithms.json
"""
import json
from dataclasses import dataclass

import numpy as np


@dataclass
class Scheme:
    """Integers of `bits` whose cells, rows x columns of weights, share a scale; None: all of them."""
    bits: int
    symmetric: bool = True
    cell: tuple = (1, None)

    def ends(self):
        half = 2 ** (self.bits - 1)
        return (1 - half if self.symmetric else -half), half - 1

    def grid(self, low, high):
        """Scale and zero point of a range that holds 0, in float32."""
        low, high = np.float32(min(low, 0)), np.float32(max(high, 0))
        first, last = self.ends()
        if self.symmetric:
            return max(-low, high) / np.float32(last), np.float32(0)
        steps = np.float32(last - first)
        scale = high / steps - low / steps
        return scale, np.clip(np.rint(np.float32(first) - low / scale), np.float32(first), np.float32(last))

    def codes(self, values, grid):
        scale, zero = grid
        return np.rint(np.clip(np.float32(values) / scale + zero, *map(np.float32, self.ends())))

    def nearest(self, values, grid):
        return (self.codes(values, grid) - grid[1]) * grid[0]

    def fit(self, values, clip=False):
        """The grid of the whole range or, clipped, of the share of it (1 to 0.5) with the smallest squared error."""
        best, smallest = None, np.inf
        for step in range(21 if clip else 1):
            keep = np.float32(1) - np.float32(step) / np.float32(40)
            grid = self.grid(keep * np.float32(values.min()), keep * np.float32(values.max()))
            error = np.sum((values.astype(np.float64) - self.nearest(values, grid)) ** 2)
            if error < smallest:
                best, smallest = grid, error
        return best

    def cells(self, shape):
        """Slices of rows and columns, in the order in which scales are stored."""
        high, wide = (size or whole for size, whole in zip(self.cell, shape))
        return [(slice(r, min(r + high, shape[0])), slice(c, min(c + wide, shape[1])))
                for r in range(0, shape[0], high) for c in range(0, shape[1], wide)]

    def fit_all(self, w, clip=False):
        return [self.fit(w[cell].astype(np.float32), clip) for cell in self.cells(w.shape)]

    def round(self, w):
        out = np.zeros(w.shape, dtype=np.float32)
        for cell, grid in zip(self.cells(w.shape), self.fit_all(w)):
            out[cell] = self.nearest(w[cell], grid)
        return out


def gptq(w, gram, scheme, act_order, clip=False, damping=0.01):
    """Weights, codes and grids."""
    grids, cells = scheme.fit_all(w, clip), scheme.cells(w.shape)
    w, h = w.astype(np.float64), gram.astype(np.float64)
    rows, columns = w.shape
    h = h + damping * np.mean(np.diag(h)) * np.eye(columns)
    owner = np.zeros(w.shape, dtype=int)
    for i, cell in enumerate(cells):
        owner[cell] = i
    grouped = scheme.cell[0] == 1 and scheme.cell[1] is not None
    order = np.argsort(-np.diag(gram), kind="stable") if act_order else np.arange(columns)
    left, result, codes = list(order), np.zeros_like(w, dtype=np.float32), np.zeros(w.shape, dtype=int)
    while left:
        inverse = np.linalg.inv(h[np.ix_(left, left)])
        j = left[0]
        for r in range(rows):
            if grouped and not act_order and j % scheme.cell[1] == 0:
                grids[owner[r, j]] = scheme.fit(w[r, j:j + scheme.cell[1]].astype(np.float32), clip)
            grid = grids[owner[r, j]]
            result[r, j], codes[r, j] = scheme.nearest(w[r, j], grid), scheme.codes(w[r, j], grid)
            w[r, left] -= (w[r, j] - float(result[r, j])) / inverse[0, 0] * inverse[0]
        left = left[1:]
    return result, codes, grids


def awq_scales(weights, mean, gram, scheme):
    best, smallest = None, np.inf
    for power in range(20):
        s = np.maximum(np.float32(1e-4), mean ** np.float32(power / 20)).astype(np.float32)
        s = s / np.sqrt(s.min() * s.max())
        loss = 0.0
        for w in weights:
            e = (scheme.round((w * s).astype(np.float32)) / s - w).astype(np.float64)
            loss += np.trace(e @ gram @ e.T)
        if loss < smallest:
            best, smallest = s, loss
    return best, smallest


def awq_clip(w, gram, scheme, wide=256):
    """Grids of cells within rows: the share of the range (1 to 0.55) with the smallest output error."""
    grids = []
    for cell in scheme.cells(w.shape):
        values, g = w[cell][0].astype(np.float32), gram[cell[1], cell[1]]
        if len(values) > wide:
            g = np.diag(np.diag(g))
        best, smallest = None, np.inf
        for step in range(10):
            keep = np.float32(1) - np.float32(step) / np.float32(20)
            grid = scheme.grid(keep * values.min(), keep * values.max())
            e = (values - scheme.nearest(values, grid)).astype(np.float64)
            if e @ g @ e < smallest:
                best, smallest = grid, e @ g @ e
        grids.append(best)
    return grids


def smoothquant_scales(weights, amax, alpha):
    largest = np.max([np.abs(w).max(axis=0) for w in weights], axis=0)
    return amax ** alpha / largest ** (1 - alpha)


class SplitMix64:
    MASK = 2 ** 64 - 1

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & self.MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & self.MASK
        return (z ^ (z >> 31)) * n >> 64


def seeded_problem(seed, rows, columns, samples):
    """Weights whose middle is not 0, some of them three times as large; inputs of four sizes, each like the one before."""
    rng = SplitMix64(seed)
    w = np.zeros((rows, columns))
    for i in range(rows * columns):
        small = rng.below(129) - 48
        w.flat[i] = small * (3 if rng.below(16) == 0 else 1) / 64
    sizes = [1 << rng.below(4) for _ in range(columns)]
    x = np.zeros((samples, columns))
    for i in range(samples):
        state = 0
        for c in range(columns):
            state = rng.below(33) - 16 + (state >> 1)
            x[i, c] = state * sizes[c] / 32
    return w, x


def short(values):
    return [float(f"{v:.9g}") for v in values]


def grids_json(grids):
    return {"scales": short(g[0] for g in grids), "zeros": [int(g[1]) for g in grids]}


def listed_case(rng, rows, columns, group, bits):
    scheme = Scheme(bits, cell=(1, group))
    sizes = np.exp(rng.normal(size=columns) * 1.2)
    mix = rng.normal(size=(columns, columns)) * 0.4 + np.eye(columns)
    x = np.rint(rng.normal(size=(columns + 16, columns)) @ mix * sizes * 8) / 8
    w = np.rint(rng.standard_t(5, size=(rows, columns)) * 64) / 64
    gram32 = (x.T @ x / len(x)).astype(np.float32).astype(np.float64)
    mean, amax = np.abs(x).mean(axis=0).astype(np.float32), np.abs(x).max(axis=0)
    s, loss = awq_scales([w], mean, gram32, scheme)
    return {"rows": rows, "columns": columns, "group": group, "bits": bits, "weights": w.ravel().tolist(),
            "inputs": x.ravel().tolist(), "samples": len(x),
            "gptq": gptq(w, gram32, scheme, False)[0].ravel().tolist(),
            "gptq_act_order": gptq(w, gram32, scheme, True)[0].ravel().tolist(),
            "awq": s.tolist(), "awq_loss": loss,
            "smoothquant": {str(a): smoothquant_scales([w], amax, a).tolist() for a in (0.5, 0.75)}}


def seeded_case(seed, rows, columns, args, scheme):
    """args: the scheme in compressed-tensors' words. Codes of four bits, counted from the lowest, are one digit each."""
    samples = columns + 16
    w, x = seeded_problem(seed, rows, columns, samples)
    gram32 = (x.T @ x / samples).astype(np.float32).astype(np.float64)
    case = {"seed": seed, "rows": rows, "columns": columns, "samples": samples, "args": args,
            "rtn": grids_json(scheme.fit_all(w)), "clip": grids_json(scheme.fit_all(w, clip=True)),
            "awq": short(awq_scales([w], np.abs(x).mean(axis=0).astype(np.float32), gram32, scheme)[0]), "gptq": []}
    if scheme.cell[0] == 1:
        case["awq_clip"] = grids_json(awq_clip(w, gram32, scheme))
    for act_order in (False, True):
        for clip in (False, True):
            _, codes, grids = gptq(w, gram32, scheme, act_order, clip)
            digits = "".join("0123456789abcdef"[c + 2 ** (scheme.bits - 1)] for c in codes.ravel())
            case["gptq"].append({"act_order": act_order, "clip": clip, "codes": digits, **grids_json(grids)})
    return case


def main():
    rng = np.random.default_rng(3)
    cases = [listed_case(rng, *numbers) for numbers in [(5, 32, 32, 4), (3, 64, 32, 4), (4, 48, 48, 3), (6, 40, 40, 8)]]
    grids = []
    for rows, columns, bits, symmetric, strategy, cell in [
            (4, 320, 4, False, "group", (1, 64)), (3, 320, 3, True, "group", (1, 32)), (4, 300, 4, True, "channel", (1, None)),
            (4, 300, 4, False, "channel", (1, None)), (4, 300, 4, True, "tensor", (None, None)),
            (3, 300, 3, False, "tensor", (None, None)), (6, 300, 4, True, "block", (4, 128)), (5, 200, 4, False, "block", (2, 64))]:
        args = {"num_bits": bits, "symmetric": symmetric, "strategy": strategy}
        if strategy == "group":
            args["group_size"] = cell[1]
        if strategy == "block":
            args["block_structure"] = list(cell)
        grids.append(seeded_case(len(grids) + 1, rows, columns, args, Scheme(bits, symmetric, cell)))
    print(json.dumps({"made_by": "tools/dump_algorithms.py", "cases": cases, "grids": grids}, separators=(",", ":")))


if __name__ == "__main__":
    main()
