// SPDX-License-Identifier: Apache-2.0
// Round to nearest: every weight goes to the closest code of its scale.
#pragma once

#include <functional>
#include <span>

#include "base/context.h"
#include "codec/coded_view.h"
#include "io/safetensors.h"
#include "quant/job.h"

namespace codecllm {

// Some rows of a quantized weight, in order.
struct QuantizedRows {
  std::span<const std::byte> source;  // what they were made from
  std::span<const std::byte> codes;   // packed [rows, words], or a byte each [rows, columns]
  // Of these rows, in the scales' type (scale_shape()); one scale per tensor: only with the first rows.
  std::span<const std::byte> scales;
  std::span<const std::byte> zero_points;  // asymmetric only: of these rows, as weight_zero_point is stored
};

// What an algorithm chose for a layer in place of what the source and the scale rule give.
struct LayerValues {
  std::span<const float> weights = {};  // [rows, columns]; empty: the source's
  std::span<const float> scales = {};   // [scale_shape()], as they will be stored; empty: by the rule
  std::span<const int8_t> zeros = {};   // beside scales, asymmetric only: the codes of 0
  CodeKind kind = CodeKind::integer;    // how entropy-coded weights are coded
};

// Quantizes a [rows, columns] weight a few megabytes at a time, whatever its size. Throws Error(bad_input) naming the
// tensor, row and column of the first value that is not finite.
void round_to_nearest(const Context& context, const TensorJob& job, ScaleRule rule, const std::string& file,
                      const LayerValues& values, const std::function<void(const QuantizedRows&)>& out);

// Row `row` of a plain float tensor [rows, out.size()] as f32.
void read_source_row(const TensorInfo& tensor, int64_t row, std::span<float> out);

}  // namespace codecllm
