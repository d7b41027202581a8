// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/float_dot.h"
#include "kernels/cpu/tiles.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Every output is, for each group, a sum over the even units and one over the odd ones, their sum scaled and added:
// the same for every number of rows in a tile. The last line of a row may hold columns that are not there: they are
// zero, as their activations are. The totals are in memory: they are added to once in a group, and twelve rows leave no
// registers for them.
template <Element E, int M, int P>
void float8_tile(const MatrixView& w, const ScaledActivations& x, float* y, int64_t y_stride, int64_t m0, int64_t p0) {
  using Dot = FloatDot<E>;
  const int64_t panel_bytes = w.panel_bytes(), groups = w.groups(), all = w.lines(), group_lines = groups == 1 ? all : w.group / 4;
  const uint8_t* weights = w.data + p0 * panel_bytes;
  constexpr int64_t kAheadFloats = 192;  // as in matmul_float.cc
  constexpr bool kFewRows = M <= 2;
  const Ahead<P> ahead(panel_bytes);
  const float* rows = x.x + m0 * x.stride;
  alignas(64) float total[P * M * kPanelRows];  // [P][M][16]
  each<P * M>(EACH(i) { store(total + i * kPanelRows, zero()); });
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t end = (g + 1) * group_lines < all ? (g + 1) * group_lines : all;
    Pack<vf, P * M> even, odd;
    each<P * M>(EACH(i) { even.at(i) = odd.at(i) = zero(); });
    for (int64_t line = g * group_lines; line < end;) {
      const int64_t stop = kFewRows ? ahead.stop(line, end) : end, bytes = kFewRows ? ahead.bytes(line) : kNearBytes;
      for (; line < stop; ++line) {
        vf units[P][Dot::kLineUnits];
        each<P>(EACH(p) {
          const uint8_t* at = weights + p * panel_bytes + line * kLineBytes;
          ask<Dot::kPairs && kFewRows>(at + bytes);
          Dot::load_line(at, units[p]);
        });
        const float* at = rows + line * Dot::kLineUnits * M;
        if constexpr (!kFewRows)
          for (int next = 0; next < Dot::kLineUnits * M; next += 16) prefetch(at + kAheadFloats + next);
        each<Dot::kLineUnits / 2>(EACH(i) {
          each<M>(EACH(m) {
            const vf x0 = set1(at[2 * i * M + m]), x1 = set1(at[(2 * i + 1) * M + m]);
            each<P>(EACH(p) {
              cell<M>(even, p, m) = Dot::multiply_add(cell<M>(even, p, m), units[p][2 * i], x0);
              cell<M>(odd, p, m) = Dot::multiply_add(cell<M>(odd, p, m), units[p][2 * i + 1], x1);
            });
          });
        });
      }
    }
    const float* own = x.scales == nullptr ? nullptr : x.scales + m0 * x.groups + (x.groups == 1 ? 0 : g);
    each<P>(EACH(p) {
      const vf scales = mul(load_scales(w, ((p0 + p) * groups + g) * kPanelRows), set1(Dot::kUnit));
      each<M>(EACH(m) {
        const vf factor = own == nullptr ? scales : mul(scales, set1(own[m * x.groups]));
        float* sum = total + (p * M + m) * kPanelRows;
        store(sum, fma(add(cell<M>(even, p, m), cell<M>(odd, p, m)), factor, load(sum)));
      });
    });
  }
  each<P>(EACH(p) {
    each<M>(EACH(m) { store_rows(w, p0 + p, y + (m0 + m) * y_stride, load(total + (p * M + m) * kPanelRows)); });
  });
}

template <Element E>
void float8_range(const MatrixView& w, const ScaledActivations& x, float* y, int64_t y_stride, int64_t begin, int64_t end) {
  // A single row, too, reads two panels side by side: widening them is work enough (Zen 4, one row by [4096, 2048]: 22 to 29 GB/s).
  constexpr int kTileRows = FloatDot<E>::kTileRows, kPanels = FloatDot<E>::kPairs ? 2 : 1;
  each_block<kTileRows, kPanels>(w, x.rows, begin, end, [&](RowTile rows, int64_t p, int64_t stop) {
    at_rows<kTileRows>(rows.rows, [&](auto m) {
      if constexpr (kPanels > 1)
        for (; p + kPanels <= stop; p += kPanels) float8_tile<E, m, kPanels>(w, x, y, y_stride, rows.first, p);
      for (; p < stop; ++p) float8_tile<E, m, 1>(w, x, y, y_stride, rows.first, p);
    });
  });
}

void matmul_float8(const MatrixView& w, const ScaledActivations& x, float* y, int64_t y_stride, int64_t panel_begin,
                   int64_t panel_end) {
  const auto run = w.element == Element::e4m3 ? float8_range<Element::e4m3> : float8_range<Element::e5m2>;
  run(w, x, y, y_stride, panel_begin, panel_end);
}

struct Float8Limits {
  float largest, smallest_normal, shift;  // shift: 1.5 * 2^(23 - mantissa bits)
};

// To the nearest, ties to even, by an addition that leaves no lower bits (as format/float8.cc, so the same bits).
VEC vf round_float8(vf v, const Float8Limits& f) {
  const vf bounded = min(set1(f.largest), max(set1(-f.largest), v));
  const vf shift = mul(max(exponent_part(bounded), set1(f.smallest_normal)), set1(f.shift));
  return sub(add(bounded, shift), shift);
}

void round_row_float8(const float* x, int64_t columns, int64_t group, Element type, float given, float* out, float* scales) {
  const Float8Limits f = type == Element::e4m3 ? Float8Limits{448.0f, 0x1p-6f, 0x1.8p20f} : Float8Limits{57344.0f, 0x1p-14f, 0x1.8p21f};
  for (int64_t begin = 0, g = 0; begin < columns; begin += group, ++g) {
    const int64_t end = begin + group < columns ? begin + group : columns;
    vf top = zero(), sick = zero();  // x * 0 is NaN for NaN and Inf, and stays so in the sum
    for (int64_t k = begin; k < end; k += 16) {
      const vf v = end - k >= 16 ? load(x + k) : load_n(x + k, end - k);
      top = max(abs(v), top);
      sick = fma(v, zero(), sick);
    }
    const float amax = largest(top);
    const bool finite = sum(sick) == 0.0f, zeros = amax < kSmallestActivation;
    scales[g] = !finite ? __builtin_nanf("") : given > 0 ? given : zeros ? 0.0f : amax / f.largest;
    const vf scale = set1(finite && !zeros ? scales[g] : 1.0f);
    for (int64_t k = begin; k < end; k += 16) {
      const int64_t left = end - k;
      const vf v = left >= 16 ? load(x + k) : load_n(x + k, left);
      const vf rounded = round_float8(div(finite && !zeros ? v : zero(), scale), f);
      if (left >= 16) {
        store(out + k, rounded);
      } else {
        store_n(out + k, rounded, left);
      }
    }
  }
  for (int64_t k = columns; k < round_up(columns, kColumnPadding); ++k) out[k] = 0;
}

}  // namespace

void fill_matmul_float8(KernelTable& table) {
  table.matmul_float8 = matmul_float8;
  table.round_row_float8 = round_row_float8;
}

}  // namespace codecllm::CODECLLM_TIER
