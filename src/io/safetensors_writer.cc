// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors_writer.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/file.h"
#include "base/utf8.h"
#include "codecllm/error.h"
#include "io/header_scanner.h"
#include "io/safetensors.h"

namespace codecllm {

namespace {

using Limits = SafetensorsLimits;

[[noreturn]] void refuse(const std::string& what, const std::string& tensor = {}) {
  throw Error(ErrorCode::bad_call, "safetensors", what, {.tensor = shown(tensor)});
}

void check(const TensorDecl& decl) {
  if (decl.name == "__metadata__") refuse("this name is kept for the metadata", decl.name);
  if (decl.name.size() > Limits::name_bytes) refuse("a name longer than 4096 bytes", decl.name);
  if (!is_utf8(decl.name) || decl.name.find('\0') != decl.name.npos)
    refuse("a name that is not UTF-8 text without zero characters", decl.name);
  if (decl.shape.size() > Limits::dimensions) refuse("a shape of more than 32 dimensions", decl.name);
}

// The reference's order: dtype.def's (widest first), then by the bytes of the name.
bool before(const PlacedTensor& a, const PlacedTensor& b) {
  return a.decl.dtype != b.decl.dtype ? a.decl.dtype < b.decl.dtype : a.decl.name < b.decl.name;
}

uint64_t decl_bytes(const TensorDecl& decl) {
  return tensor_bytes(decl.dtype, decl.shape, ErrorCode::bad_call, {.tensor = shown(decl.name)});
}

}  // namespace

std::string safetensors_header(std::span<const PlacedTensor> tensors,
                               const std::map<std::string, std::string>& metadata) {
  const auto quoted = [](const std::string& text) { return dump_json(OrderedJson(text)); };
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":" + dump_json(OrderedJson(metadata)) + ",";
  uint64_t at = 0;
  for (const PlacedTensor& tensor : tensors) {
    json += quoted(tensor.decl.name) + ":{\"dtype\":\"" + std::string(dtype_name(tensor.decl.dtype)) +
            "\",\"shape\":[";
    for (const int64_t size : tensor.decl.shape) json += std::to_string(size) + ",";
    if (json.back() == ',') json.pop_back();
    json += "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + tensor.bytes) + "]},";
    at += tensor.bytes;
  }
  if (json.back() == ',') json.pop_back();
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > Limits::header_bytes) refuse("the header would be over 100 MB");
  std::string header;
  for (size_t i = 0; i < 8; ++i) header += static_cast<char>(json.size() >> (8 * i) & 255);
  return header + json;
}

SafetensorsLayout::SafetensorsLayout(std::vector<TensorDecl> tensors,
                                     std::map<std::string, std::string> metadata) {
  if (tensors.size() > Limits::tensors) refuse("more than 1000000 tensors in one file");
  for (const auto& [key, value] : metadata)
    if (!is_utf8(key) || !is_utf8(value)) refuse("metadata '" + shown(key) + "' is not UTF-8 text");
  tensors_.reserve(tensors.size());
  for (TensorDecl& decl : tensors) {
    check(decl);
    const uint64_t bytes = decl_bytes(decl);
    tensors_.push_back({.decl = std::move(decl), .bytes = bytes});
  }
  std::sort(tensors_.begin(), tensors_.end(), before);
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (!index_.emplace(tensors_[i].decl.name, i).second)
      refuse("this name is given twice", tensors_[i].decl.name);
  metadata["format"] = "pt";
  header_ = safetensors_header(tensors_, metadata);
  file_bytes_ = header_.size();
  for (PlacedTensor& tensor : tensors_) {
    tensor.offset = file_bytes_;
    if (__builtin_add_overflow(file_bytes_, tensor.bytes, &file_bytes_) || file_bytes_ > uint64_t{1} << 53)
      refuse("the file would be over 2^53 bytes", tensor.decl.name);
  }
}

const PlacedTensor* SafetensorsLayout::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const PlacedTensor& SafetensorsLayout::need(std::string_view name) const {
  const PlacedTensor* tensor = find(name);
  if (tensor == nullptr) refuse("no such tensor in the layout of this file", std::string(name));
  return *tensor;
}

void write_safetensors(const std::string& path, std::span<const TensorData> tensors,
                       std::map<std::string, std::string> metadata) {
  std::vector<TensorDecl> decls;
  for (const TensorData& tensor : tensors) decls.push_back(tensor.decl);
  const SafetensorsLayout layout(std::move(decls), std::move(metadata));
  std::map<std::string_view, std::span<const std::byte>> data;
  for (const TensorData& tensor : tensors) data.emplace(tensor.decl.name, tensor.data);
  for (const PlacedTensor& tensor : layout.tensors())
    if (data.at(tensor.decl.name).size() != tensor.bytes)
      refuse("given " + std::to_string(data.at(tensor.decl.name).size()) + " bytes, its shape needs " +
                 std::to_string(tensor.bytes),
             tensor.decl.name);
  AtomicFile file(path);
  file.write(layout.header());
  for (const PlacedTensor& tensor : layout.tensors())
    file.write(data.at(tensor.decl.name).data(), tensor.bytes);
  file.commit();
}

std::string shard_index(std::span<const std::vector<PlacedTensor>> shards) {
  std::map<std::string, std::string> files;
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i)
    for (const PlacedTensor& tensor : shards[i]) {
      if (!files.emplace(tensor.decl.name, shard_name(i, shards.size())).second) refuse("this name is given twice", tensor.decl.name);
      total += tensor.bytes;
    }
  OrderedJson map = OrderedJson::object();
  for (const auto& [name, file] : files) map.get_ref<OrderedJson::object_t&>().emplace_back(name, file);
  OrderedJson index;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = std::move(map);
  return dump_json(index, 2) + "\n";
}

std::string shard_name(size_t shard, size_t count) {
  if (count == 1) return "model.safetensors";
  char name[80];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, count);
  return name;
}

ShardPlan plan_shards(std::vector<TensorDecl> tensors, uint64_t max_shard_bytes,
                      const std::map<std::string, std::string>& metadata) {
  if (max_shard_bytes == 0) refuse("a shard size of 0 bytes");
  std::vector<std::vector<TensorDecl>> groups(1);
  uint64_t filled = 0;
  for (TensorDecl& decl : tensors) {
    const uint64_t bytes = decl_bytes(decl);
    if (!groups.back().empty() && (bytes > max_shard_bytes || filled > max_shard_bytes - bytes)) {
      groups.emplace_back();
      filled = 0;
    }
    filled += bytes;
    groups.back().push_back(std::move(decl));
  }
  ShardPlan plan;
  std::vector<std::vector<PlacedTensor>> placed;
  for (size_t i = 0; i < groups.size(); ++i) {
    plan.shards.push_back({shard_name(i, groups.size()), SafetensorsLayout(std::move(groups[i]), metadata)});
    placed.push_back(plan.shards.back().layout.tensors());
  }
  if (plan.shards.size() > 1) plan.index = shard_index(placed);
  return plan;
}

}  // namespace codecllm
