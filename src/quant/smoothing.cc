// SPDX-License-Identifier: Apache-2.0
#include "quant/smoothing.h"

#include <cmath>

#include "format/affine.h"
#include "format/plain_float.h"

namespace codecllm {

void SmoothedSource::add(const BlockInput& input, std::vector<float> factors) {
  for (float& f : factors) f = round_to(f, DType::bf16);
  std::vector<float> columns(static_cast<size_t>(input.columns));
  if (!input.norm.empty()) {
    const TensorInfo& norm = checkpoint_.need(input.norm + ".weight");
    for (int64_t c = 0; c < input.columns; ++c) {
      // What the norm's own type keeps of the division is what the columns are multiplied by.
      const float before = load_float(norm.data.data(), c, norm.dtype), after = round_to(before / factors[c], norm.dtype);
      if (before == 0 || after == 0 || !std::isfinite(after)) factors[c] = 1;
      columns[c] = factors[c] == 1 ? 1 : before / after;
    }
    rows_[norm.name] = factors;
    factors_[input.norm] = factors;
  } else {
    for (int64_t c = 0; c < input.columns; ++c) columns[c] = factors[input.producer_row(c)];
    rows_[input.producer + ".weight"] = factors;
    if (checkpoint_.find(input.producer + ".bias") != nullptr) rows_[input.producer + ".bias"] = factors;
    factors_[input.producer] = factors;
  }
  for (const LinearSpec& reader : input.readers) columns_[reader.name + ".weight"] = columns;
}

void SmoothedSource::add_all(const SmoothingFactors& factors, const std::string& file) {
  size_t used = 0;
  for (int64_t layer = 0; layer < spec_.layers; ++layer)
    for (const BlockInput& input : block_inputs(spec_, layer)) {
      const auto it = factors.find(input.norm.empty() ? input.producer : input.norm);
      if (it == factors.end()) continue;
      const auto expected = static_cast<size_t>(input.columns / input.shared_heads);
      bool good = it->second.size() == expected;
      for (float f : it->second) good = good && std::isfinite(f) && f > 0;
      if (!good)
        throw Error(ErrorCode::bad_input, "quantize", "expected " + std::to_string(expected) + " positive factors for " + it->first,
                    {.file = file});
      add(input, it->second);
      ++used;
    }
  if (used != factors.size())
    throw Error(ErrorCode::bad_input, "quantize", "factors are given for something that the model lacks", {.file = file});
}

void SmoothedSource::read(const TensorInfo& tensor, int64_t row, std::span<float> out) const {
  load_floats(tensor.data.data(), row * static_cast<int64_t>(out.size()), tensor.dtype, out);
  if (const auto it = columns_.find(tensor.name); it != columns_.end())
    for (size_t c = 0; c < out.size(); ++c) out[c] *= it->second[c];
  const auto it = rows_.find(tensor.name);
  if (it == rows_.end()) return;
  const bool vector = tensor.shape.size() == 1;
  for (size_t c = 0; c < out.size(); ++c) out[c] /= it->second[vector ? c : static_cast<size_t>(row)];
  if (vector)
    for (float& v : out) v = round_to(v, tensor.dtype);
}

}  // namespace codecllm
