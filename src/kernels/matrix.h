// SPDX-License-Identifier: Apache-2.0
// A weight matrix in the kernels' own order; this is the only copy kept in memory.
#pragma once

#include <array>
#include <span>

#include "base/memory.h"
#include "format/dtype.h"
#include "kernels/views.h"

namespace codecllm {

class Matrix {
 public:
  Matrix() = default;
  // Zeroed. group: columns that share a scale, a multiple of 32 below `columns` or `columns` itself; ignored for floating
  // point. Throws Error(unsupported) for integer rows longer than kMaxIntColumns.
  Matrix(Element element, int64_t rows, int64_t columns, int64_t group, ScaleType scale_type);

  const MatrixView& view() const { return view_; }
  int64_t rows() const { return view_.rows; }
  int64_t columns() const { return view_.columns; }
  size_t bytes() const { return data_.bytes() + scales_.bytes(); }

  // Sixteen rows (fewer in the last panel) as the source stores them. Panels may be written from several threads.
  using FloatRows = std::span<const void* const>;  // each [columns] of `type`, f32, bf16 or f16; converted if need be
  void set_panel(int64_t panel, FloatRows rows, DType type);
  using CodeRows = std::span<const int8_t* const>;  // each [columns], signed codes that fit the element
  void set_panel(int64_t panel, CodeRows rows);
  void set_scale(int64_t row, int64_t group, float scale);  // rounded to scale_type

 private:
  uint8_t* line(int64_t panel, int64_t index);

  MatrixView view_ = {};
  Buffer data_, scales_;
};

// The element that holds this file type unchanged.
Element element_of(DType type);

// One row as float, dequantized; out [columns].
void read_row(const MatrixView& w, int64_t row, float* out);

}  // namespace codecllm
