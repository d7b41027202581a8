// SPDX-License-Identifier: Apache-2.0
#include "format/dtype.h"

#include <gtest/gtest.h>

#include <set>

namespace codecllm {
namespace {

constexpr DType kAll[] = {
#define DTYPE(id, name, bits) DType::id,
#include "format/dtype.def"
#undef DTYPE
};

TEST(DType, NamesAreUniqueAndReadBack) {
  std::set<std::string_view> names;
  for (const DType type : kAll) {
    EXPECT_TRUE(names.insert(dtype_name(type)).second);
    EXPECT_EQ(dtype_from_name(dtype_name(type)), type);
  }
  EXPECT_EQ(names.size(), 22u);
  for (const char* other : {"", "f32", "F32 ", "F8", "Q4_0"}) EXPECT_EQ(dtype_from_name(other), std::nullopt);
}

TEST(DType, HasTheSizesOfSafetensors) {
  EXPECT_EQ(dtype_bits(DType::f64), 64);
  EXPECT_EQ(dtype_bits(DType::c64), 64);
  EXPECT_EQ(dtype_bits(DType::f32), 32);
  EXPECT_EQ(dtype_bits(DType::bf16), 16);
  EXPECT_EQ(dtype_bits(DType::f8_e4m3), 8);
  EXPECT_EQ(dtype_bits(DType::boolean), 8);
  EXPECT_EQ(dtype_bits(DType::f6_e2m3), 6);
  EXPECT_EQ(dtype_bits(DType::f4), 4);
}

TEST(DType, StandsInTheWritersOrder) {
  for (size_t i = 1; i + 1 < std::size(kAll); ++i) EXPECT_GE(dtype_bits(kAll[i - 1]), dtype_bits(kAll[i]));
  EXPECT_EQ(kAll[std::size(kAll) - 1], DType::boolean);  // the reference's first, so the last to be written
}

TEST(DType, KnowsPlainFloats) {
  std::set<std::string_view> plain;
  for (const DType type : kAll)
    if (is_plain_float(type)) plain.insert(dtype_name(type));
  EXPECT_EQ(plain, (std::set<std::string_view>{"F32", "BF16", "F16"}));
}

}  // namespace
}  // namespace codecllm
