// SPDX-License-Identifier: Apache-2.0
#include "format/grid_map.h"

#include <algorithm>

namespace codecllm {

GridMap::GridMap(const QuantArgs& args, int64_t rows, int64_t columns)
    : row_span(1), column_span(std::max<int64_t>(1, columns)) {
  if (args.strategy == Strategy::tensor) row_span = std::max<int64_t>(1, rows);
  if (args.strategy == Strategy::group) column_span = args.group_size;
  if (args.strategy == Strategy::block) row_span = args.block[0], column_span = std::min<int64_t>(args.block[1], column_span);
  across = (columns + column_span - 1) / column_span;
  count = (rows + row_span - 1) / row_span * across;
}

}  // namespace codecllm
