// SPDX-License-Identifier: Apache-2.0
#include "format/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace codecllm {
namespace {

// A 16-bit float format as its definition says, in double precision.
struct Format {
  const char* name;
  int exponent_bits, mantissa_bits;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(float);
};

double value_of(const Format& format, uint16_t bits) {
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int exponent = bits >> format.mantissa_bits & ((1 << format.exponent_bits) - 1);
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  double value;
  if (exponent == (1 << format.exponent_bits) - 1)
    value =
        mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  else if (exponent == 0)
    value = std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  else
    value = std::ldexp(mantissa + (1 << format.mantissa_bits), exponent - bias - format.mantissa_bits);
  return (bits & 0x8000) != 0 ? -value : value;
}

uint16_t infinity_of(const Format& format) {
  return static_cast<uint16_t>(((1 << format.exponent_bits) - 1) << format.mantissa_bits);
}

class Float16 : public testing::TestWithParam<Format> {};

TEST_P(Float16, EveryPatternWidensToItsValueAndBack) {
  const Format& format = GetParam();
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const double expected = value_of(format, bits);
    const float wide = format.widen(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(wide)) << i;
      const uint16_t back = format.narrow(wide);
      ASSERT_TRUE(std::isnan(value_of(format, back))) << i;
      ASSERT_EQ(back & 0x8000, bits & 0x8000) << i;
    } else {
      ASSERT_EQ(wide, expected) << i;
      ASSERT_EQ(std::signbit(wide), (bits & 0x8000) != 0) << i;
      ASSERT_EQ(format.narrow(wide), bits) << i;
    }
  }
}

// Between every two neighbours: the halfway point goes to the even one, all floats beside it to the nearer
// one.
TEST_P(Float16, RoundsToNearestEven) {
  const Format& format = GetParam();
  const float top = std::numeric_limits<float>::infinity();
  for (uint16_t below = 0; below < infinity_of(format); ++below) {
    const uint16_t above = static_cast<uint16_t>(below + 1);
    // Above the largest finite value lies what would be the next one, were there one more exponent.
    const double low = value_of(format, below);
    const double high =
        above == infinity_of(format) ? 2 * low - value_of(format, below - 1) : value_of(format, above);
    const double middle = (low + high) / 2;
    const float halfway = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(halfway), middle);
    const uint16_t even = below % 2 == 0 ? below : above;
    ASSERT_EQ(format.narrow(halfway), even) << below;
    ASSERT_EQ(format.narrow(-halfway), even | 0x8000) << below;
    ASSERT_EQ(format.narrow(std::nextafter(halfway, 0.0f)), below) << below;
    ASSERT_EQ(format.narrow(std::nextafter(halfway, top)), above) << below;
  }
}

TEST_P(Float16, KeepsEveryNaN) {
  const Format& format = GetParam();
  for (const uint32_t bits : {0x7F800001u, 0x7F801000u, 0x7FC00000u, 0x7FFFFFFFu, 0xFF800001u, 0xFFFFFFFFu}) {
    const uint16_t narrow = format.narrow(std::bit_cast<float>(bits));
    EXPECT_TRUE(std::isnan(value_of(format, narrow))) << bits;
    EXPECT_EQ(narrow >> 15, bits >> 31);
  }
}

TEST_P(Float16, OverflowsToInfinity) {
  const Format& format = GetParam();
  const float most = std::numeric_limits<float>::max();
  EXPECT_EQ(format.narrow(most), infinity_of(format));
  EXPECT_EQ(format.narrow(-most), infinity_of(format) | 0x8000);
  EXPECT_EQ(format.narrow(std::numeric_limits<float>::infinity()), infinity_of(format));
}

TEST(Float16Patterns, KnownOnes) {
  EXPECT_EQ(f32_to_f16(1.0f), 0x3C00);
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(0x1p-24f), 0x0001);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3F80);
  EXPECT_EQ(f32_to_bf16(0x1p-149f), 0x0000);
  EXPECT_EQ(bf16_to_f32(0x0001), 0x1p-133f);
}

INSTANTIATE_TEST_SUITE_P(Formats, Float16,
                         testing::Values(Format{"f16", 5, 10, f16_to_f32, f32_to_f16},
                                         Format{"bf16", 8, 7, bf16_to_f32, f32_to_bf16}),
                         [](const testing::TestParamInfo<Format>& test) {
                           return std::string(test.param.name);
                         });

}  // namespace
}  // namespace codecllm
