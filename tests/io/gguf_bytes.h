// SPDX-License-Identifier: Apache-2.0
// GGUF bytes made by hand.
#pragma once

#include <cstring>
#include <string>
#include <vector>

namespace codecllm::test {

template <class T>
std::string raw(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

inline std::string gguf_text(const std::string& text) { return raw<uint64_t>(text.size()) + text; }
inline std::string gguf_entry(const std::string& key, uint32_t kind, const std::string& value) {
  return gguf_text(key) + raw(kind) + value;
}
inline std::string gguf_tensor(const std::string& name, std::vector<uint64_t> dimensions, uint32_t type, uint64_t offset) {
  std::string out = gguf_text(name) + raw(static_cast<uint32_t>(dimensions.size()));
  for (uint64_t size : dimensions) out += raw(size);
  return out + raw(type) + raw(offset);
}
inline std::string gguf_head(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
  return "GGUF" + raw(version) + raw(tensors) + raw(entries);
}
// Padded to the alignment, with this many bytes of data behind it.
inline std::string gguf_file(std::string header, size_t data_bytes, size_t alignment = 32) {
  header.resize((header.size() + alignment - 1) / alignment * alignment);
  return header + std::string(data_bytes, '\x11');
}

}  // namespace codecllm::test
