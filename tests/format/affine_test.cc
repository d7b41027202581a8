// SPDX-License-Identifier: Apache-2.0
#include "format/affine.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "format/float16.h"
#include "paths.h"

namespace codecllm {
namespace {

constexpr DType kStored[] = {DType::f32, DType::bf16, DType::f16};
constexpr ScaleRule kRules[] = {ScaleRule::restricted, ScaleRule::full};
constexpr int kBits[] = {2, 3, 4, 5, 6, 7, 8};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float any_float(Rng& rng) {
  for (;;) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(rng.next()));
    if (std::isfinite(value)) return value;
  }
}

int lowest(int bits, ScaleRule rule) { return -code_limit(bits) - (rule == ScaleRule::full ? 1 : 0); }

int8_t naive_code(float value, float scale, int bits, ScaleRule rule) {
  const float high = static_cast<float>(code_limit(bits)), low = static_cast<float>(lowest(bits, rule));
  return static_cast<int8_t>(std::fmin(high, std::fmax(low, std::nearbyint(value / scale))));
}

TEST(SymmetricScale, IsNeverZeroAndHeldByItsType) {
  std::vector<float> amaxes = {0.0f,       std::numeric_limits<float>::denorm_min(),
                               1e-44f,     0x1p-149f * 200,
                               0x1p-133f,  1e-38f,
                               0x1p-30f,   0x1p-26f,
                               0x1p-25f,   0x1p-24f,
                               0x1.8p-24f, 1e-6f,
                               1.0f,       30000.0f};
  Rng rng(1);
  for (int i = 0; i < 5000; ++i) amaxes.push_back(std::fmin(std::fabs(any_float(rng)), 30000.0f));
  for (DType stored : kStored)
    for (ScaleRule rule : kRules)
      for (int bits : kBits)
        for (float amax : amaxes) {
          const float scale = symmetric_scale(amax, bits, rule, stored);
          ASSERT_GT(scale, 0.0f) << amax << " " << dtype_name(stored);
          ASSERT_TRUE(std::isfinite(scale)) << amax;
          ASSERT_EQ(round_to(scale, stored), scale) << amax << " " << dtype_name(stored);
        }
}

TEST(SymmetricScale, ZerosGetTheTypesEpsilonAndTinyValuesItsSmallestNumber) {
  for (ScaleRule rule : kRules) {
    EXPECT_EQ(symmetric_scale(0, 8, rule, DType::f32), std::numeric_limits<float>::epsilon());
    EXPECT_EQ(symmetric_scale(0, 8, rule, DType::bf16), 0x1p-7f);
    EXPECT_EQ(symmetric_scale(0, 8, rule, DType::f16), 0x1p-10f);
    EXPECT_EQ(symmetric_scale(0x1p-149f, 8, rule, DType::f32), 0x1p-149f);
    EXPECT_EQ(symmetric_scale(0x1p-149f, 8, rule, DType::bf16), 0x1p-133f);
    EXPECT_EQ(symmetric_scale(0x1p-24f, 8, rule, DType::f16), 0x1p-24f);
  }
}

TEST(SymmetricScale, FollowsTheRule) {
  Rng rng(2);
  for (int bits : kBits) {
    for (int i = 0; i < 2000; ++i) {
      const auto amax = static_cast<float>(std::exp(8 * rng.uniform() - 4));
      const double limit = std::ldexp(1.0, bits - 1) - 1, half_range = (std::ldexp(1.0, bits) - 1) / 2;
      for (DType stored : kStored) {
        const auto expect = [&](ScaleRule rule, double steps) {
          // The quotient is rounded once to f32 and once to the type.
          const float expected = round_to(static_cast<float>(amax / steps), stored);
          ASSERT_EQ(symmetric_scale(amax, bits, rule, stored), expected) << amax << " " << bits;
        };
        expect(ScaleRule::restricted, limit);
        expect(ScaleRule::full, half_range);
      }
    }
  }
}

TEST(SymmetricScale, TheLargestValueGetsTheLastCode) {
  Rng rng(3);
  for (int bits : kBits)
    for (int i = 0; i < 1000; ++i) {
      const auto amax = static_cast<float>(rng.uniform() + 0.01);
      const float values[] = {amax, -amax};
      int8_t codes[2];
      quantize(values, symmetric_scale(amax, bits, ScaleRule::restricted, DType::f32), bits,
               ScaleRule::restricted, codes);
      ASSERT_EQ(codes[0], code_limit(bits));
      ASSERT_EQ(codes[1], -code_limit(bits));
    }
}

