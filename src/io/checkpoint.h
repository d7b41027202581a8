// SPDX-License-Identifier: Apache-2.0
// A model in Hugging Face's layout: a directory with config.json and safetensors files, one or many; or what can be
// told as one: a GGUF file, or a checkpoint of another quantizer (quant_method.def).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/translation.h"

namespace codecllm {

class Checkpoint {
 public:
  // A directory, or a .gguf file.
  explicit Checkpoint(std::string path);

  const std::string& directory() const { return directory_; }  // or the .gguf file
  const GgufFile* gguf() const { return gguf_.get(); }         // null for a directory
  const std::vector<SafetensorsFile>& files() const { return files_; }  // of a directory, as they are stored
  // What the translator of another layout noticed.
  const std::vector<TranslationNote>& notes() const { return translation_.notes(); }
  const std::string& config_path() const { return config_path_; }
  const Json& config() const { return config_; }  // an object

  const std::vector<const TensorInfo*>& tensors() const { return tensors_; }  // by file name, then by offset
  const TensorInfo* find(std::string_view name) const;
  const TensorInfo& need(std::string_view name) const;  // throws Error(bad_input)

  const std::string& file_of(const TensorInfo& tensor) const;  // path
  const MappedFile& mapped_file_of(const TensorInfo& tensor) const;
  // Whether the data is the file's own, and not made of another layout's.
  bool is_mapped(const TensorInfo& tensor) const;
  // Pages of a tensor, or of a part of its data, may leave memory.
  void release(const TensorInfo& tensor) const { release(tensor, tensor.data); }
  void release(const TensorInfo& tensor, std::span<const std::byte> part) const;
  uint64_t total_bytes() const { return total_bytes_; }        // data of all tensors

 private:
  struct Place {
    const TensorInfo* tensor;
    const MappedFile* file;  // the data lies in it, or was made from it
  };

  void open_directory();
  void open_gguf();
  void take(Translation translation);  // in the place of all tensors and the config so far
  void add_file(const std::string& base_name);
  void add_tensor(const TensorInfo& tensor, const MappedFile& file);
  void open_index(const std::string& path);
  const Place& place_of(std::string_view name) const;

  std::string directory_, config_path_;
  Json config_;
  std::vector<SafetensorsFile> files_;
  std::unique_ptr<GgufFile> gguf_;
  Translation translation_;
  std::vector<const TensorInfo*> tensors_;
  std::unordered_map<std::string_view, Place> index_;
  uint64_t total_bytes_ = 0;
};

}  // namespace codecllm
