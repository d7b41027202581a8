// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

float quantize_row(const float* x, int64_t columns, int64_t group, uint8_t* codes, int32_t* sums) {
  vf top = zero(), sick = zero();  // x * 0 is NaN for NaN and Inf, and stays so in the sum
  for (int64_t k = 0; k < columns; k += 16) {
    const vf v = columns - k >= 16 ? load(x + k) : load_n(x + k, columns - k);
    top = max(abs(v), top);
    sick = fma(v, zero(), sick);
  }
  const float poison = sum(sick), amax = largest(top);
  const bool usable = poison == 0.0f && amax >= kSmallestActivation;
  const vf inverse = set1(usable ? kActivationLimit / amax : 0.0f);
  const int64_t padded = round_up(columns, kColumnPadding);
  vi high_sum = zero_int(), low_sum = zero_int();
  int64_t group_end = group;
  for (int64_t k = 0; k < padded; k += 16) {
    const int64_t left = columns - k;
    const vf v = left >= 16 ? load(x + k) : load_n(x + k, left > 0 ? left : 0);
    vi high, low;
    const vi code = usable ? to_int(mul(v, inverse)) : zero_int();
    if (padded - k >= 16) {
      store_units(codes + 2 * k, code, high, low);
    } else {
      uint8_t tail[32];
      store_units(tail, code, high, low);
      __builtin_memcpy(codes + 2 * k, tail, static_cast<size_t>(2 * (padded - k)));
    }
    high_sum = add(high_sum, high);
    low_sum = add(low_sum, low);
    if (k + 16 >= group_end || k + 16 >= columns) {  // a group shorter than the row is a multiple of 32
      *sums++ = sum(high_sum);
      *sums++ = sum(low_sum);
      high_sum = low_sum = zero_int();
      group_end += group;
    }
  }
  if (poison != 0.0f) return __builtin_nanf("");
  return usable ? amax / kActivationLimit : 0.0f;
}

VEC vf load_scales(const MatrixView& w, int64_t index) {
  if (w.scale_type == ScaleType::f32) return load(static_cast<const float*>(w.scales) + index);
  const auto* bits = static_cast<const uint16_t*>(w.scales) + index;
  return w.scale_type == ScaleType::bf16 ? load_bf16(bits) : load_f16(bits);
}

// The unsigned codes that stand for zero.
VEC vi load_zeros(const MatrixView& w, int64_t index) {
  return w.zeros == nullptr ? set1_int(traits(w.element).offset) : load_u8(w.zeros + index);
}

// The exact sum as 256 * high + low with 0 <= low < 256, then to float: the same bits on every tier.
VEC vf to_float(const IntSum& raw, vi zeros, const int32_t* activation_sums) {
  const vi low = sub(raw.low, mul(zeros, set1_int(activation_sums[1])));
  const vi high = add(sub(raw.high, mul(zeros, set1_int(activation_sums[0]))), high_part(low));
  return add(mul(to_float(high), set1(256.0f)), to_float(low_part(low)));
}

// Sums over lines [line, line_end) of one 64-byte-line stream per panel, for M activation rows and P panels.
template <bool kNibbles, int M, int P>
VEC void sum_lines(const uint8_t* const (&weights)[P], const uint8_t* const (&rows)[M], int64_t line, int64_t line_end,
                   IntSum (&sums)[P][M]) {
  constexpr int kLineUnits = kNibbles ? 2 : 1;
  constexpr int64_t kFoldLines = IntSum::kFoldColumns / (kUnitColumns * kLineUnits);
  while (line < line_end) {
    const int64_t stop = line_end - line > kFoldLines ? line + kFoldLines : line_end;
    for (; line < stop; ++line) {
      Unit units[P][2];
      for (int p = 0; p < P; ++p) {
        if constexpr (kNibbles) {
          load_nibble_units(weights[p] + line * kLineBytes, units[p][0], units[p][1]);
        } else {
          units[p][0] = load_unit(weights[p] + line * kLineBytes);
        }
      }
      for (int u = 0; u < kLineUnits; ++u)
        for (int m = 0; m < M; ++m)
          for (int p = 0; p < P; ++p) sums[p][m].step(units[p][u], rows[m] + (line * kLineUnits + u) * kUnitBytes);
    }
    for (int p = 0; p < P; ++p)
      for (int m = 0; m < M; ++m) sums[p][m].fold();
  }
}

