// SPDX-License-Identifier: Apache-2.0
// Codes, scales and zero points of a quantized module, row by row.
#pragma once

#include <optional>

#include "format/grid.h"
#include "format/grid_map.h"
#include "io/packed_tensors.h"

namespace codecllm {

class PackedReader {
 public:
  PackedReader(const PackedTensors& tensors, const QuantArgs& args);

  int64_t rows() const { return tensors_.rows; }
  int64_t columns() const { return tensors_.columns; }
  int64_t group() const { return map_.column_span; }  // columns that share a scale
  int64_t groups() const { return map_.across; }
  DType scale_type() const { return tensors_.scales->dtype == DType::u8 ? DType::f8_e8m0 : tensors_.scales->dtype; }
  const QuantArgs& args() const { return args_; }

  void codes(int64_t row, int8_t* out) const;  // [columns]; of floats, their bits
  // Rows as they are stored, where that is one byte a code, or 4 or 8 bits a code in words.
  struct Rows {
    const std::byte* data;
    int64_t row_bytes;
    bool offset;  // integers stored as code + 2^(bits - 1)
  };
  std::optional<Rows> plain_rows() const;
  Grid grid(int64_t row, int64_t group) const { return {scale(row, group), zero(row, group)}; }
  float scale(int64_t row, int64_t group) const;
  int zero(int64_t row, int64_t group) const;

  // Where weight_g_idx scatters the columns of a group: the columns group by group, each in its own order. Empty where
  // groups are consecutive columns. Throws Error that names the tensor for groups that are not all of the group's size.
  std::vector<int32_t> column_order() const;

 private:
  PackedTensors tensors_;
  QuantArgs args_;
  GridMap map_;
};

// The same for any list of groups, one per column; nothing where it is not a permutation of groups of `size` columns.
std::optional<std::vector<int32_t>> order_by_group(std::span<const int32_t> group_of_column, int64_t size);

}  // namespace codecllm
