// SPDX-License-Identifier: Apache-2.0
#include "io/growing_file.h"

namespace codecllm {

static const std::map<std::string, std::string> kMetadata = {{"format", "pt"}};

GrowingFile::GrowingFile(OutputFile& file, const std::vector<TensorDecl>& atmost) : file_(file) {
  std::vector<PlacedTensor> placed;
  for (const TensorDecl& decl : atmost) placed.push_back({.decl = decl, .bytes = uint64_t{1} << 50});
  header_bytes_ = end_ = safetensors_header(placed, kMetadata).size();
}

void GrowingFile::added(const std::string& name, DType dtype, std::vector<int64_t> shape, uint64_t bytes) {
  tensors_.push_back({.decl = {name, dtype, std::move(shape)}, .offset = end_, .bytes = bytes});
  end_ += bytes;
}

void GrowingFile::add(const std::string& name, DType dtype, std::vector<int64_t> shape, std::span<const std::byte> data) {
  write(0, data.data(), data.size());
  added(name, dtype, std::move(shape), data.size());
}

std::string GrowingFile::finish() {
  std::string header = safetensors_header(tensors_, kMetadata);
  header.resize(header_bytes_, ' ');  // spaces after the JSON are part of the format
  for (size_t i = 0; i < 8; ++i) header[i] = static_cast<char>((header_bytes_ - 8) >> (8 * i) & 255);
  file_.write_at(0, header.data(), header.size());
  file_.truncate(end_);
  return header;
}

}  // namespace codecllm
