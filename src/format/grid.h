// SPDX-License-Identifier: Apache-2.0
// Where the codes of one scale lie, for every number type: integers (code - zero) * scale, 8-bit floats
// value(code) * scale. Codes of 8-bit floats are their bits.
#pragma once

#include <cstdint>
#include <span>

#include "format/affine.h"
#include "format/float8.h"

namespace codecllm {

struct Grid {
  float scale = 1;
  int zero = 0;  // the code of 0; not 0 only for asymmetric integers

  bool operator==(const Grid&) const = default;
};

// Smallest and largest of a run of values, at most and at least 0: 0 is always representable. Both NaN when a value is
// not finite.
struct Range {
  float low = 0, high = 0;

  void include(const Range& other);
  float amax() const { return high > -low ? high : -low; }
};
Range finite_range(std::span<const float> values);

// The grid for values of this range, its scale rounded to `stored` (f32, bf16, f16 or f8_e8m0) and never zero:
//   symmetric     amax / (2^(b-1)-1), or by the rule amax / ((2^b-1)/2)
//   asymmetric    (high - low) / (2^b-1), zero = round(-2^(b-1) - low / scale)
//   8-bit floats  amax / largest number
Grid fit_grid(const Range& range, const QuantArgs& args, ScaleRule rule, DType stored);

// codes [values.size()], rounded half to even and clamped to the type's range (symmetric: to the rule's).
void encode(std::span<const float> values, const Grid& grid, const QuantArgs& args, ScaleRule rule, int8_t* codes);
void decode(std::span<const int8_t> codes, const Grid& grid, const QuantArgs& args, float* values);

// The 8-bit float that `type` names; throws Error(bad_call) for integers.
const Float8& float8_of(NumberType type);

}  // namespace codecllm
