// SPDX-License-Identifier: Apache-2.0
// Codes and scales of a pack-quantized module, row by row.
#pragma once

#include "io/packed_tensors.h"

namespace codecllm {

class PackedReader {
 public:
  PackedReader(const PackedTensors& tensors, const QuantArgs& args);

  int64_t rows() const { return tensors_.rows; }
  int64_t columns() const { return tensors_.columns; }
  int64_t group() const { return group_; }  // columns that share a scale
  int64_t groups() const { return groups_; }
  DType scale_type() const { return tensors_.scales->dtype; }

  void codes(int64_t row, int8_t* out) const;  // [columns]
  float scale(int64_t row, int64_t group) const;

 private:
  PackedTensors tensors_;
  QuantArgs args_;
  int64_t group_, groups_;
};

}  // namespace codecllm
