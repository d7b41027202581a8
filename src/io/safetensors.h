// SPDX-License-Identifier: Apache-2.0
// Reading safetensors files: the header is checked completely before a tensor is handed out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "codecllm/error.h"
#include "format/dtype.h"

namespace codecllm {

// What a header may hold; the writer keeps to it too.
struct SafetensorsLimits {
  static constexpr uint64_t header_bytes = 100'000'000;
  static constexpr size_t tensors = 1'000'000;
  static constexpr size_t metadata_entries = 65536;
  static constexpr size_t name_bytes = 4096;
  static constexpr size_t dimensions = 32;
};

struct TensorInfo {
  std::string name;
  DType dtype = DType::u8;
  std::vector<int64_t> shape;       // row-major; [] is one element, a 0 is an empty tensor
  std::span<const std::byte> data;  // may be unaligned
  int64_t elements() const;
};

// "[2, 3]", for messages.
std::string shape_text(std::span<const int64_t> shape);

// Bytes of a tensor of this type and shape. Throws Error(code) that starts with "[safetensors]" for negative
// sizes, for products that overflow, and for types under 8 bits that do not fill whole bytes.
uint64_t tensor_bytes(DType dtype, std::span<const int64_t> shape, ErrorCode code, const ErrorPlace& place);

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // by offset; `data` points into the bytes that were parsed
  std::map<std::string, std::string> metadata;
  size_t bytes = 0;                 // before the data
};

// Checks and reads a whole file's bytes. `file` is for messages only.
SafetensorsHeader parse_safetensors(std::span<const std::byte> bytes, const std::string& file);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }  // in file order (by offset)
  const TensorInfo* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  size_t header_bytes() const { return header_.bytes; }  // before the first tensor's data
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  SafetensorsHeader header_;
  std::unordered_map<std::string_view, size_t> index_;  // keys point into header_.tensors, which never grows
};

}  // namespace codecllm
