// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int_dot.h"
#include "kernels/cpu/tiles.h"

namespace codecllm::CODECLLM_TIER {

namespace {

constexpr int64_t kNearActivations = 384;  // as kNearBytes

// Accumulators of a tile: two panels of so many rows fill the registers (AVX2: one panel).
template <class Dot>
constexpr int kTileRows = kManyRegisters ? 12 / Dot::kHalves : Dot::kHalves == 2 ? 2 : 3;
constexpr int kTilePanels = kManyRegisters ? 2 : 1;

static_assert(kTileRows<ByteDot> <= kMaxTileRows && kTileRows<WordDot> <= kMaxTileRows);

int64_t tile_rows(int64_t halves) { return halves == 2 ? kTileRows<WordDot> : kTileRows<ByteDot>; }

// Sums over lines [line, line_end) of one 64-byte-line stream per panel, for a tile of M activation rows and P panels.
template <class Dot, bool kNibbles, int M, int P>
VEC void sum_lines(const uint8_t* weights, int64_t panel_bytes, const uint8_t* rows, int64_t line, int64_t line_end,
                   Pack<typename Dot::Sum, P * M>& sums) {
  constexpr int kLineUnits = kNibbles ? 2 : 1;
  constexpr int64_t kFoldLines = Dot::kFoldColumns / (kUnitColumns * kLineUnits);
  constexpr bool kFewRows = M * Dot::kHalves <= 8;  // the weights come from memory
  const Ahead<P> ahead(panel_bytes);
  while (line < line_end) {
    const int64_t fold = line_end - line > kFoldLines ? line + kFoldLines : line_end, stop = M == 1 ? ahead.stop(line, fold) : fold;
    const int64_t bytes = M == 1 ? ahead.bytes(line) : kFewRows ? kAheadBytes : kNearBytes;
    for (; line < stop; ++line) {
      Pack<typename Dot::Unit, P * kLineUnits> units;
      each<P>(EACH(p) {
        const uint8_t* at = weights + p * panel_bytes + line * kLineBytes;
        ask<M == 1>(at + bytes);
        if constexpr (kNibbles) {
          Dot::load_nibbles(at, cell<2>(units, p, Index<0>()), cell<2>(units, p, Index<1>()));
        } else {
          units.at(p) = Dot::load(at);
        }
      });
      const uint8_t* activations = rows + line * kLineUnits * M * Dot::kUnitBytes;
      if constexpr (!kFewRows) prefetch(activations + kNearActivations);
      each<kLineUnits>(EACH(u) {
        each<M>(EACH(m) {
          const auto x = Dot::broadcast(activations + (u * M + m) * Dot::kUnitBytes);
          each<P>(EACH(p) { Dot::step(cell<M>(sums, p, m), cell<kLineUnits>(units, p, u), x); });
        });
      });
    }
    each<P * M>(EACH(i) { Dot::fold(sums.at(i)); });
  }
}

// One activation row: several accumulators, since each multiply-add waits five cycles for the one before.
template <class Dot, bool kNibbles>
VEC void sum_lines_one_row(const uint8_t* weights, const uint8_t* row, int64_t line, int64_t line_end,
                           Pack<typename Dot::Sum, 1>& total) {
  constexpr int kChains = 4, kLineUnits = kNibbles ? 2 : 1, kLines = kChains / kLineUnits;
  constexpr int64_t kFoldLines = Dot::kFoldColumns / (kUnitColumns * kLineUnits);
  Pack<typename Dot::Sum, kChains> sums;
  each<kChains>(EACH(i) { sums.at(i) = Dot::zero(); });
  while (line_end - line >= kLines) {
    const int64_t stop = line_end - line > kFoldLines ? line + kFoldLines : line_end - kLines + 1;
    for (; line < stop; line += kLines) {
      each<kLines>(EACH(i) {
        const uint8_t* at = weights + (line + i) * kLineBytes;
        const uint8_t* activation = row + (line + i) * kLineUnits * Dot::kUnitBytes;
        // The second-level cache fetches lines in pairs, and asked for one of two it is fastest (INT8, Zen 4: 29 GB/s; asked for each
        // line by way of the first-level cache, 25). Nibbles by two halves of activations take so long that the first level's own wait
        // shows: there they are asked for a second time, to stay shortly, and the activations, which a panel drives out, with them
        // (INT4, groups of 128, [4096, 5632]: 46 to 54 billion weights a second).
        if constexpr (i % 2 == 0) prefetch_far(at + kAheadBytes);
        if constexpr (kNibbles && Dot::kHalves == 2) {
          prefetch_once(at + 256);
          if constexpr (i % 2 == 0) prefetch(activation + 256);
        }
        if constexpr (kNibbles) {
          typename Dot::Unit first, second;
          Dot::load_nibbles(at, first, second);
          Dot::step(cell<2>(sums, i, Index<0>()), first, Dot::broadcast(activation));
          Dot::step(cell<2>(sums, i, Index<1>()), second, Dot::broadcast(activation + Dot::kUnitBytes));
        } else {
          Dot::step(sums.at(i), Dot::load(at), Dot::broadcast(activation));
        }
      });
    }
    each<kChains>(EACH(i) { Dot::fold(sums.at(i)); });
  }
  sum_lines<Dot, kNibbles, 1, 1>(weights, 0, row, line, line_end, total);
  each<kChains>(EACH(i) { Dot::add_to(total.own, sums.at(i)); });
}

// y for a tile of M activation rows from row m and P panels from panel p0.
template <class Dot, bool kNibbles, int M, int P>
void tile(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t m0, int64_t p0) {
  constexpr int kLineColumns = kNibbles ? 8 : 4;
  const int64_t groups = w.groups(), lines = w.lines(), group_lines = groups == 1 ? lines : w.group / kLineColumns;
  const int64_t panel_bytes = w.panel_bytes();
  const uint8_t* weights = w.data + p0 * panel_bytes;
  const uint8_t* rows = x.codes + m0 * x.row_bytes;
  float results[P * M * kPanelRows];  // [P][M][16]
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t line = g * group_lines, line_end = line + group_lines < lines ? line + group_lines : lines;
    Pack<typename Dot::Sum, P * M> sums;
    each<P>(EACH(p) {
      const vi zeros = load_zeros(w, ((p0 + p) * groups + g) * kPanelRows);
      each<M>(EACH(m) { cell<M>(sums, p, m) = start_sum<Dot>(zeros, w, (p0 + p) * groups + g, x, m0 + m, g); });
    });
    if constexpr (M == 1 && P == 1) {
      sum_lines_one_row<Dot, kNibbles>(weights, rows, line, line_end, sums);
    } else {
      sum_lines<Dot, kNibbles, M, P>(weights, panel_bytes, rows, line, line_end, sums);
    }
    each<P>(EACH(p) {
      const vf scales = load_scales(w, ((p0 + p) * groups + g) * kPanelRows);
      each<M>(EACH(m) {
        float* to = results + (p * M + m) * kPanelRows;
        const vf scaled = mul(Dot::to_float(cell<M>(sums, p, m)), scales);
        store(to, add(g == 0 ? zero() : load(to), scaled));
      });
    });
  }
  for (int p = 0; p < P; ++p)
    for (int m = 0; m < M; ++m)
      store_rows(w, p0 + p, y + (m0 + m) * y_stride, mul(load(results + (p * M + m) * kPanelRows), set1(x.scale[m0 + m])));
}

bool short_groups(const MatrixView& w) { return w.groups() > 1 && w.group < 64; }

template <class Dot, bool kNibbles>
void range(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t begin, int64_t end) {
  each_block<kTileRows<Dot>, kTilePanels>(w, x.rows, begin, end, [&](RowTile rows, int64_t p, int64_t stop) {
    at_rows<kTileRows<Dot>>(rows.rows, [&](auto m) {
      // A single row reads one panel after the other: a linear stream is the fastest way through memory. But where groups are so short
      // that their ends take most of the time, two panels share more (INT4, groups of 32, [4096, 5632]: 42 to 51 billion weights a second).
      if (m > 1 || (kNibbles && Dot::kHalves == 2 && short_groups(w)))
        for (; p + kTilePanels <= stop; p += kTilePanels) tile<Dot, kNibbles, m, kTilePanels>(w, x, y, y_stride, rows.first, p);
      for (; p < stop; ++p) tile<Dot, kNibbles, m, 1>(w, x, y, y_stride, rows.first, p);
    });
  });
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
