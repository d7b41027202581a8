// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Accumulators of a tile: two panels of so many rows fill the registers (AVX2: one panel).
template <class Dot>
constexpr int kTileRows = kManyRegisters ? 12 / Dot::kHalves : Dot::kHalves == 2 ? 2 : 3;
constexpr int kTilePanels = kManyRegisters ? 2 : 1;

int64_t tile_rows(int64_t halves) { return halves == 2 ? kTileRows<WordDot> : kTileRows<ByteDot>; }

VEC vf load_scales(const MatrixView& w, int64_t index) {
  if (w.scale_type == ScaleType::f32) return load(static_cast<const float*>(w.scales) + index);
  const auto* bits = static_cast<const uint16_t*>(w.scales) + index;
  return w.scale_type == ScaleType::bf16 ? load_bf16(bits) : load_f16(bits);
}

// The unsigned codes that stand for zero.
VEC vi load_zeros(const MatrixView& w, int64_t index) {
  return w.zeros == nullptr ? set1_int(traits(w.element).offset) : load_u8(w.zeros + index);
}

// Sums over lines [line, line_end) of one 64-byte-line stream per panel, for a tile of M activation rows and P panels.
template <class Dot, bool kNibbles, int M, int P>
VEC void sum_lines(const uint8_t* const (&weights)[P], const uint8_t* rows, int64_t line, int64_t line_end,
                   typename Dot::Sum (&sums)[P][M]) {
  constexpr int kLineUnits = kNibbles ? 2 : 1;
  constexpr int64_t kFoldLines = Dot::kFoldColumns / (kUnitColumns * kLineUnits);
  while (line < line_end) {
    const int64_t stop = line_end - line > kFoldLines ? line + kFoldLines : line_end;
    for (; line < stop; ++line) {
      typename Dot::Unit units[P][2];
      for (int p = 0; p < P; ++p) {
        if constexpr (kNibbles) {
          Dot::load_nibbles(weights[p] + line * kLineBytes, units[p][0], units[p][1]);
        } else {
          units[p][0] = Dot::load(weights[p] + line * kLineBytes);
        }
      }
      for (int u = 0; u < kLineUnits; ++u)
        for (int m = 0; m < M; ++m)
          for (int p = 0; p < P; ++p)
            Dot::step(sums[p][m], units[p][u], rows + ((line * kLineUnits + u) * M + m) * Dot::kUnitBytes);
    }
    for (int p = 0; p < P; ++p)
      for (int m = 0; m < M; ++m) Dot::fold(sums[p][m]);
  }
}

// One activation row: several accumulators, since each multiply-add waits five cycles for the one before.
template <class Dot, bool kNibbles>
VEC void sum_lines_one_row(const uint8_t* weights, const uint8_t* row, int64_t line, int64_t line_end,
                           typename Dot::Sum& total) {
  constexpr int kChains = 4, kLineUnits = kNibbles ? 2 : 1, kLines = kChains / kLineUnits;
  constexpr int64_t kFoldLines = Dot::kFoldColumns / (kUnitColumns * kLineUnits);
  typename Dot::Sum sums[kChains] = {Dot::zero(), Dot::zero(), Dot::zero(), Dot::zero()};
  while (line_end - line >= kLines) {
    const int64_t stop = line_end - line > kFoldLines ? line + kFoldLines : line_end - kLines + 1;
    for (; line < stop; line += kLines) {
      for (int i = 0; i < kLines; ++i) {
        const uint8_t* at = weights + (line + i) * kLineBytes;
        const uint8_t* activation = row + (line + i) * kLineUnits * Dot::kUnitBytes;
        if constexpr (kNibbles) {
          typename Dot::Unit first, second;
          Dot::load_nibbles(at, first, second);
          Dot::step(sums[2 * i], first, activation);
          Dot::step(sums[2 * i + 1], second, activation + Dot::kUnitBytes);
        } else {
          Dot::step(sums[i], Dot::load(at), activation);
        }
      }
    }
    for (auto& s : sums) Dot::fold(s);
  }
  const uint8_t* const weight_streams[1] = {weights};
  typename Dot::Sum rest[1][1] = {{total}};
  sum_lines<Dot, kNibbles, 1, 1>(weight_streams, row, line, line_end, rest);
  for (const auto& s : sums) Dot::add_to(rest[0][0], s);
  total = rest[0][0];
}

