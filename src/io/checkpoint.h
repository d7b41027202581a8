// SPDX-License-Identifier: Apache-2.0
// A model directory in Hugging Face's layout: config.json and safetensors files, one or many.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "io/safetensors.h"

namespace codecllm {

class Checkpoint {
 public:
  explicit Checkpoint(std::string directory);

  const std::string& directory() const { return directory_; }
  const std::string& config_path() const { return config_path_; }
  const Json& config() const { return config_; }  // an object

  const std::vector<const TensorInfo*>& tensors() const { return tensors_; }  // by file name, then by offset
  const TensorInfo* find(std::string_view name) const;
  const TensorInfo& need(std::string_view name) const;  // throws Error(bad_input)

  const std::string& file_of(const TensorInfo& tensor) const;  // path
  // Pages of a tensor, or of a part of its data, may leave memory.
  void release(const TensorInfo& tensor) const { release(tensor, tensor.data); }
  void release(const TensorInfo& tensor, std::span<const std::byte> part) const;
  uint64_t total_bytes() const { return total_bytes_; }        // data of all tensors

 private:
  struct Place {
    const TensorInfo* tensor;
    size_t file;
  };

  void add_file(const std::string& base_name);
  void add_tensor(const TensorInfo& tensor, size_t file);
  void open_index(const std::string& path);
  const Place& place_of(std::string_view name) const;

  std::string directory_, config_path_;
  Json config_;
  std::vector<SafetensorsFile> files_;
  std::vector<const TensorInfo*> tensors_;
  std::unordered_map<std::string_view, Place> index_;
  uint64_t total_bytes_ = 0;
};

}  // namespace codecllm