TEST(Quantize, EqualsTheFormula) {
  Rng rng(4);
  for (ScaleRule rule : kRules)
    for (int bits : kBits)
      for (int round = 0; round < 200; ++round) {
        const auto scale = static_cast<float>(std::exp(20 * rng.uniform() - 10));
        std::vector<float> values(rng.below(80) + 1);
        const double spread = 1.3 * std::ldexp(1.0, bits - 1);
        for (float& v : values)
          v = rng.below(8) == 0 ? any_float(rng)
                                : static_cast<float>((2 * rng.uniform() - 1) * spread * scale);
        std::vector<int8_t> codes(values.size());
        quantize(values, scale, bits, rule, codes.data());
        for (size_t i = 0; i < values.size(); ++i)
          ASSERT_EQ(codes[i], naive_code(values[i], scale, bits, rule)) << values[i] << " / " << scale;
      }
}

TEST(Quantize, TiesGoToTheEvenCode) {
  for (ScaleRule rule : kRules)
    for (int bits : kBits)
      for (int exponent = -20; exponent <= 20; ++exponent) {
        const float scale = std::ldexp(1.0f, exponent);
        for (int k = -140; k < 140; ++k) {
          const float tie = (static_cast<float>(k) + 0.5f) * scale;
          int8_t code;
          quantize({&tie, 1}, scale, bits, rule, &code);
          const int even = k % 2 == 0 ? k : k + 1;
          ASSERT_EQ(code, std::clamp(even, lowest(bits, rule), code_limit(bits))) << k << " " << bits;
        }
      }
}

void expect_identity(float scale, int bits, ScaleRule rule) {
  const int low = lowest(bits, rule);
  std::vector<float> values;
  for (int code = low; code <= code_limit(bits); ++code) values.push_back(static_cast<float>(code) * scale);
  std::vector<int8_t> codes(values.size());
  quantize(values, scale, bits, rule, codes.data());
  for (size_t i = 0; i < codes.size(); ++i)
    ASSERT_EQ(codes[i], low + static_cast<int>(i)) << "scale " << scale;
}

// Scales above this have codes whose value overflows; no finite weights give such a scale.
constexpr float kLargestScale = std::numeric_limits<float>::max() / 128;

TEST(Quantize, CodeToValueToCodeIsTheIdentity) {
  std::vector<float> scales;
  for (uint32_t pattern = 1; pattern < 0x8000; ++pattern) {
    scales.push_back(bf16_to_f32(static_cast<uint16_t>(pattern)));
    scales.push_back(f16_to_f32(static_cast<uint16_t>(pattern)));
  }
  Rng rng(5);
  for (int i = 0; i < 40000; ++i) scales.push_back(std::fabs(any_float(rng)));
  for (float scale : scales) {
    if (!(scale > 0 && scale <= kLargestScale) || (test::kSanitized && rng.below(8) != 0)) continue;
    for (ScaleRule rule : kRules)
      for (int bits : {4, 8}) expect_identity(scale, bits, rule);
    if (HasFatalFailure()) return;
  }
}

TEST(FiniteAmax, IsTheLargestMagnitude) {
  EXPECT_EQ(finite_amax({}), 0.0f);
  const float values[] = {1, -3, 2, -0.0f, 0x1p-149f};
  EXPECT_EQ(finite_amax(values), 3.0f);
  const float largest = std::numeric_limits<float>::max(), extremes[] = {-largest, largest};
  EXPECT_EQ(finite_amax(extremes), largest);
}

TEST(FiniteAmax, TellsOfEveryValueThatIsNotFinite) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                    kInfinity, -kInfinity})
    for (size_t n = 1; n < 70; ++n)
      for (size_t at = 0; at < n; ++at) {
        std::vector<float> values(n, -2.5f);
        values[at] = bad;
        ASSERT_TRUE(std::isnan(finite_amax(values))) << n << " " << at << " " << bad;
      }
}

}  // namespace
}  // namespace codecllm
