// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/tiles.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Every output is, for each group, a sum over the even columns and one over the odd ones, their sum scaled and added:
// the same for every number of rows in a tile. The last line of a row may hold columns that are not there: they are
// zero, as their activations are. The totals are in memory: they are added to once in a group, and twelve rows leave no
// registers for them.
template <Element E, int M>
void float8_tile(const MatrixView& w, const ScaledActivations& x, float* y, int64_t y_stride, int64_t m0, int64_t panel) {
  const uint8_t* lines = w.data + panel * w.panel_bytes();
  const int64_t groups = w.groups(), all = w.lines(), group_lines = groups == 1 ? all : w.group / 4;
  constexpr int64_t kAheadFloats = 192;  // as in matmul_float.cc
  const float* rows = x.x + m0 * x.stride;
  alignas(64) float total[M * kPanelRows];
  each<M>(EACH(m) { store(total + m * kPanelRows, zero()); });
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t end = (g + 1) * group_lines < all ? (g + 1) * group_lines : all;
    Pack<vf, M> even, odd;
    each<M>(EACH(m) { even.at(m) = odd.at(m) = zero(); });
    for (int64_t line = g * group_lines; line < end; ++line) {
      vf columns[4];
      prefetch(lines + line * kLineBytes + (M <= 2 ? kAheadBytes : kNearBytes));
      if constexpr (E == Element::e4m3) {
        load_e4m3(lines + line * kLineBytes, columns);
      } else {
        load_e5m2(lines + line * kLineBytes, columns);
      }
      const float* at = rows + line * 4 * M;
      if constexpr (M > 2)
        for (int ahead = 0; ahead < 4 * M; ahead += 16) prefetch(at + kAheadFloats + ahead);
      each<M>(EACH(m) {
        even.at(m) = fma(columns[0], set1(at[m]), even.at(m));
        odd.at(m) = fma(columns[1], set1(at[M + m]), odd.at(m));
      });
      each<M>(EACH(m) {
        even.at(m) = fma(columns[2], set1(at[2 * M + m]), even.at(m));
        odd.at(m) = fma(columns[3], set1(at[3 * M + m]), odd.at(m));
      });
    }
    const vf scales = mul(load_scales(w, (panel * groups + g) * kPanelRows), set1(E == Element::e4m3 ? kE4m3Unit : 1.0f));
    const float* own = x.scales == nullptr ? nullptr : x.scales + m0 * x.groups + (x.groups == 1 ? 0 : g);
    each<M>(EACH(m) {
      const vf factor = own == nullptr ? scales : mul(scales, set1(own[m * x.groups]));
      float* sum = total + m * kPanelRows;
      store(sum, fma(add(even.at(m), odd.at(m)), factor, load(sum)));
    });
  }
  const int64_t n = panel * kPanelRows, left = w.rows - n;
  each<M>(EACH(m) {
    float* to = y + (m0 + m) * y_stride + n;
    const vf sum = load(total + m * kPanelRows);
    if (left >= kPanelRows) {
      store(to, sum);
    } else {
      store_n(to, sum, left);
    }
  });
}

template <Element E>
void float8_range(const MatrixView& w, const ScaledActivations& x, float* y, int64_t y_stride, int64_t begin, int64_t end) {
  each_block<kFloatTileRows, 1>(w, x.rows, begin, end, [&](RowTile rows, int64_t p, int64_t stop) {
    at_rows<kFloatTileRows>(rows.rows, [&](auto m) {
      for (; p < stop; ++p) float8_tile<E, m>(w, x, y, y_stride, rows.first, p);
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
