// SPDX-License-Identifier: Apache-2.0
// The safetensors reader on any bytes: it gives tensors inside the bytes, or throws Error. What it takes, the
// JSON library must take too, with the same names, and the writer must be able to write again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/json.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"

namespace codecllm {
namespace {

void check(bool condition) {
  if (!condition) std::abort();
}

void check_tensors(const SafetensorsHeader& header, std::span<const std::byte> bytes) {
  const std::byte* at = header.tensors.empty() ? nullptr : header.tensors[0].data.data();
  uint64_t total = 0;
  for (const TensorInfo& tensor : header.tensors) {
    check(tensor.data.data() == at && tensor.elements() >= 0);
    check(tensor.data.size() * 8 == static_cast<uint64_t>(tensor.elements()) * dtype_bits(tensor.dtype));
    at += tensor.data.size();
    total += tensor.data.size();
    for (const std::byte& byte : tensor.data.first(std::min<size_t>(tensor.data.size(), 1)))
      check(&byte >= &bytes[8]);
  }
  check(at == nullptr || at == bytes.data() + bytes.size());
  check(total <= bytes.size());
}

void check_against_json(const SafetensorsHeader& header, std::span<const std::byte> bytes) {
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  const Json json = parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, length}, "fuzz");
  check(json.size() == header.tensors.size() + json.contains("__metadata__"));
  for (const TensorInfo& tensor : header.tensors) {
    check(json.at(tensor.name).at("shape").get<std::vector<int64_t>>() == tensor.shape);
    check(json.at(tensor.name).at("dtype").get<std::string>() == dtype_name(tensor.dtype));
  }
  for (const auto& [key, value] : header.metadata)
    check(json.at("__metadata__").at(key).get<std::string>() == value);
}

void check_writer(const SafetensorsHeader& header) {
  std::vector<TensorDecl> decls;
  for (const TensorInfo& tensor : header.tensors) decls.push_back({tensor.name, tensor.dtype, tensor.shape});
  const SafetensorsLayout layout(std::move(decls), header.metadata);
  if (layout.file_bytes() > 1 << 20) return;
  std::string file = layout.header();
  file.resize(layout.file_bytes());
  const SafetensorsHeader again = parse_safetensors(std::as_bytes(std::span(file)), "fuzz");
  check(again.tensors.size() == header.tensors.size());
  for (const TensorInfo& tensor : again.tensors)
    check(tensor.data.size() == layout.need(tensor.name).bytes &&
          reinterpret_cast<const char*>(tensor.data.data()) == file.data() + layout.need(tensor.name).offset);
}

}  // namespace
}  // namespace codecllm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace codecllm;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  SafetensorsHeader header;
  try {
    header = parse_safetensors(bytes, "fuzz");
  } catch (const Error& error) {
    check(error.code() == ErrorCode::bad_input);
    return 0;
  }
  check_tensors(header, bytes);
  check_against_json(header, bytes);
  check_writer(header);
  return 0;
}
