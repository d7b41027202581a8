// SPDX-License-Identifier: Apache-2.0
#include "io/translation.h"

namespace codecllm {

std::span<std::byte> Translation::make(std::string name, DType dtype, std::vector<int64_t> shape, const MappedFile& file) {
  const uint64_t bytes = tensor_bytes(dtype, shape, ErrorCode::bad_input, {.file = file.path(), .tensor = name});
  std::vector<std::byte>& data = memory_.emplace_back(bytes);
  entries_.push_back({{.name = std::move(name), .dtype = dtype, .shape = std::move(shape), .data = data}, &file});
  return data;
}

}  // namespace codecllm
