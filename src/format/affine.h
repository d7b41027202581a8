// SPDX-License-Identifier: Apache-2.0
// Symmetric integer quantization of a run of values that share a scale: the scalar truth that files are written with.
//   code = clamp(round_half_even(x / scale)),  x' = code * scale
#pragma once

#include <cstdint>
#include <span>

#include "format/dtype.h"
#include "format/scheme.h"

namespace codecllm {

// Largest code of a symmetric integer type under the rule; the smallest is -limit (restricted) or -limit - 1 (full).
constexpr int code_limit(int bits) { return (1 << (bits - 1)) - 1; }

// A scale as it is stored in a type (f32, bf16, f16, or f8_e8m0: the next power of two above). Never zero: where all
// values are zero (amax 0) it is the type's epsilon (E8M0: 1), where they are too small for it, its smallest
// number; where too large, its largest.
float stored_scale(float scale, float amax, DType stored);

// The scale for values up to amax, as it will be stored.
float symmetric_scale(float amax, int bits, ScaleRule rule, DType stored);

// Largest magnitude; NaN if any value is NaN or infinite.
float finite_amax(std::span<const float> values);

// codes [values.size()]
void quantize(std::span<const float> values, float scale, int bits, ScaleRule rule, int8_t* codes);

// The value rounded to the type and back.
float round_to(float value, DType type);

}  // namespace codecllm