// One activation row: four accumulators, since each multiply-add waits five cycles for the one before.
template <bool kNibbles>
VEC IntSum sum_lines_one_row(const uint8_t* weights, const uint8_t* row, int64_t line, int64_t line_end) {
  constexpr int kChains = 4, kLineUnits = kNibbles ? 2 : 1, kLines = kChains / kLineUnits;
  constexpr int64_t kFoldLines = IntSum::kFoldColumns / (kUnitColumns * kLineUnits);
  IntSum sums[kChains] = {zero_sum(), zero_sum(), zero_sum(), zero_sum()};
  while (line_end - line >= kLines) {
    const int64_t stop = line_end - line > kFoldLines ? line + kFoldLines : line_end - kLines + 1;
    for (; line < stop; line += kLines) {
      for (int i = 0; i < kLines; ++i) {
        const uint8_t* at = weights + (line + i) * kLineBytes;
        const uint8_t* activation = row + (line + i) * kLineUnits * kUnitBytes;
        if constexpr (kNibbles) {
          Unit first, second;
          load_nibble_units(at, first, second);
          sums[2 * i].step(first, activation);
          sums[2 * i + 1].step(second, activation + kUnitBytes);
        } else {
          sums[i].step(load_unit(at), activation);
        }
      }
    }
    for (IntSum& s : sums) s.fold();
  }
  const uint8_t* const weight_streams[1] = {weights};
  const uint8_t* const rows[1] = {row};
  IntSum rest[1][1] = {{zero_sum()}};
  sum_lines<kNibbles, 1, 1>(weight_streams, rows, line, line_end, rest);
  for (const IntSum& s : sums) add_to(rest[0][0], s);
  return rest[0][0];
}

// y for M activation rows from row m and P panels from panel p0.
template <bool kNibbles, int M, int P>
void tile(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t m0, int64_t p0) {
  constexpr int kLineColumns = kNibbles ? 8 : 4;
  const int64_t groups = w.groups(), lines = w.lines(), group_lines = groups == 1 ? lines : w.group / kLineColumns;
  const uint8_t* weights[P];
  const uint8_t* rows[M];
  for (int p = 0; p < P; ++p) weights[p] = w.data + (p0 + p) * w.panel_bytes();
  for (int m = 0; m < M; ++m) rows[m] = x.codes + (m0 + m) * x.stride;
  vf out[P][M];
  for (int p = 0; p < P; ++p)
    for (int m = 0; m < M; ++m) out[p][m] = zero();
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t line = g * group_lines, line_end = line + group_lines < lines ? line + group_lines : lines;
    IntSum sums[P][M];
    if constexpr (M == 1 && P == 1) {
      sums[0][0] = sum_lines_one_row<kNibbles>(weights[0], rows[0], line, line_end);
    } else {
      for (int p = 0; p < P; ++p)
        for (int m = 0; m < M; ++m) sums[p][m] = zero_sum();
      sum_lines<kNibbles, M, P>(weights, rows, line, line_end, sums);
    }
    for (int p = 0; p < P; ++p) {
      const int64_t at = ((p0 + p) * groups + g) * kPanelRows;
      const vf scales = load_scales(w, at);
      const vi zeros = load_zeros(w, at);
      for (int m = 0; m < M; ++m) {
        const vf exact = to_float(sums[p][m], zeros, x.sums + ((m0 + m) * groups + g) * 2);
        out[p][m] = add(out[p][m], mul(exact, scales));
      }
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

constexpr int kTileRows = kManyRegisters ? 6 : 2, kTilePanels = kManyRegisters ? 2 : 1;

template <bool kNibbles, int P>
void panels(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t p0) {
  int64_t m = 0;
  for (; m + kTileRows <= x.rows; m += kTileRows) tile<kNibbles, kTileRows, P>(w, x, y, y_stride, m, p0);
  if constexpr (kTileRows > 4)
    for (; m + 4 <= x.rows; m += 4) tile<kNibbles, 4, P>(w, x, y, y_stride, m, p0);
  for (; m + 2 <= x.rows; m += 2) tile<kNibbles, 2, P>(w, x, y, y_stride, m, p0);
  if (m < x.rows)
    for (int p = 0; p < P; ++p) tile<kNibbles, 1, 1>(w, x, y, y_stride, m, p0 + p);
}

template <bool kNibbles>
void range(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t begin, int64_t end) {
  for (; begin + kTilePanels <= end; begin += kTilePanels) panels<kNibbles, kTilePanels>(w, x, y, y_stride, begin);
  for (; begin < end; ++begin) panels<kNibbles, 1>(w, x, y, y_stride, begin);
}

void matmul_int(const MatrixView& w, const IntActivations& x, float* y, int64_t y_stride, int64_t panel_begin,
                int64_t panel_end) {
  if (w.element == Element::u4) {
    range<true>(w, x, y, y_stride, panel_begin, panel_end);
  } else {
    range<false>(w, x, y, y_stride, panel_begin, panel_end);
  }
}

}  // namespace

void fill_matmul_int(KernelTable& table) {
  table.quantize_row = quantize_row;
  table.matmul_int = matmul_int;
}

}  // namespace codecllm::CODECLLM_TIER
