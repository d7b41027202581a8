// SPDX-License-Identifier: Apache-2.0
// The GGUF reader, its tokenizer maker and the decoders on any bytes: they give values inside the bytes, or throw Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "io/gguf_model.h"

namespace codecllm {
namespace {

void check(bool condition) {
  if (!condition) std::abort();
}

void check_tensors(const GgufHeader& header, std::span<const std::byte> bytes) {
  for (const GgufTensor& tensor : header.tensors) {
    if (tensor.data.empty()) continue;
    check(tensor.data.data() >= bytes.data() && tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    const GgmlTraits& traits = ggml_traits(tensor.type);
    check(static_cast<uint64_t>(tensor.elements() / traits.block_values) * static_cast<uint64_t>(traits.block_bytes) == tensor.data.size());
    if (traits.decode == nullptr) continue;
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    dequantize_ggml(tensor.type, tensor.data.data(), values);
  }
}

}  // namespace
}  // namespace codecllm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace codecllm;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const GgufHeader header = parse_gguf(bytes, "fuzz");
    check_tensors(header, bytes);
    gguf_tokenizer(header.metadata, "fuzz");
  } catch (const Error& error) {
    check(error.code() == ErrorCode::bad_input || error.code() == ErrorCode::unsupported);
  }
  return 0;
}
