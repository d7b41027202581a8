// SPDX-License-Identifier: Apache-2.0
// Activation rows as integers: every tier must mean the same codes, scale and sums. The codes' byte order is
// private, so they are read through products with an identity matrix.
#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "kernels/dispatch.h"
#include "kernels/matrix.h"

namespace codecllm {
namespace {

constexpr uint8_t kGuardByte = 0x5A;
constexpr int32_t kGuardSum = 0x5A5A5A5A;

struct Quantized {
  float scale;
  std::vector<int32_t> sums;    // [groups][2]
  std::vector<float> products;  // [columns]: scale * code
};

// halves: 2 for 16-bit codes, 1 for INT8. tile_rows: rows with which the codes are interleaved, this one being the last.
Quantized quantize(Isa isa, const std::vector<float>& x, int64_t group, int64_t halves = 2, float scale = 0,
                   int64_t tile_rows = 1) {
  const KernelTable& kernels = kernels_for(isa);
  const auto columns = static_cast<int64_t>(x.size());
  Matrix identity(Element::u8, columns, columns, columns, ScaleType::f32);
  for (int64_t panel = 0; panel < identity.view().panels(); ++panel) {
    std::vector<std::vector<int8_t>> rows;
    for (int64_t n = panel * kPanelRows; n < std::min(columns, (panel + 1) * kPanelRows); ++n) {
      rows.emplace_back(columns, int8_t{0}).at(n) = 1;
      identity.set_scale(n, 0, 1.0f);
    }
    std::vector<const int8_t*> pointers;
    for (const auto& row : rows) pointers.push_back(row.data());
    identity.set_panel(panel, pointers);
  }

  const int64_t bytes = halves * round_up(columns, kColumnPadding), groups = (columns + group - 1) / group;
  const int64_t unit = 4 * halves, row_sums = halves * groups;
  std::vector<float> rows;
  for (int64_t i = 0; i < tile_rows; ++i)
    for (int64_t k = 0; k < columns; ++k) rows.push_back(x[k] * (i + 1 == tile_rows ? 1.0f : static_cast<float>(i) - 1.0f));
  std::vector<uint8_t> tile(bytes * tile_rows + 64, kGuardByte), codes(bytes);
  std::vector<int32_t> sums(row_sums * tile_rows + 8, kGuardSum);
  std::vector<float> scales(tile_rows);
  kernels.quantize_rows({rows.data(), columns, tile_rows, columns, group, halves, scale}, {tile.data(), scales.data(), sums.data(), nullptr});
  for (int64_t at = 0; at < bytes; ++at) codes[at] = tile[at / unit * unit * tile_rows + (tile_rows - 1) * unit + at % unit];
  for (size_t i = bytes * tile_rows; i < tile.size(); ++i) EXPECT_EQ(tile[i], kGuardByte) << "codes of " << columns;
  for (size_t i = row_sums * tile_rows; i < sums.size(); ++i) EXPECT_EQ(sums[i], kGuardSum) << "sums";
  const auto own = sums.begin() + row_sums * (tile_rows - 1);
  Quantized result = {scales.back(), {own, own + row_sums}, std::vector<float>(columns)};

  // The identity has one group, so its product wants the sums of the whole row.
  int32_t total[2] = {0, 0};
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t half = 0; half < halves; ++half) total[half] += result.sums[halves * g + half];
  const IntActivations activations = {1, halves, bytes, codes.data(), &result.scale, total};
  kernels.matmul_int(identity.view(), activations, result.products.data(), columns, 0,
                     identity.view().panels());
  return result;
}

void expect_same(const Quantized& got, const Quantized& expected, const std::string& what) {
  EXPECT_EQ(std::bit_cast<uint32_t>(got.scale), std::bit_cast<uint32_t>(expected.scale)) << what;
  EXPECT_EQ(got.sums, expected.sums) << what;
  if (std::isnan(expected.scale)) {
    for (float v : got.products) EXPECT_TRUE(std::isnan(v)) << what;
  } else {
    EXPECT_EQ(got.products, expected.products) << what;
  }
}

std::vector<float> row_of(int64_t columns, float width, Rng& rng) {
  std::vector<float> x;
  for (int64_t k = 0; k < columns; ++k) x.push_back(static_cast<float>(rng.normal()) * width);
  return x;
}

class QuantizeRow : public ::testing::TestWithParam<Isa> {};

TEST_P(QuantizeRow, CodesScalesAndSumsAreTheReferences) {
  Rng rng(31);
  for (int64_t columns : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 172, 300, 1100}) {
    for (int64_t group : {columns, int64_t{32}, int64_t{128}}) {
      const auto x = row_of(columns, 1e3f, rng);
      const Quantized got = quantize(GetParam(), x, group);
      expect_same(got, quantize(Isa::reference, x, group),
                  std::to_string(columns) + "/" + std::to_string(group));

      float largest = 0;
      for (float v : x) largest = std::max(largest, std::fabs(v));
      EXPECT_EQ(got.scale, largest / 32512.0f);
      std::vector<int64_t> sums(got.sums.size() / 2);
      for (int64_t k = 0; k < columns; ++k) {
        const double code = static_cast<double>(got.products[k]) / got.scale;
        // Half a step, and what rounding the reciprocal and two products may add to a code of up to 32512.
        EXPECT_NEAR(code, x[k] / static_cast<double>(got.scale), 0.5 + 32512 * 4 * 0x1p-24);
        sums[k / group] += std::llround(code);
      }
      for (size_t g = 0; g < sums.size(); ++g)
        EXPECT_EQ(256 * got.sums[2 * g] + got.sums[2 * g + 1], sums[g]);
    }
  }
}

