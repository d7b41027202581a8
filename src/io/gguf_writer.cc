// SPDX-License-Identifier: Apache-2.0
#include "io/gguf_writer.h"

#include <cstring>

#include "codecllm/error.h"

namespace codecllm {

namespace {

constexpr uint64_t kGgufAlignment = 32;
constexpr size_t kGgufNameBytes = 64;  // llama.cpp's names end with a NUL within these

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out.append(text);
}

// The numbers of gguf_value.def.
enum GgufKind : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kList = 9, kU64 = 10 };

GgufKind kind_of(const OrderedJson& value, const std::string& key) {
  if (key.ends_with(".scores")) return kF32;
  if (key.ends_with(".token_type")) return kI32;
  if (value.is_boolean()) return kBool;
  if (value.is_string()) return kText;
  if (value.is_number_unsigned()) return value.get<uint64_t>() > UINT32_MAX ? kU64 : kU32;
  if (value.is_number_integer()) return value.get<int64_t>() < 0 ? kI32 : value.get<int64_t>() > UINT32_MAX ? kU64 : kU32;
  if (value.is_number_float()) return kF32;
  throw Error(ErrorCode::bad_call, "gguf", "metadata '" + key + "' is of a kind that GGUF does not have");
}

void put_value(std::string& out, const OrderedJson& value, GgufKind kind) {
  switch (kind) {
    case kU32: return put(out, value.get<uint32_t>());
    case kI32: return put(out, value.get<int32_t>());
    case kF32: return put(out, value.get<float>());
    case kBool: return put<uint8_t>(out, value.get<bool>() ? 1 : 0);
    case kU64: return put(out, value.get<uint64_t>());
    default: return put_text(out, value.get_ref<const std::string&>());
  }
}

void put_entry(std::string& out, const std::string& key, const OrderedJson& value) {
  put_text(out, key);
  if (!value.is_array()) {
    const GgufKind kind = kind_of(value, key);
    put<uint32_t>(out, kind);
    return put_value(out, value, kind);
  }
  const GgufKind kind = value.empty() ? kText : kind_of(value[0], key);
  put<uint32_t>(out, kList);
  put<uint32_t>(out, kind);
  put<uint64_t>(out, value.size());
  for (const OrderedJson& element : value) put_value(out, element, kind);
}

uint64_t gguf_bytes(const GgufDecl& decl) {
  const GgmlTraits& traits = ggml_traits(decl.type);
  int64_t elements = 1;
  for (const int64_t size : decl.shape) elements *= size;
  if (decl.name.size() >= kGgufNameBytes || decl.shape.empty() || decl.shape.size() > 4 || decl.shape.back() % traits.block_values != 0)
    throw Error(ErrorCode::bad_call, "gguf", "this name or shape cannot be written in " + std::string(traits.name), {.tensor = decl.name});
  return static_cast<uint64_t>(elements / traits.block_values * traits.block_bytes);
}

}  // namespace

GgufLayout gguf_layout(const OrderedJson& metadata, const std::vector<GgufDecl>& tensors) {
  const auto padded = [](uint64_t n) { return (n + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; };
  GgufLayout out;
  out.header = "GGUF";
  put<uint32_t>(out.header, 3);
  put<uint64_t>(out.header, tensors.size());
  put<uint64_t>(out.header, metadata.size());
  for (const auto& [key, value] : metadata.items()) put_entry(out.header, key, value);
  uint64_t at = 0;
  for (const GgufDecl& decl : tensors) {
    const uint64_t bytes = gguf_bytes(decl);
    put_text(out.header, decl.name);
    put<uint32_t>(out.header, static_cast<uint32_t>(decl.shape.size()));
    for (size_t i = decl.shape.size(); i-- > 0;) put<uint64_t>(out.header, static_cast<uint64_t>(decl.shape[i]));
    put<uint32_t>(out.header, ggml_traits(decl.type).number);
    put<uint64_t>(out.header, at);
    out.tensors.push_back({decl, at, bytes});
    at = padded(at + bytes);
  }
  out.header.resize(padded(out.header.size()));
  for (GgufPlaced& placed : out.tensors) placed.offset += out.header.size();
  out.file_bytes = out.header.size() + at;
  return out;
}

}  // namespace codecllm
