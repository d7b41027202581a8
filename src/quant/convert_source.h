// SPDX-License-Identifier: Apache-2.0
// A linear layer's weight as the source has it, and what another layout makes of it.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "io/checkpoint.h"
#include "io/column_order.h"
#include "io/packed_reader.h"
#include "io/quant_config.h"
#include "model/spec.h"

namespace codecllm {

// What became of numbers that were stored anew.
struct Change {
  bool exact = true;     // all are what they were; NaN stays NaN
  double max_error = 0;  // largest |new - old|

  void add(float before, float after);
  void add(const Change& other);
};

// Writes `values` as `dtype` and adds what that changes.
void store_floats(std::span<const float> values, DType dtype, std::byte* out, Change& change);

// Codes with scales, or plain floats. Throws Error that names file and tensor for what is neither.
class SourceLinear {
 public:
  SourceLinear(const Checkpoint& checkpoint, const QuantConfig& config, const LinearSpec& linear);

  const LinearSpec& linear() const { return linear_; }
  const QuantArgs* args() const { return reader_ ? &args_ : nullptr; }  // null: plain
  const PackedReader& reader() const { return *reader_; }
  const TensorInfo& tensor() const { return *tensor_; }                 // the codes, or the plain weight
  DType scale_type() const { return reader_ ? reader_->scale_type() : tensor_->dtype; }
  bool integer() const { return reader_ && args_.type == NumberType::integer && kept_.empty(); }  // every weight is a code
  bool keeps_columns() const { return !kept_.empty(); }            // as floats, beside codes of 0
  int code_bits() const { return code_bits_; }                     // what a code may fill, whatever args say
  const std::vector<int32_t>& order() const { return order_; }     // columns group by group; empty: as they are
  bool zeros_within(int bits) const;                               // whether all zero points are codes of so many bits
  void values(int64_t row, std::span<float> out) const;

 private:
  LinearSpec linear_;
  const TensorInfo* tensor_ = nullptr;
  QuantArgs args_;
  int code_bits_ = 0;
  std::optional<PackedReader> reader_;
  std::vector<int32_t> order_;
  std::vector<int32_t> kept_;              // columns whose weights are in kept_weight_
  const TensorInfo* kept_weight_ = nullptr;  // [rows, kept_.size()]
};

}  // namespace codecllm