// y for a tile of M activation rows from row m and P panels from panel p0.
template <class Dot, bool kNibbles, int M, int P>
void tile(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t m0, int64_t p0) {
  constexpr int kLineColumns = kNibbles ? 8 : 4;
  constexpr int32_t kOffset = kNibbles ? 8 : 128;
  const int64_t groups = w.groups(), lines = w.lines(), group_lines = groups == 1 ? lines : w.group / kLineColumns;
  const uint8_t* weights[P];
  const uint8_t* rows = x.codes + m0 * x.row_bytes;
  for (int p = 0; p < P; ++p) weights[p] = w.data + (p0 + p) * w.panel_bytes();
  vf out[P][M];
  for (int p = 0; p < P; ++p)
    for (int m = 0; m < M; ++m) out[p][m] = zero();
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t line = g * group_lines, line_end = line + group_lines < lines ? line + group_lines : lines;
    typename Dot::Sum sums[P][M];
    for (int p = 0; p < P; ++p) {
      const vi zeros = load_zeros(w, ((p0 + p) * groups + g) * kPanelRows);
      for (int m = 0; m < M; ++m) sums[p][m] = Dot::start(zeros, kOffset, x.sums + ((m0 + m) * groups + g) * Dot::kHalves);
    }
    if constexpr (M == 1 && P == 1) {
      sum_lines_one_row<Dot, kNibbles>(weights[0], rows, line, line_end, sums[0][0]);
    } else {
      sum_lines<Dot, kNibbles, M, P>(weights, rows, line, line_end, sums);
    }
    for (int p = 0; p < P; ++p) {
      const vf scales = load_scales(w, ((p0 + p) * groups + g) * kPanelRows);
      for (int m = 0; m < M; ++m) out[p][m] = add(out[p][m], mul(Dot::to_float(sums[p][m]), scales));
    }
  }
  for (int p = 0; p < P; ++p) {
    const int64_t n = (p0 + p) * kPanelRows, left = w.rows - n;
    for (int m = 0; m < M; ++m) {
      const vf scaled = mul(out[p][m], set1(x.scale[m0 + m]));
      float* to = y + (m0 + m) * y_stride + n;
      if (left >= kPanelRows) {
        store(to, scaled);
      } else {
        store_n(to, scaled, left);
      }
    }
  }
}

// The tile of `rows` rows, 1 to M.
template <class Dot, bool kNibbles, int P, int M = kTileRows<Dot>>
void tile_of(int64_t rows, const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t m0, int64_t p0) {
  if constexpr (M > 1) {
    if (rows < M) return tile_of<Dot, kNibbles, P, M - 1>(rows, w, x, y, y_stride, m0, p0);
  }
  if constexpr (M > 1 || P == 1) {
    tile<Dot, kNibbles, M, P>(w, x, y, y_stride, m0, p0);
  } else {  // a single row reads one panel after the other: a linear stream is the fastest way through memory
    for (int p = 0; p < P; ++p) tile<Dot, kNibbles, 1, 1>(w, x, y, y_stride, m0, p0 + p);
  }
}

template <class Dot, bool kNibbles, int P>
void panels(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t p0) {
  const int64_t tiles = tile_count(x.rows, kTileRows<Dot>);
  for (int64_t t = 0; t < tiles; ++t) {
    const RowTile rows = tile_at(x.rows, kTileRows<Dot>, t);
    tile_of<Dot, kNibbles, P>(rows.rows, w, x, y, y_stride, rows.first, p0);
  }
}

template <class Dot, bool kNibbles>
void range(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t begin, int64_t end) {
  for (; begin + kTilePanels <= end; begin += kTilePanels) panels<Dot, kNibbles, kTilePanels>(w, x, y, y_stride, begin);
  for (; begin < end; ++begin) panels<Dot, kNibbles, 1>(w, x, y, y_stride, begin);
}

void matmul_int(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t panel_begin,
                int64_t panel_end) {
  const bool words = x.halves == 2;
  const auto run = w.element == Element::u4 ? (words ? range<WordDot, true> : range<ByteDot, true>)
                                            : (words ? range<WordDot, false> : range<ByteDot, false>);
  run(w, x, y, y_stride, panel_begin, panel_end);
}

}  // namespace

void fill_matmul_int(KernelTable& table) {
  table.tile_rows = tile_rows;
  table.matmul_int = matmul_int;
}

}  // namespace codecllm::CODECLLM_TIER
