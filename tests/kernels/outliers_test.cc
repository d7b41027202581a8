// SPDX-License-Identifier: Apache-2.0
// Products that take columns of large inputs in 16 bits: by the definition, on every tier, and at the ends of what can be.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "codecllm/error.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"

namespace codecllm {
namespace {

constexpr float kThreshold = 6;

struct Case {
  int64_t rows, columns, batch;
  std::vector<int8_t> codes;   // [rows, columns]
  std::vector<float> scales;   // [rows]
  std::vector<float> x;        // [batch, stride]
  int64_t stride() const { return round_up(columns, kColumnPadding); }
};

// Inputs of magnitude below 5, and in every ninth column of some rows of 10 to 100.
Case draw(int64_t rows, int64_t columns, int64_t batch, Rng& rng) {
  Case c = {rows, columns, batch, {}, {}, {}};
  for (int64_t i = 0; i < rows * columns; ++i) c.codes.push_back(static_cast<int8_t>(static_cast<int64_t>(rng.below(255)) - 127));
  for (int64_t i = 0; i < rows; ++i) c.scales.push_back(static_cast<float>(0.01 + rng.uniform()));
  c.x.assign(static_cast<size_t>(batch * c.stride()), 0.0f);
  for (int64_t m = 0; m < batch; ++m)
    for (int64_t k = 0; k < columns; ++k) {
      const bool large = k % 9 == 4 && rng.below(3) == 0;
      c.x[m * c.stride() + k] = static_cast<float>((rng.uniform() - 0.5) * (large ? 180 : 9.9));
      if (large) c.x[m * c.stride() + k] += c.x[m * c.stride() + k] < 0 ? -10.0f : 10.0f;
    }
  return c;
}

Matrix matrix_of(const Case& c) {
  Matrix w(Element::u8, c.rows, c.columns, c.columns, ScaleType::f32);
  for (int64_t panel = 0; panel < w.view().panels(); ++panel) {
    std::vector<const int8_t*> lines;
    for (int64_t i = panel * kPanelRows; i < std::min(c.rows, (panel + 1) * kPanelRows); ++i) lines.push_back(&c.codes[i * c.columns]);
    w.set_panel(panel, Matrix::CodeRows(lines));
  }
  for (int64_t n = 0; n < c.rows; ++n) w.set_scale(n, 0, c.scales[n]);
  return w;
}

std::vector<int32_t> large_columns(const Case& c) {
  std::vector<int32_t> columns;
  for (int64_t k = 0; k < c.columns; ++k) {
    float top = 0;
    for (int64_t m = 0; m < c.batch; ++m) top = std::max(top, std::fabs(c.x[m * c.stride() + k]));
    if (top >= kThreshold) columns.push_back(static_cast<int32_t>(k));
  }
  return columns;
}

std::vector<float> product(Isa isa, const Matrix& w, const Case& c, int threads = 2) {
  ThreadPool pool(threads);
  LinearScratch scratch;
  std::vector<float> y(static_cast<size_t>(c.batch * c.rows), -1.0f);
  const LinearOut out = {&w.view(), y.data(), c.rows};
  linear(pool, kernels_for(isa), scratch, c.x.data(), c.stride(), c.batch, {&out, 1});
  return y;
}

// The definition in double: INT8 with one scale per row without the columns, and these as they are.
void expect_definition(const std::vector<float>& got, const Case& c, const std::vector<int32_t>& columns, const std::vector<float>& outlier_weight) {
  std::vector<bool> taken(static_cast<size_t>(c.columns));
  for (const int32_t k : columns) taken[k] = true;
  for (int64_t m = 0; m < c.batch; ++m) {
    const float* x = &c.x[m * c.stride()];
    float rest = 0, largest = 0;
    for (int64_t k = 0; k < c.columns; ++k) (taken[k] ? largest : rest) = std::max(taken[k] ? largest : rest, std::fabs(x[k]));
    for (int64_t n = 0; n < c.rows; ++n) {
      double bytes = 0, words = 0, weights = 0;
      for (int64_t k = 0; k < c.columns; ++k)
        if (!taken[k] && rest > 0) bytes += c.codes[n * c.columns + k] * static_cast<double>(std::nearbyint(x[k] * (127.0f / rest)));
      bytes *= static_cast<double>(rest) / 127 * c.scales[n];
      for (size_t i = 0; i < columns.size(); ++i) {
        const double w = outlier_weight[static_cast<size_t>(n) * columns.size() + i];
        words += x[columns[i]] * w;
        weights += std::fabs(w);
      }
      // Half a step of 16-bit inputs for every weight, and a few roundings of f32.
      const double bound = 0.5 * largest / kActivationLimit * weights * 1.001 + (std::fabs(bytes) + largest * weights) * 0x1p-21;
      ASSERT_NEAR(got[m * c.rows + n], bytes + words, bound) << "row " << m << ", output " << n;
    }
  }
}

class OutlierTier : public ::testing::TestWithParam<Isa> {};

TEST_P(OutlierTier, ProductsAreTheDefinitionAndTheSameBits) {
  Rng rng(1);
  const int64_t shapes[][3] = {{16, 64, 1}, {17, 33, 2}, {48, 172, 5}, {100, 96, 7}, {33, 1000, 13}};
  for (const auto& [rows, columns, batch] : shapes) {
    const Case c = draw(rows, columns, batch, rng);
    const std::vector<int32_t> large = large_columns(c);
    std::vector<float> weight;
    for (int64_t n = 0; n < rows; ++n)
      for (const int32_t k : large) weight.push_back(c.scales[n] * static_cast<float>(c.codes[n * columns + k]));
    Matrix found = matrix_of(c);
    found.set_activation({.mode = ActivationMode::a8_token, .threshold = kThreshold});
    const auto got = product(GetParam(), found, c);
    expect_definition(got, c, large, weight);
    EXPECT_EQ(got, product(Isa::reference, found, c, 1));
    EXPECT_EQ(got, product(GetParam(), found, c, 1));
    if (large.empty()) continue;

    // Held in floating point: other weights than the codes say, whose columns count as 0.
    Case held = c;
    for (float& w : weight) w += static_cast<float>(rng.normal());
    for (int64_t n = 0; n < rows; ++n)
      for (const int32_t k : large) held.codes[n * columns + k] = 0;
    Matrix stored = matrix_of(held), floats(Element::f32, rows, static_cast<int64_t>(large.size()), static_cast<int64_t>(large.size()), ScaleType::f32);
    for (int64_t panel = 0; panel < floats.view().panels(); ++panel) {
      std::vector<const void*> lines;
      for (int64_t i = panel * kPanelRows; i < std::min(rows, (panel + 1) * kPanelRows); ++i) lines.push_back(&weight[static_cast<size_t>(i) * large.size()]);
      floats.set_panel(panel, Matrix::FloatRows(lines), DType::f32);
    }
    stored.set_outliers(large, std::move(floats));
    stored.set_activation({.mode = ActivationMode::a8_token});
    expect_definition(product(GetParam(), stored, held), held, large, weight);
    std::vector<float> row(static_cast<size_t>(columns));
    for (int64_t n = 0; n < rows; ++n) {
      read_row(stored.view(), n, row.data());
      for (size_t i = 0; i < large.size(); ++i) ASSERT_EQ(row[large[i]], weight[static_cast<size_t>(n) * large.size() + i]);
    }
  }
}

// Without large inputs it is the INT8 product, and with nothing else the one of 16-bit inputs, bit for bit.
TEST_P(OutlierTier, AtTheEndsItIsOneProductOrTheOther) {
  Rng rng(2);
  Case c = draw(40, 72, 3, rng);
  for (const bool large : {false, true}) {
    for (int64_t m = 0; m < c.batch; ++m)
      for (int64_t k = 0; k < c.columns; ++k) c.x[m * c.stride() + k] = static_cast<float>((large ? 6.0 : 0.0) + 5 * rng.uniform());
    Matrix mixed = matrix_of(c), plain = matrix_of(c);
    mixed.set_activation({.mode = ActivationMode::a8_token, .threshold = kThreshold});
    plain.set_activation({.mode = large ? ActivationMode::a16 : ActivationMode::a8_token});
    EXPECT_EQ(product(GetParam(), mixed, c), product(GetParam(), plain, c)) << large;
  }
}

TEST_P(OutlierTier, NotANumberStaysSo) {
  Rng rng(3);
  Case c = draw(20, 40, 2, rng);
  Matrix w = matrix_of(c);
  w.set_activation({.mode = ActivationMode::a8_token, .threshold = kThreshold});
  for (const float bad : {NAN, INFINITY}) {
    c.x[c.stride() + 3] = bad;
    const auto y = product(GetParam(), w, c);
    for (int64_t n = 0; n < c.rows; ++n) {
      EXPECT_TRUE(std::isfinite(y[n]));
      EXPECT_TRUE(std::isnan(y[c.rows + n]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, OutlierTier, ::testing::ValuesIn(available_isas()), [](const auto& isa) { return std::string(isa_name(isa.param)); });

TEST(OutlierColumns, WhatDoesNotFitIsRefused) {
  Rng rng(4);
  const Case c = draw(16, 64, 1, rng);
  const auto hold = [&](std::vector<int32_t> columns, int64_t rows, int64_t count) {
    Matrix w = matrix_of(c);
    w.set_outliers(std::move(columns), Matrix(Element::bf16, rows, count, count, ScaleType::f32));
  };
  EXPECT_NO_THROW(hold({0, 63}, 16, 2));
  EXPECT_THROW(hold({63, 0}, 16, 2), Error);
  EXPECT_THROW(hold({0, 0}, 16, 2), Error);
  EXPECT_THROW(hold({0, 64}, 16, 2), Error);
  EXPECT_THROW(hold({-1, 0}, 16, 2), Error);
  EXPECT_THROW(hold({0}, 16, 2), Error);
  EXPECT_THROW(hold({0, 1}, 15, 2), Error);
  Matrix grouped(Element::u8, 16, 64, 32, ScaleType::f32);
  Matrix whole(Element::u8, 16, 256, 256, ScaleType::f32);
  EXPECT_THROW(whole.set_activation({.mode = ActivationMode::a8_tensor, .threshold = kThreshold}), Error);
  EXPECT_THROW(grouped.set_activation({.mode = ActivationMode::a8_token, .threshold = kThreshold}), Error);
}

}  // namespace
}  // namespace codecllm
