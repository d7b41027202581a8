// SPDX-License-Identifier: Apache-2.0
// A safetensors file whose tensors' sizes are known only once they are written: room for the header is kept free.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "io/safetensors_writer.h"

namespace codecllm {

class GrowingFile {
 public:
  // Refers to `file`. atmost: declarations at least as long as those of the tensors that will be added.
  GrowingFile(OutputFile& file, const std::vector<TensorDecl>& atmost);
  // Part of the next tensor, `offset` bytes from its start; added() then says what it was. Parts that are not added are
  // overwritten by what follows.
  void write(uint64_t offset, const void* data, size_t bytes) { file_.write_at(end_ + offset, data, bytes); }
  void added(const std::string& name, DType dtype, std::vector<int64_t> shape, uint64_t bytes);
  void add(const std::string& name, DType dtype, std::vector<int64_t> shape, std::span<const std::byte> data);
  std::string finish();  // writes the header, which it returns, and cuts off what was not added

  const std::vector<PlacedTensor>& tensors() const { return tensors_; }
  uint64_t bytes() const { return end_; }
  uint64_t data_bytes() const { return end_ - header_bytes_; }

 private:
  OutputFile& file_;
  std::vector<PlacedTensor> tensors_;
  uint64_t header_bytes_ = 0, end_ = 0;
};

}  // namespace codecllm