TEST_P(QuantizeRow, ByteCodes) {
  Rng rng(34);
  for (int64_t columns : {1, 4, 8, 9, 16, 17, 33, 100, 300}) {
    for (int64_t group : {columns, int64_t{32}}) {
      for (float given : {0.0f, 3.0f, 0.0625f}) {  // the last clamps
        const auto x = row_of(columns, 20.0f, rng);
        const Quantized got = quantize(GetParam(), x, group, 1, given);
        expect_same(got, quantize(Isa::reference, x, group, 1, given), std::to_string(columns));
        float largest = 0;
        for (float v : x) largest = std::max(largest, std::fabs(v));
        EXPECT_EQ(got.scale, given > 0 ? given : largest / 127.0f);
        std::vector<int64_t> sums(got.sums.size());
        for (int64_t k = 0; k < columns; ++k) {
          const double code = static_cast<double>(got.products[k]) / got.scale;
          const double exact = std::clamp(x[k] / static_cast<double>(got.scale), -127.0, 127.0);
          EXPECT_NEAR(code, exact, 0.5 + 127 * 4 * 0x1p-24);
          sums[k / group] += std::llround(code);
        }
        for (size_t g = 0; g < sums.size(); ++g) EXPECT_EQ(got.sums[g], sums[g]);
      }
    }
  }
}

TEST_P(QuantizeRow, RowsOfATileAreInterleaved) {
  if (kernels_for(GetParam()).tile_rows(1) == 1) GTEST_SKIP() << "this tier's tiles are single rows";
  Rng rng(35);
  for (int64_t columns : {5, 16, 41, 172, 1100}) {
    const auto x = row_of(columns, 1.0f, rng);
    for (int64_t halves : {1, 2})
      for (int64_t rows : {2, 3, 12})
        expect_same(quantize(GetParam(), x, 32, halves, 0, rows), quantize(GetParam(), x, 32, halves), std::to_string(rows));
  }
}

TEST_P(QuantizeRow, EveryCodeIsExact) {
  // x is its own code; the low byte of 32512 = 127 * 256 and of its neighbours is where a carry would go
  // wrong.
  for (int32_t begin = -32512; begin <= 32512; begin += 255) {
    std::vector<float> x(257);
    for (int i = 0; i < 256; ++i) x[i] = static_cast<float>(std::min(begin + i, 32512));
    x[256] = 32512;
    const Quantized got = quantize(GetParam(), x, 257);
    ASSERT_EQ(got.scale, 1.0f);
    ASSERT_EQ(got.products, x);
  }
}

TEST_P(QuantizeRow, ExtremeRows) {
  Rng rng(32);
  const float denormal = FLT_MIN / 1024, below = std::nextafterf(kSmallestActivation, 0.0f);
  for (int64_t columns : {1, 9, 40, 100}) {
    for (float width : {0.0f, FLT_TRUE_MIN, denormal, 1e-31f, below}) {
      std::vector<float> x(columns, width);
      x[columns / 2] = -width;
      const Quantized got = quantize(GetParam(), x, 32);
      expect_same(got, quantize(Isa::reference, x, 32), std::to_string(width));
      EXPECT_EQ(got.scale, 0.0f);
      EXPECT_EQ(got.products, std::vector<float>(columns, 0.0f));
      EXPECT_EQ(quantize(GetParam(), x, 32, 1, 0.25f).products, std::vector<float>(columns, 0.0f));
    }
    for (float width : {kSmallestActivation, 1e-20f, FLT_MAX / 16}) {
      auto x = row_of(columns, 1.0f, rng);
      x[0] = 1.0f;
      float largest = 0;
      for (float v : x) largest = std::max(largest, std::fabs(v));
      for (float& v : x) v = v / largest * width;
      const Quantized got = quantize(GetParam(), x, 32);
      expect_same(got, quantize(Isa::reference, x, 32), "width " + std::to_string(width));
      for (int64_t k = 0; k < columns; ++k)
        EXPECT_NEAR(got.products[k], x[k], got.scale * (0.5 + 32512 * 6 * 0x1p-24));
    }
    const std::vector<float> most(columns, -FLT_MAX);
    const Quantized got = quantize(GetParam(), most, 32);
    expect_same(got, quantize(Isa::reference, most, 32), "largest float");
    EXPECT_TRUE(std::isfinite(got.scale) && got.scale > 0);
  }
}

TEST_P(QuantizeRow, NotFiniteRowsGiveANanScale) {
  Rng rng(33);
  for (int64_t columns : {1, 8, 15, 16, 17, 47, 200}) {
    for (int64_t at : {int64_t{0}, columns / 2, columns - 1}) {
      for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
        auto x = row_of(columns, 1.0f, rng);
        x[at] = bad;
        for (float given : {0.0f, 0.5f}) {
          for (int64_t halves : {1, 2}) {
            const Quantized got = quantize(GetParam(), x, 32, halves, given);
            EXPECT_TRUE(std::isnan(got.scale));
            for (float v : got.products) EXPECT_TRUE(std::isnan(v));
            EXPECT_EQ(got.sums, quantize(Isa::reference, x, 32, halves, given).sums);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, QuantizeRow, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
