#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/format/data/float8.json: 8-bit floats as the ml_dtypes package has them.

For E4M3 (finite only) and E5M2: the value of every code, and what f32 numbers round to. The
inputs are every finite value, the middle between each two neighbours, the f32 numbers next to
these on both sides, and numbers beyond both ends; clipped to the largest number first, since
ml_dtypes does not saturate. All are bit patterns of f32, in hexadecimal.

Usage: dump_float8.py
"""

import json
import pathlib

import ml_dtypes
import numpy as np

TYPES = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}


def hex_of(values):
    return "".join(f"{bits:08x}" for bits in values.astype(np.float32).view(np.uint32))


def dump(dtype):
    codes = np.arange(256, dtype=np.uint8)
    values = codes.view(dtype).astype(np.float32)
    steps = np.unique(np.abs(values[np.isfinite(values)]))
    middles = (steps[:-1] + steps[1:]) / 2  # exact in f32
    top = steps[-1]
    points = np.concatenate([steps, middles, [top * 1.01, top * 2, 3e38, np.inf, 1e-30, 1e-45]]).astype(np.float32)
    near = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
    inputs = np.unique(near.view(np.uint32)).view(np.float32)
    inputs = np.concatenate([inputs, -inputs])
    rounded = np.clip(inputs, -top, top).astype(dtype).view(np.uint8)
    return {"values": hex_of(values), "inputs": hex_of(inputs), "codes": rounded.tobytes().hex()}


def main():
    path = pathlib.Path(__file__).resolve().parent.parent / "tests/format/data/float8.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({name: dump(dtype) for name, dtype in TYPES.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
