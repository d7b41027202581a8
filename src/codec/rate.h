// SPDX-License-Identifier: Apache-2.0
// Uniform codes whose step is chosen for a rate instead of for the largest value (entropy-coded scalar quantization: Gish
// and Pierce 1968): within a quarter of a bit of the rate-distortion bound, and an outlier costs bits where it stands
// instead of a wider step for its row.
#pragma once

#include <span>
#include <vector>

#include "codec/coded_view.h"
#include "codec/rate_rounding.h"

namespace codecllm {

struct UniformRate {
  CodeKind kind = CodeKind::integer;  // integer, sparse: w = code * scale; odd: mid-rise, code odd
  double steps_per_rms = 0;
  // The step of a row is rms^(1 - row_power) (rms of the row)^row_power / steps_per_rms. Steps alike for all rows (0) give
  // the least squared error at a rate; rows of the same relative error (1) the least bits where one code serves all rows.
  double row_power = 1;
  double rms = 0;  // of the tensor
  CodeShape shape = {};  // whose bits the rounding counts
  RateRounding rounding;
};

// The codes of the least squared error that take at most `bits` per weight, scales and container included, for a tensor
// like these rows (whole panels of sixteen). container_bits: what scales and records add to every weight.
UniformRate choose_rate(std::span<const std::vector<float>> panels, int64_t columns, double bits, double container_bits);

// Bits that scales of `scale_bits` and the container add to every weight of a [rows, columns] matrix.
double container_bits(int64_t rows, int64_t columns, int scale_bits);

// The scale of a row: from its root mean square and the rate, but never so small that the row's largest value has no code.
float rate_scale(const UniformRate& rate, std::span<const float> row);

// The codes of the least error plus lambda times their bits, for the scale.
void rate_codes(const UniformRate& rate, std::span<const float> row, float scale, int8_t* codes);

}  // namespace codecllm
