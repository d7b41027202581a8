// SPDX-License-Identifier: Apache-2.0
// Which weights share a scale: a [rows, columns] matrix cut into cells, numbered as weight_scale lists them.
#pragma once

#include "format/scheme.h"

namespace codecllm {

struct GridMap {
  GridMap(const QuantArgs& args, int64_t rows, int64_t columns);

  int64_t row_span, column_span;  // of a cell; at the lower and right edge cells may be smaller
  int64_t across, count;          // cells side by side, and all of them

  // Of the cell that a row has in its column of cells `group`.
  int64_t cell(int64_t row, int64_t group) const { return row / row_span * across + group; }
  size_t index(int64_t row, int64_t column) const { return static_cast<size_t>(cell(row, column / column_span)); }
};

}  // namespace codecllm
