// SPDX-License-Identifier: Apache-2.0
#include "format/grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "format/plain_float.h"

namespace codecllm {
namespace {

constexpr DType kScaleTypes[] = {DType::f32, DType::bf16, DType::f16, DType::f8_e8m0};

std::vector<QuantArgs> all_args() {
  std::vector<QuantArgs> all;
  for (int bits = 2; bits <= 8; ++bits)
    for (bool symmetric : {true, false}) all.push_back({.num_bits = bits, .symmetric = symmetric});
  all.push_back({.type = NumberType::floating});
  all.push_back({.type = NumberType::float_e5m2});
  return all;
}

// Half the distance between the two grid values around x, and what clamping adds where the stored scale is below the
// wanted one (its rounding: 2^-9 of BF16, 2^-11 of F16) or the zero point is rounded.
double error_bound(double x, const Grid& grid, const QuantArgs& args, DType stored) {
  const double scale = grid.scale, rounding = stored == DType::bf16 ? 0x1p-8 : 0x1p-10;
  if (args.type == NumberType::integer) return scale * (args.symmetric ? 0.5 : 1.0) + std::fabs(x) * rounding + 0x1p-149;
  const Float8& f = float8_of(args.type);
  const double size = std::fmax(std::fabs(x) / scale, f.smallest_normal);
  return scale * std::ldexp(std::exp2(std::floor(std::log2(size))), -f.mantissa_bits) * 0.5 + std::fabs(x) * rounding + 0x1p-149;
}

TEST(Grid, ValuesComeBackToWithinHalfAStep) {
  Rng rng(1);
  for (const QuantArgs& args : all_args())
    for (DType stored : kScaleTypes)
      for (ScaleRule rule : {ScaleRule::restricted, ScaleRule::full})
        for (int round = 0; round < 20; ++round) {
          std::vector<float> x(64), back(64);
          const double size = std::exp(6 * rng.uniform() - 4), shift = rng.below(2) == 0 ? 0 : 2 * size;
          for (float& v : x) v = static_cast<float>(rng.normal() * size + shift);
          const Grid grid = fit_grid(finite_range(x), args, rule, stored);
          ASSERT_GT(grid.scale, 0);
          ASSERT_EQ(round_to(grid.scale, stored), grid.scale);
          std::vector<int8_t> codes(64), again(64);
          encode(x, grid, args, rule, codes.data());
          decode(codes, grid, args, back.data());
          const double full = args.type == NumberType::integer && args.symmetric && rule == ScaleRule::full ? 0.5 * grid.scale : 0;
          for (size_t i = 0; i < x.size(); ++i)
            ASSERT_NEAR(back[i], x[i], error_bound(x[i], grid, args, stored) + full)
                << args.num_bits << " " << args.symmetric << " " << dtype_name(stored);
          encode(back, grid, args, ScaleRule::full, again.data());
          ASSERT_EQ(again, codes) << "codes do not come back";
        }
}

TEST(Grid, EveryCodeComesBack) {
  for (const QuantArgs& args : all_args())
    for (int zero : {0, -7, 3}) {
      if (zero != 0 && (args.symmetric || args.num_bits < 4)) continue;
      const Grid grid = {0.37f, zero};
      std::vector<int8_t> codes;
      const int half = 1 << (args.num_bits - 1);
      for (int code = -half; code < half; ++code)
        if (args.type == NumberType::integer || std::isfinite(float8_to_f32(static_cast<uint8_t>(code), float8_of(args.type))))
          codes.push_back(static_cast<int8_t>(code));
      std::vector<float> values(codes.size());
      std::vector<int8_t> again(codes.size());
      decode(codes, grid, args, values.data());
      encode(values, grid, args, ScaleRule::full, again.data());
      EXPECT_EQ(again, codes) << args.num_bits;
    }
}

TEST(Grid, ZeroIsExactAndTheEndsAreHeld) {
  for (DType stored : kScaleTypes)
    for (int bits = 2; bits <= 8; ++bits)
      for (const auto& [low, high] : {std::pair{0.0f, 5.0f}, {-5.0f, 0.0f}, {-1.0f, 9.0f}, {-0.001f, 7.0f}}) {
        const QuantArgs args = {.num_bits = bits, .symmetric = false};
        const Grid grid = fit_grid({low, high}, args, ScaleRule::restricted, stored);
        const std::vector<float> x = {0.0f, low, high};
        std::vector<int8_t> codes(3);
        std::vector<float> back(3);
        encode(x, grid, args, ScaleRule::restricted, codes.data());
        decode(codes, grid, args, back.data());
        EXPECT_EQ(back[0], 0.0f);
        EXPECT_EQ(codes[0], grid.zero);
        EXPECT_NEAR(back[1], low, grid.scale);
        EXPECT_NEAR(back[2], high, grid.scale + high * 0x1p-8);
      }
}

TEST(Grid, ZerosAndTinyAndHugeValuesNeverDivideByZero) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min(), kHuge = std::numeric_limits<float>::max();
  for (const QuantArgs& args : all_args())
    for (DType stored : kScaleTypes)
      for (const Range& range : {Range{0, 0}, {-kTiny, 0}, {0, kTiny}, {-1e-40f, 1e-38f}, {-kHuge, kHuge}, {0, kHuge}}) {
        const Grid grid = fit_grid(range, args, ScaleRule::restricted, stored);
        ASSERT_GT(grid.scale, 0) << dtype_name(stored);
        ASSERT_TRUE(std::isfinite(grid.scale)) << dtype_name(stored) << args.num_bits;
        const std::vector<float> x = {0.0f, range.low, range.high};
        std::vector<int8_t> codes(3);
        std::vector<float> back(3);
        encode(x, grid, args, ScaleRule::restricted, codes.data());
        decode(codes, grid, args, back.data());
        for (float v : back) EXPECT_FALSE(std::isnan(v));
        EXPECT_EQ(back[0], 0.0f);
      }
}

TEST(Grid, RangesHoldZeroAndNameWhatIsNotFinite) {
  EXPECT_EQ(finite_range(std::vector<float>{3, 4}).low, 0);
  EXPECT_EQ(finite_range(std::vector<float>{-3, -4}).high, 0);
  EXPECT_EQ(finite_range(std::vector<float>{-3, 2}).amax(), 3);
  for (float bad : {INFINITY, -INFINITY, NAN}) {
    Range range = finite_range(std::vector<float>{1, bad, -1});
    EXPECT_TRUE(std::isnan(range.low) && std::isnan(range.high));
    Range whole = {-1, 1};
    whole.include(range);
    EXPECT_TRUE(std::isnan(whole.low) && std::isnan(whole.high));
  }
  Range range = {-1, 1};
  range.include({-2, 0.5f});
  EXPECT_EQ(range.low, -2);
  EXPECT_EQ(range.high, 1);
}

TEST(Grid, PowersOfTwoAreStoredInOneByte) {
  for (int e = -127; e <= 127; ++e) {
    const float value = std::ldexp(1.0f, e);
    EXPECT_EQ(round_to(value, DType::f8_e8m0), value);
    if (e < 127) {
      EXPECT_EQ(round_to(value * 1.001f, DType::f8_e8m0), 2 * value) << e;
    }
    uint8_t byte = 0;
    store_scale(&byte, 0, DType::f8_e8m0, value);
    EXPECT_EQ(byte, e + 127);
    EXPECT_EQ(load_scale(&byte, 0, DType::f8_e8m0), value);
    EXPECT_EQ(load_scale(&byte, 0, DType::u8), value);
  }
  const uint8_t nan = 255;
  EXPECT_TRUE(std::isnan(load_scale(&nan, 0, DType::f8_e8m0)));
}

}  // namespace
}  // namespace codecllm
