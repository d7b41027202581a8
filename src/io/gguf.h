// SPDX-License-Identifier: Apache-2.0
// Reading GGUF files (versions 2 and 3, which have the same layout): everything is checked before a tensor is handed
// out.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "format/ggml.h"

namespace codecllm {

// What a file may hold.
struct GgufLimits {
  static constexpr uint64_t tensors = 1 << 20;
  static constexpr uint64_t metadata_entries = 65536;
  static constexpr uint64_t array_elements = 1 << 22;  // of all arrays together
  static constexpr uint64_t name_bytes = 4096;
  static constexpr size_t dimensions = 4;
};

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::f32;
  std::vector<int64_t> shape;       // row-major, as safetensors has it: the file's own order is the reverse
  std::span<const std::byte> data;  // may be unaligned
  int64_t elements() const;
};

struct GgufHeader {
  Json metadata = Json::object();   // numbers, true and false, texts (any bytes) and lists of them
  std::vector<GgufTensor> tensors;  // by offset; `data` points into the bytes that were parsed
};

// Checks and reads a whole file's bytes. `file` is for messages only. Throws Error(bad_input), or Error(unsupported) for
// versions, types and split files that are well-formed and not read.
GgufHeader parse_gguf(std::span<const std::byte> bytes, const std::string& file);

class GgufFile {
 public:
  explicit GgufFile(const std::string& path);

  const Json& metadata() const { return header_.metadata; }
  const std::vector<GgufTensor>& tensors() const { return header_.tensors; }
  const GgufTensor* find(std::string_view name) const;
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  GgufHeader header_;
  std::unordered_map<std::string_view, size_t> index_;  // keys point into header_.tensors, which never grows
};

// Whether a MODEL is a GGUF file, by its name.
bool is_gguf_path(std::string_view path);

}  // namespace codecllm
