// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// x * 0 is NaN for NaN and Inf, and stays so in the sum.
float largest_of(const float* x, int64_t n) {
  vf top = zero(), sick = zero();
  for (int64_t k = 0; k < n; k += 16) {
    const vf v = n - k >= 16 ? load(x + k) : load_n(x + k, n - k);
    top = max(abs(v), top);
    sick = fma(v, zero(), sick);
  }
  return sum(sick) == 0.0f ? largest(top) : __builtin_nanf("");
}

// Codes of the columns [begin, end) of a row: round(x * inverse) + zero_code; kShifted: where that is not 0. `end` is a
// group's, unless there is one group, or the padded row's. Adds to sums.
struct RowPart {
  const float* x;
  int64_t columns, group, begin, end;
  float inverse;
  int32_t zero_code;
};
template <class Dot, bool kShifted>
void codes_of(const RowPart& row, uint8_t* codes, int64_t unit_stride, int32_t* sums) {
  constexpr int kUnits = 16 / kUnitColumns;
  const float shift = static_cast<float>(row.zero_code);
  const vf factor = set1(row.inverse), top = set1(code_limit(Dot::kHalves) - shift), bottom = set1(-code_limit(Dot::kHalves) - shift);
  float shifts[16];
  if constexpr (kShifted)
    for (float& s : shifts) s = shift;
  // Copies: a store of codes could change `row`, for all the compiler knows.
  const int64_t end = row.end, group = row.group, columns = row.inverse == 0 ? 0 : row.columns, own = row.columns;
  const float* x = row.x;
  codes += row.begin / kUnitColumns * unit_stride;
  sums += row.begin / group * Dot::kHalves;
  for (int64_t k = row.begin; k < end;) {
    // A group shorter than the row is a multiple of 32; the last one takes the padding.
    const int64_t stop = k + group < own ? k + group : end;
    vi high_sum = zero_int(), low_sum = zero_int();
    const auto step = [&](vf v, vf shift_lanes, int64_t units) __attribute__((always_inline)) {
      vi high, low;
      uint8_t bytes[kUnits * Dot::kUnitBytes];
      vi code = to_int(max(bottom, min(top, mul(v, factor))));
      if constexpr (kShifted) code = add(code, to_int(shift_lanes));
      Dot::store(bytes, code, high, low);
      for (int64_t u = 0; u < units; ++u, codes += unit_stride) __builtin_memcpy(codes, bytes + u * Dot::kUnitBytes, Dot::kUnitBytes);
      high_sum = add(high_sum, high);
      low_sum = add(low_sum, low);
    };
    for (; k + 16 <= stop && k + 16 <= columns; k += 16) step(load(x + k), set1(shift), kUnits);
    for (; k < stop; k += 16) {  // padding stays 0, whatever stands for 0
      const auto within = [k](int64_t n) { return n <= k ? 0 : n - k < 16 ? n - k : 16; };
      step(load_n(x + k, within(columns)), load_n(shifts, within(own)), stop - k < 16 ? (stop - k) / kUnitColumns : kUnits);
    }
    *sums++ += sum(high_sum);
    if constexpr (Dot::kHalves == 2) *sums++ += sum(low_sum);
  }
}

// Lowest and highest of a row, 0 included.
void range_of(const float* x, int64_t n, float& low, float& high) {
  vf bottom = zero(), top = zero();
  for (int64_t k = 0; k < n; k += 16) {
    const vf v = n - k >= 16 ? load(x + k) : load_n(x + k, n - k);
    bottom = min(v, bottom);
    top = max(v, top);
  }
  low = -largest(sub(zero(), bottom));
  high = largest(top);
}

// The scale of a row, and what its values are multiplied by; 0 where they count as zeros.
float scale_of(const float* x, int64_t columns, int64_t halves, float given, float& inverse) {
  const float amax = largest_of(x, columns), limit = code_limit(halves);
  const bool usable = amax >= kSmallestActivation;
  inverse = !usable ? 0.0f : given > 0 ? 1.0f / given : limit / amax;
  return amax != amax ? amax : given > 0 ? given : usable ? amax / limit : 0.0f;
}

float scale_of_asymmetric(const float* x, int64_t columns, float scale, float& inverse, int32_t& zero_code) {
  const float amax = largest_of(x, columns);
  const bool usable = amax >= kSmallestActivation;
  if (usable && scale == 0) {
    float low, high;
    range_of(x, columns, low, high);
    scale = high / kByteSteps - low / kByteSteps;
    const float exact = -kByteLimit - low / scale;
    zero_code = static_cast<int32_t>(__builtin_nearbyintf(exact < -kByteLimit ? -kByteLimit : exact > kByteLimit ? kByteLimit : exact));
  }
  if (!usable) zero_code = 0;
  inverse = usable ? 1.0f / scale : 0.0f;
  return amax != amax ? amax : usable ? scale : 0.0f;
}

// Columns that are written of all rows before the next: rows are interleaved, so that lines of the tile are written by
// all of them, and a tile is larger than the first-level cache.
constexpr int64_t kPartColumns = 512;

void quantize_rows(const ActivationRows& rows, const IntegerRows& out) {
  const bool shifted = out.zeros != nullptr;
  const int64_t groups = (rows.columns + rows.group - 1) / rows.group, unit = rows.halves * kUnitColumns, padded = round_up(rows.columns, kColumnPadding);
  float inverse[kMaxTileRows];
  for (int64_t i = 0; i < rows.rows; ++i) {
    const float* x = rows.x + i * rows.stride;
    out.scales[i] = shifted ? scale_of_asymmetric(x, rows.columns, rows.scale, inverse[i], out.zeros[i])
                            : scale_of(x, rows.columns, rows.halves, rows.scale, inverse[i]);
  }
  for (int64_t i = 0; i < rows.rows * groups * rows.halves; ++i) out.sums[i] = 0;
  const auto codes = shifted ? codes_of<ByteDot, true> : rows.halves == 2 ? codes_of<WordDot, false> : codes_of<ByteDot, false>;
  const int64_t part = groups == 1 ? kPartColumns : rows.group > kPartColumns ? rows.group : kPartColumns / rows.group * rows.group;
  for (int64_t begin = 0; begin < padded; begin += part) {
    const int64_t end = begin + part < padded ? begin + part : padded;
    for (int64_t i = 0; i < rows.rows; ++i)
      codes({rows.x + i * rows.stride, rows.columns, rows.group, begin, end, inverse[i], shifted ? out.zeros[i] : 0}, out.codes + i * unit,
            rows.rows * unit, out.sums + i * groups * rows.halves);
  }
}

}  // namespace

void fill_quantize_row(KernelTable& table) {
  table.largest_of = largest_of;
  table.quantize_rows = quantize_rows;
}

}  // namespace codecllm::CODECLLM_TIER
