// SPDX-License-Identifier: Apache-2.0
#include "io/packed_reader.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "codecllm/error.h"
#include "format/plain_float.h"

namespace codecllm {

PackedReader::PackedReader(const PackedTensors& tensors, const QuantArgs& args)
    : tensors_(tensors), args_(args), map_(args, tensors.rows, tensors.columns) {}

void PackedReader::codes(int64_t row, int8_t* out) const {
  const std::byte* data = tensors_.codes->data.data();
  if (tensors_.in_words) {
    unpack_row(data + row * tensors_.codes->shape[1] * 4, 0, static_cast<size_t>(columns()), args_.num_bits, tensors_.packing, out);
  } else {
    std::memcpy(out, data + row * columns(), static_cast<size_t>(columns()));
  }
}

std::optional<PackedReader::Rows> PackedReader::plain_rows() const {
  const std::byte* data = tensors_.codes->data.data();
  if (!tensors_.in_words) return args_.num_bits == 8 ? std::optional(Rows{data, columns(), false}) : std::nullopt;
  if (args_.num_bits != 8 && args_.num_bits != 4) return std::nullopt;
  return Rows{data, tensors_.codes->shape[1] * 4, true};
}

float PackedReader::scale(int64_t row, int64_t group) const {
  return load_scale(tensors_.scales->data.data(), map_.cell(row, group), tensors_.scales->dtype);
}

int PackedReader::zero(int64_t row, int64_t group) const {
  if (tensors_.zero_points == nullptr) return 0;
  const std::byte* data = tensors_.zero_points->data.data();
  if (tensors_.zero_points->dtype == DType::i8) return static_cast<int8_t>(data[map_.cell(row, group)]);
  return zero_point_at(data, static_cast<size_t>(row), static_cast<size_t>(group), static_cast<size_t>(groups()), args_.num_bits,
                       tensors_.zero_point_packing);
}

std::vector<int32_t> PackedReader::column_order() const {
  if (tensors_.group_of_column == nullptr) return {};
  std::vector<int32_t> groups(static_cast<size_t>(columns()));
  std::memcpy(groups.data(), tensors_.group_of_column->data.data(), groups.size() * sizeof(int32_t));
  if (std::find(groups.begin(), groups.end(), -1) != groups.end()) return {};  // never filled in: consecutive
  std::optional<std::vector<int32_t>> order = order_by_group(groups, group());
  if (!order)
    throw Error(ErrorCode::unsupported, "packed",
                "groups of columns that are not all of " + std::to_string(group()) + " columns are not read in this version",
                {.tensor = tensors_.group_of_column->name});
  return *std::move(order);
}

std::optional<std::vector<int32_t>> order_by_group(std::span<const int32_t> group_of_column, int64_t size) {
  std::vector<int32_t> order(group_of_column.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return group_of_column[a] < group_of_column[b]; });
  for (size_t k = 0; k < order.size(); ++k)
    if (group_of_column[order[k]] != static_cast<int64_t>(k) / size) return std::nullopt;
  if (std::is_sorted(order.begin(), order.end())) order.clear();
  return order;
}

}  // namespace codecllm
