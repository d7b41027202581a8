// SPDX-License-Identifier: Apache-2.0
// Scale moved between neighbours without a change of the model's function: a norm's weight, or the rows and bias of the
// linear before, divided by a factor per channel, and the columns of the layers that read it multiplied.
#pragma once

#include <map>
#include <set>

#include "base/json.h"
#include "io/checkpoint.h"
#include "model/wiring.h"

namespace codecllm {

// By name of the norm or linear that is divided. Factors are bf16 numbers, so that they survive as short JSON.
using SmoothingFactors = std::map<std::string, std::vector<float>>;

// A checkpoint's tensors as they are after the move.
class SmoothedSource {
 public:
  SmoothedSource(const Checkpoint& checkpoint, const ModelSpec& spec) : checkpoint_(checkpoint), spec_(spec) {}

  // Takes factors for one value of a block; rounds them to bf16.
  void add(const BlockInput& input, std::vector<float> factors);
  // Factors as they were written; throws Error(bad_input) for names or sizes that do not fit the model.
  void add_all(const SmoothingFactors& factors, const std::string& file);

  const SmoothingFactors& factors() const { return factors_; }
  bool changes(const std::string& tensor) const { return columns_.contains(tensor) || rows_.contains(tensor); }

  bool scales_columns(const std::string& tensor) const { return columns_.contains(tensor); }
  // Of such a weight: what its columns are multiplied by.
  const std::vector<float>& column_factors(const std::string& tensor) const { return columns_.at(tensor); }

  // Row `row` of a [rows, out.size()] weight, or the whole of a vector (row 0) rounded to its own type.
  void read(const TensorInfo& tensor, int64_t row, std::span<float> out) const;

 private:
  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  SmoothingFactors factors_;
  std::map<std::string, std::vector<float>> columns_;  // tensor -> factor of each column
  std::map<std::string, std::vector<float>> rows_;     // tensor -> divisor of each row, or of each element of a vector
};

}  // namespace codecllm
