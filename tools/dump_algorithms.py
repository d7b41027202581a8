#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Independent NumPy versions of the algorithms on random problems -> tests/quant/data/algorithms.json.

GPTQ by the textbook (H inverted, columns eliminated one by one), in double; AWQ's search and SmoothQuant's factors by
their formulas. Weights are multiples of 1/64, inputs of 1/8, so that the JSON is short and exact.
Usage: dump_algorithms.py > tests/quant/data/algorithms.json
"""
import json

import numpy as np


def fit(values, bits):
    """One symmetric scale, rounded to float32."""
    limit = 2 ** (bits - 1) - 1
    return np.float32(np.float32(np.abs(values).max()) / np.float32(limit))


def nearest(value, scale, bits):
    limit = 2 ** (bits - 1) - 1
    return np.clip(np.rint(np.float32(value) / scale), -limit, limit).astype(np.float32) * scale


def gptq(w, gram, bits, group, act_order, damping=0.01):
    w, h = w.astype(np.float64), gram.astype(np.float64)
    rows, columns = w.shape
    h = h + damping * np.mean(np.diag(h)) * np.eye(columns)
    scales = [[fit(row[g:g + group], bits) for g in range(0, columns, group)] for row in w]
    order = np.argsort(-np.diag(gram), kind="stable") if act_order else np.arange(columns)
    left, result = list(order), np.zeros_like(w, dtype=np.float32)
    while left:
        inverse = np.linalg.inv(h[np.ix_(left, left)])
        j = left[0]
        if not act_order and j % group == 0:
            for r in range(rows):
                scales[r][j // group] = fit(w[r, j:j + group].astype(np.float32), bits)
        for r in range(rows):
            result[r, j] = nearest(w[r, j], scales[r][j // group], bits)
            w[r, left] -= (w[r, j] - float(result[r, j])) / inverse[0, 0] * inverse[0]
        left = left[1:]
    return result


def awq_scales(weights, mean, gram, bits, group):
    best, smallest = None, np.inf
    for power in range(20):
        s = np.maximum(np.float32(1e-4), mean ** np.float32(power / 20)).astype(np.float32)
        s = s / np.sqrt(s.min() * s.max())
        loss = 0.0
        for w in weights:
            scaled = (w * s).astype(np.float32)
            q = np.concatenate([np.stack([nearest(row[g:g + group], fit(row[g:g + group], bits), bits) for row in scaled])
                                for g in range(0, w.shape[1], group)], axis=1)
            e = (q / s - w).astype(np.float64)
            loss += np.trace(e @ gram @ e.T)
        if loss < smallest:
            best, smallest = s, loss
    return best, smallest


def smoothquant_scales(weights, amax, alpha):
    largest = np.max([np.abs(w).max(axis=0) for w in weights], axis=0)
    return amax ** alpha / largest ** (1 - alpha)


def main():
    rng = np.random.default_rng(3)
    cases = []
    for rows, columns, group, bits in [(5, 32, 32, 4), (3, 64, 32, 4), (4, 48, 48, 3), (6, 40, 40, 8)]:
        sizes = np.exp(rng.normal(size=columns) * 1.2)
        mix = rng.normal(size=(columns, columns)) * 0.4 + np.eye(columns)
        x = np.rint(rng.normal(size=(columns + 16, columns)) @ mix * sizes * 8) / 8
        w = np.rint(rng.standard_t(5, size=(rows, columns)) * 64) / 64
        gram = x.T @ x / len(x)
        gram32 = gram.astype(np.float32).astype(np.float64)
        mean, amax = np.abs(x).mean(axis=0).astype(np.float32), np.abs(x).max(axis=0)
        s, loss = awq_scales([w], mean, gram32, bits, group)
        cases.append({
            "rows": rows, "columns": columns, "group": group, "bits": bits, "weights": w.ravel().tolist(),
            "inputs": x.ravel().tolist(), "samples": len(x),
            "gptq": gptq(w, gram32, bits, group, False).ravel().tolist(),
            "gptq_act_order": gptq(w, gram32, bits, group, True).ravel().tolist(),
            "awq": s.tolist(), "awq_loss": loss,
            "smoothquant": {str(a): smoothquant_scales([w], amax, a).tolist() for a in (0.5, 0.75)}})
    print(json.dumps({"made_by": "tools/dump_algorithms.py", "cases": cases}, separators=(",", ":")))


if __name__ == "__main__":
    main()
