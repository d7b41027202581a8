// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace codecllm {

// A row's columns group by group, as PackedReader::column_order() has them; an empty order leaves them as they are.
template <class T>
void to_group_order(std::vector<T>& row, std::span<const int32_t> order) {
  if (order.empty()) return;
  const std::vector<T> before = row;
  for (size_t k = 0; k < order.size(); ++k) row[k] = before[static_cast<size_t>(order[k])];
}

}  // namespace codecllm
