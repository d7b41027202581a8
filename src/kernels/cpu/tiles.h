// SPDX-License-Identifier: Apache-2.0
// How a product walks over a matrix: tiles of activation rows over blocks of panels.
#pragma once

#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {
namespace {

// Weights that stay in the second-level cache while all rows pass over them, so that the rows, a megabyte of a long
// prompt, are fetched from further away once for many panels.
constexpr int64_t kBlockBytes = 384 << 10;

// How far ahead of a line the lines of P panels, read side by side, are asked for: where a panel ends, the next P begin behind the
// others of now.
template <int P>
struct Ahead {
  int64_t last, beyond;  // the last line whose own panel goes on so far; what is added after it
  VEC explicit Ahead(int64_t panel_bytes) : last(panel_bytes / kLineBytes - kAheadBytes / kLineBytes - 1), beyond((P - 1) * panel_bytes) {}
  VEC int64_t bytes(int64_t line) const { return kAheadBytes + (line > last ? beyond : 0); }
  VEC int64_t stop(int64_t line, int64_t end) const { return line <= last && last < end ? last + 1 : end; }  // up to which bytes(line) holds
};

// Sixteen outputs of a panel; the last may have fewer.
VEC void store_rows(const MatrixView& w, int64_t panel, float* y, vf v) {
  const int64_t n = panel * kPanelRows, left = w.rows - n;
  if (left >= kPanelRows) {
    store(y + n, v);
  } else {
    store_n(y + n, v, left);
  }
}

// Calls body(Index of `rows`), 1 to M.
template <int M, class Body>
VEC void at_rows(int64_t rows, const Body& body) {
  if constexpr (M > 1) {
    if (rows < M) return at_rows<M - 1>(rows, body);
  }
  body(Index<M>());
}

// Calls body(tile, begin, end) for every tile of at most kRows of `rows` activation rows, over blocks of panels whose
// length is a multiple of kPanels (the last one's excepted). A single tile has nothing to keep in the cache.
template <int kRows, int kPanels, class Body>
VEC void each_block(const MatrixView& w, int64_t rows, int64_t begin, int64_t end, const Body& body) {
  const int64_t tiles = tile_count(rows, kRows), fit = kBlockBytes / w.panel_bytes() / kPanels * kPanels;
  const int64_t block = tiles == 1 || fit < kPanels ? kPanels : fit;
  for (; begin < end; begin += block) {
    const int64_t stop = begin + block < end ? begin + block : end;
    for (int64_t t = 0; t < tiles; ++t) body(tile_at(rows, kRows, t), begin, stop);
  }
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
