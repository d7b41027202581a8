// SPDX-License-Identifier: Apache-2.0
// Writing safetensors files in the order and padding of the reference writer, so that equal tensors give
// equal bytes.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/dtype.h"

namespace codecllm {

struct TensorDecl {
  std::string name;
  DType dtype = DType::u8;
  std::vector<int64_t> shape;
};

struct PlacedTensor {
  TensorDecl decl;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
};

// Where everything of one file goes, known before any data is. Throws Error(bad_call) for what no reader
// would take: names that stand twice or are not UTF-8, shapes that overflow.
class SafetensorsLayout {
 public:
  explicit SafetensorsLayout(std::vector<TensorDecl> tensors,
                             std::map<std::string, std::string> metadata = {});
  SafetensorsLayout(SafetensorsLayout&&) = default;  // a copy's index would point into the original
  SafetensorsLayout& operator=(SafetensorsLayout&&) = default;

  // The first bytes of the file: length, JSON and padding.
  const std::string& header() const { return header_; }
  const std::vector<PlacedTensor>& tensors() const { return tensors_; }  // in file order
  const PlacedTensor* find(std::string_view name) const;
  const PlacedTensor& need(std::string_view name) const;  // throws Error(bad_call)
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  std::vector<PlacedTensor> tensors_;
  std::map<std::string_view, size_t> index_;  // keys point into tensors_, which never grows
  std::string header_;
  uint64_t file_bytes_ = 0;
};

// The header of tensors that are in file order. Metadata is written as given; SafetensorsLayout adds
// format=pt, which transformers asks for.
std::string safetensors_header(std::span<const PlacedTensor> tensors,
                               const std::map<std::string, std::string>& metadata);

struct TensorData {
  TensorDecl decl;
  std::span<const std::byte> data;
};

// Writes a whole file, which appears complete or not at all.
void write_safetensors(const std::string& path, std::span<const TensorData> tensors,
                       std::map<std::string, std::string> metadata = {});

struct Shard {
  std::string file;  // base name
  SafetensorsLayout layout;
};

struct ShardPlan {
  std::vector<Shard> shards;
  std::string index;  // text of model.safetensors.index.json; empty where one file holds everything
};

// Base name of file `shard` (from 0) of `count`.
std::string shard_name(size_t shard, size_t count);
// Text of model.safetensors.index.json.
std::string shard_index(std::span<const std::vector<PlacedTensor>> shards);

// Fills files in the given order, each up to max_shard_bytes of data (one larger tensor has a file of its
// own).
ShardPlan plan_shards(std::vector<TensorDecl> tensors, uint64_t max_shard_bytes,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace codecllm
