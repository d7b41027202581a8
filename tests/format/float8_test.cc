// SPDX-License-Identifier: Apache-2.0
// Every code and every rounding of 8-bit floats, against what the ml_dtypes package gives (tools/dump_float8.py).
#include "format/float8.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

#include "base/json.h"
#include "base/rng.h"
#include "paths.h"

namespace codecllm {
namespace {

std::vector<uint32_t> hex_fields(const std::string& text, size_t width) {
  std::vector<uint32_t> fields;
  for (size_t at = 0; at < text.size(); at += width) {
    uint32_t value = 0;
    std::from_chars(text.data() + at, text.data() + at + width, value, 16);
    fields.push_back(value);
  }
  return fields;
}

class Float8Test : public ::testing::TestWithParam<std::pair<const char*, const Float8*>> {
 protected:
  std::vector<uint32_t> field(const char* key, size_t width) const {
    const Json json = read_json_file(test::source_path("tests/format/data/float8.json"));
    return hex_fields(json.at(GetParam().first).at(key).get<std::string>(), width);
  }
  const Float8& format() const { return *GetParam().second; }
};

TEST_P(Float8Test, EveryCodeHasItsValue) {
  const std::vector<uint32_t> values = field("values", 8);
  ASSERT_EQ(values.size(), 256u);
  for (uint32_t code = 0; code < 256; ++code) {
    const auto expected = std::bit_cast<float>(values[code]);
    const float got = float8_to_f32(static_cast<uint8_t>(code), format());
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << code;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(got), values[code]) << code;  // the sign of zero, too
    }
  }
}

TEST_P(Float8Test, EveryValueAndEveryMiddleRounds) {
  const std::vector<uint32_t> inputs = field("inputs", 8), codes = field("codes", 2);
  ASSERT_EQ(inputs.size(), codes.size());
  ASSERT_GT(inputs.size(), 4u * 120);
  for (size_t i = 0; i < inputs.size(); ++i)
    EXPECT_EQ(f32_to_float8(std::bit_cast<float>(inputs[i]), format()), codes[i]) << std::bit_cast<float>(inputs[i]);
}

TEST_P(Float8Test, CodesOfFiniteValuesComeBack) {
  for (int code = 0; code < 256; ++code) {
    const float value = float8_to_f32(static_cast<uint8_t>(code), format());
    if (std::isfinite(value)) {
      EXPECT_EQ(f32_to_float8(value, format()), code);
    }
  }
  const uint8_t nan = f32_to_float8(std::numeric_limits<float>::quiet_NaN(), format());
  EXPECT_TRUE(std::isnan(float8_to_f32(nan, format())));
}

// Any f32 goes to the nearest of the two values around it.
TEST_P(Float8Test, AnyNumberGoesToTheNearest) {
  Rng rng(1);
  for (int i = 0; i < 200000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(rng.next()));
    if (!std::isfinite(value)) continue;
    const float got = float8_to_f32(f32_to_float8(value, format()), format());
    const double bounded = std::fmin(std::fabs(static_cast<double>(value)), format().largest);
    const double step = std::ldexp(std::fmax(std::exp2(std::floor(std::log2(std::fmax(bounded, 1e-300)))),
                                             format().smallest_normal), -format().mantissa_bits);
    ASSERT_LE(std::fabs(std::fabs(got) - bounded), step / 2) << value;
    ASSERT_EQ(std::signbit(got), std::signbit(value));
  }
}

TEST_P(Float8Test, RunsAreScaled) {
  Rng rng(2);
  for (size_t n : {size_t{1}, size_t{7}, size_t{64}, size_t{131}}) {
    std::vector<float> values(n), back(n);
    for (float& v : values) v = static_cast<float>(rng.normal());
    std::vector<int8_t> codes(n);
    const float scale = 0.013f;
    encode_float8(values, scale, format(), codes.data());
    decode_float8(codes, scale, format(), back.data());
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(static_cast<uint8_t>(codes[i]), f32_to_float8(values[i] / scale, format()));
      ASSERT_EQ(back[i], float8_to_f32(static_cast<uint8_t>(codes[i]), format()) * scale);
    }
  }
}

// A published claim is that one scale flushes 0.1 to 0 where it is 0.223 (an outlier of 100): it becomes 0.4375 * 0.223.
TEST(Float8, SmallValuesBesideAnOutlierSurviveInE4M3) {
  const float scale = 100.0f / kE4m3.largest;
  EXPECT_NEAR(scale, 0.223f, 0.001f);
  EXPECT_EQ(float8_to_f32(f32_to_float8(0.1f / scale, kE4m3), kE4m3), 0.4375f);
}

INSTANTIATE_TEST_SUITE_P(, Float8Test, ::testing::Values(std::pair{"e4m3", &kE4m3}, std::pair{"e5m2", &kE5m2}),
                         [](const auto& format) { return std::string(format.param.first); });

}  // namespace
}  // namespace codecllm
