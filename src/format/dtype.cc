// SPDX-License-Identifier: Apache-2.0
#include "format/dtype.h"

namespace codecllm {

namespace {
struct Row {
  std::string_view name;
  int bits;
};
constexpr Row kRows[] = {
#define DTYPE(id, name, bits) {name, bits},
#include "format/dtype.def"
#undef DTYPE
};
constexpr size_t kRowCount = sizeof kRows / sizeof kRows[0];
}  // namespace

std::string_view dtype_name(DType type) { return kRows[static_cast<size_t>(type)].name; }
int dtype_bits(DType type) { return kRows[static_cast<size_t>(type)].bits; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kRowCount; ++i)
    if (kRows[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

}  // namespace codecllm
