// SPDX-License-Identifier: Apache-2.0
#include "format/ggml.h"

#include <array>
#include <string>

#include "codecllm/error.h"
#include "format/ggml_blocks.h"

namespace codecllm {

namespace {

constexpr decltype(GgmlTraits::decode) ggml_none = nullptr;

constexpr GgmlTraits kGgmlTypes[] = {
#define GGML_TYPE(id, number, name, values, bytes, decoder) {number, name, values, bytes, ggml_##decoder},
#include "format/ggml_type.def"
#undef GGML_TYPE
};

}  // namespace

const GgmlTraits& ggml_traits(GgmlType type) { return kGgmlTypes[static_cast<size_t>(type)]; }

std::optional<GgmlType> ggml_type_of(uint32_t number) {
  for (size_t i = 0; i < std::size(kGgmlTypes); ++i)
    if (kGgmlTypes[i].number == number) return static_cast<GgmlType>(i);
  return std::nullopt;
}

void dequantize_ggml(GgmlType type, const void* data, std::span<float> out) {
  const GgmlTraits& traits = ggml_traits(type);
  if (traits.decode == nullptr)
    throw Error(ErrorCode::unsupported, "ggml",
                "numbers of type " + std::string(traits.name) + " are not read in this version");
  const auto* block = static_cast<const uint8_t*>(data);
  for (size_t at = 0; at < out.size(); at += static_cast<size_t>(traits.block_values), block += traits.block_bytes)
    traits.decode(block, out.data() + at);
}

}  // namespace codecllm
