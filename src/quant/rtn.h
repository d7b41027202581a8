// SPDX-License-Identifier: Apache-2.0
// Round to nearest: every weight goes to the closest code of its scale.
#pragma once

#include <functional>
#include <span>

#include "base/context.h"
#include "io/safetensors.h"
#include "quant/job.h"

namespace codecllm {

// Some rows of a quantized weight, in order.
struct QuantizedRows {
  std::span<const std::byte> source;  // what they were made from
  std::span<const std::byte> words;   // packed codes [rows, words]
  std::span<const std::byte> scales;  // [rows, groups] in the scales' type; one scale per tensor: only with the first rows
};

// What an algorithm chose for a layer in place of what the source and the scale rule give.
struct LayerValues {
  std::span<const float> weights = {};  // [rows, columns]; empty: the source's
  std::span<const float> scales = {};   // [rows, groups], as they will be stored; empty: by the rule
};

// Quantizes a [rows, columns] weight a few megabytes at a time, whatever its size. Throws Error(bad_input) naming the
// tensor, row and column of the first value that is not finite.
void round_to_nearest(const Context& context, const TensorJob& job, ScaleRule rule, const std::string& file,
                      const LayerValues& values, const std::function<void(const QuantizedRows&)>& out);

// Row `row` of a plain float tensor [rows, out.size()] as f32.
void read_source_row(const TensorInfo& tensor, int64_t row, std::span<float> out);

}  // namespace codecllm
