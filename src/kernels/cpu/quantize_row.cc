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

// code = round(x * inverse) + zero_code; kShifted: where that is not 0
template <class Dot, bool kShifted = false>
void codes_of(const float* x, int64_t columns, int64_t group, float inverse, int32_t zero_code, uint8_t* codes, int64_t unit_stride, int32_t* sums) {
  constexpr int kUnits = 16 / kUnitColumns;
  const float shift = static_cast<float>(zero_code);
  const vf factor = set1(inverse), top = set1(code_limit(Dot::kHalves) - shift), bottom = set1(-code_limit(Dot::kHalves) - shift);
  float shifts[16];
  if constexpr (kShifted)
    for (float& s : shifts) s = shift;
  const int64_t padded = round_up(columns, kColumnPadding);
  vi high_sum = zero_int(), low_sum = zero_int();
  int64_t group_end = group;
  for (int64_t k = 0; k < padded; k += 16) {
    const int64_t left = columns - k;
    const vf v = inverse == 0 ? zero() : left >= 16 ? load(x + k) : load_n(x + k, left > 0 ? left : 0);
    vi high, low;
    uint8_t units[kUnits * Dot::kUnitBytes];
    vi code = to_int(max(bottom, min(top, mul(v, factor))));
    if constexpr (kShifted)  // padding stays 0, whatever stands for 0
      code = add(code, to_int(left >= 16 ? load(shifts) : load_n(shifts, left > 0 ? left : 0)));
    Dot::store(units, code, high, low);
    const int64_t count = padded - k < 16 ? (padded - k) / kUnitColumns : kUnits;
    for (int64_t u = 0; u < count; ++u, codes += unit_stride) __builtin_memcpy(codes, units + u * Dot::kUnitBytes, Dot::kUnitBytes);
    high_sum = add(high_sum, high);
    low_sum = add(low_sum, low);
    if (k + 16 >= group_end || k + 16 >= columns) {  // a group shorter than the row is a multiple of 32
      *sums++ = sum(high_sum);
      if constexpr (Dot::kHalves == 2) *sums++ = sum(low_sum);
      high_sum = low_sum = zero_int();
      group_end += group;
    }
  }
}

float quantize_row(const float* x, int64_t columns, int64_t group, int64_t halves, float scale, uint8_t* codes,
                   int64_t unit_stride, int32_t* sums) {
  const float amax = largest_of(x, columns), limit = code_limit(halves);
  const bool usable = amax >= kSmallestActivation;
  const float inverse = !usable ? 0.0f : scale > 0 ? 1.0f / scale : limit / amax;
  (halves == 2 ? codes_of<WordDot> : codes_of<ByteDot>)(x, columns, group, inverse, 0, codes, unit_stride, sums);
  if (amax != amax) return amax;
  return scale > 0 ? scale : usable ? amax / limit : 0.0f;
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

float quantize_row_asymmetric(const float* x, int64_t columns, int64_t group, float scale, int32_t* zero_code, uint8_t* codes,
                              int64_t unit_stride, int32_t* sums) {
  const float amax = largest_of(x, columns);
  const bool usable = amax >= kSmallestActivation;
  if (usable && scale == 0) {
    float low, high;
    range_of(x, columns, low, high);
    scale = high / kByteSteps - low / kByteSteps;
    const float exact = -kByteLimit - low / scale;
    *zero_code = static_cast<int32_t>(__builtin_nearbyintf(exact < -kByteLimit ? -kByteLimit : exact > kByteLimit ? kByteLimit : exact));
  }
  if (!usable) *zero_code = 0;
  codes_of<ByteDot, true>(x, columns, group, usable ? 1.0f / scale : 0.0f, *zero_code, codes, unit_stride, sums);
  if (amax != amax) return amax;
  return usable ? scale : 0.0f;
}

}  // namespace

void fill_quantize_row(KernelTable& table) {
  table.largest_of = largest_of;
  table.quantize_row = quantize_row;
  table.quantize_row_asymmetric = quantize_row_asymmetric;
}

}  // namespace codecllm::CODECLLM_TIER
