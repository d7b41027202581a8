// SPDX-License-Identifier: Apache-2.0
// INT8 activations with a zero point: by the definition, on every tier.
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

struct Weights {
  Matrix matrix;
  std::vector<float> values;  // [rows, columns]
};

Weights draw(Element element, int64_t rows, int64_t columns, int64_t group, bool zeros, Rng& rng) {
  Weights w = {Matrix(element, rows, columns, group, ScaleType::f32), std::vector<float>(static_cast<size_t>(rows * columns))};
  const int limit = element == Element::u4 ? 8 : 128;
  if (zeros) w.matrix.add_zeros();
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t g = 0; g < w.matrix.view().groups(); ++g) {
      w.matrix.set_scale(n, g, static_cast<float>(0.1 + rng.uniform()));
      if (zeros) w.matrix.set_zero(n, g, static_cast<int>(rng.below(2 * limit)) - limit);
    }
  for (int64_t panel = 0; panel < w.matrix.view().panels(); ++panel) {
    std::vector<std::vector<int8_t>> codes;
    for (int64_t n = panel * kPanelRows; n < std::min(rows, (panel + 1) * kPanelRows); ++n) {
      codes.emplace_back();
      for (int64_t k = 0; k < columns; ++k) codes.back().push_back(static_cast<int8_t>(static_cast<int64_t>(rng.below(2 * limit)) - limit));
    }
    std::vector<const int8_t*> lines;
    for (const auto& row : codes) lines.push_back(row.data());
    w.matrix.set_panel(panel, Matrix::CodeRows(lines));
  }
  for (int64_t n = 0; n < rows; ++n) read_row(w.matrix.view(), n, &w.values[n * columns]);
  return w;
}

std::vector<float> product(Isa isa, const Matrix& w, const std::vector<float>& x, int64_t stride, int64_t batch) {
  ThreadPool pool(2);
  LinearScratch scratch;
  std::vector<float> y(static_cast<size_t>(batch * w.rows()));
  const LinearOut out = {&w.view(), y.data(), w.rows()};
  linear(pool, kernels_for(isa), scratch, x.data(), stride, batch, {&out, 1});
  return y;
}

// What the row's values become.
std::vector<double> rounded_row(const float* x, int64_t columns, float given, int zero) {
  float low = 0, high = 0, scale = given;
  for (int64_t k = 0; k < columns; ++k) low = std::min(low, x[k]), high = std::max(high, x[k]);
  if (given == 0) {
    scale = high / 254 - low / 254;
    zero = static_cast<int>(std::nearbyint(std::clamp(-127 - low / scale, -127.0f, 127.0f)));
  }
  std::vector<double> out;
  for (int64_t k = 0; k < columns; ++k) {
    const int code = std::clamp(static_cast<int>(std::nearbyint(x[k] * (1 / scale))) + zero, -127, 127);
    out.push_back(static_cast<double>(scale) * (code - zero));
  }
  return out;
}

class AsymmetricTier : public ::testing::TestWithParam<Isa> {};

TEST_P(AsymmetricTier, ProductsAreTheDefinition) {
  Rng rng(1);
  struct {
    Element element;
    int64_t rows, columns, group, batch;
  } const cases[] = {{Element::u8, 17, 33, 33, 1}, {Element::u8, 40, 100, 100, 5}, {Element::u4, 33, 64, 32, 13}, {Element::u8, 16, 96, 32, 2}, {Element::u4, 3, 7, 7, 3}};
  for (const auto& c : cases)
    for (const bool zeros : {false, true})
      for (const float given : {0.0f, 0.04f}) {
        Weights w = draw(c.element, c.rows, c.columns, c.group, zeros, rng);
        w.matrix.set_activation({.mode = given > 0 ? ActivationMode::a8_fixed : ActivationMode::a8_token, .scale = given, .asymmetric = true, .zero = given > 0 ? -90 : 0});
        const int64_t stride = round_up(c.columns, kColumnPadding);
        std::vector<float> x(static_cast<size_t>(c.batch * stride));
        for (int64_t m = 0; m < c.batch; ++m)
          for (int64_t k = 0; k < c.columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal() + 1.5 - static_cast<double>(m));
        const auto got = product(GetParam(), w.matrix, x, stride, c.batch);
        for (int64_t m = 0; m < c.batch; ++m) {
          const std::vector<double> row = rounded_row(&x[m * stride], c.columns, given, -90);
          for (int64_t n = 0; n < c.rows; ++n) {
            double exact = 0, size = 0;
            for (int64_t k = 0; k < c.columns; ++k) exact += row[k] * w.values[n * c.columns + k], size += std::fabs(row[k] * w.values[n * c.columns + k]);
            ASSERT_NEAR(got[m * c.rows + n], exact, size * 0x1p-20) << "row " << m << ", output " << n << (zeros ? ", zeros" : "");
          }
        }
      }
}

// A row of one sign keeps a whole byte for its values.
TEST_P(AsymmetricTier, RowsOfOneSignAreTwiceAsClose) {
  Rng rng(2);
  Weights w = draw(Element::u8, 64, 256, 256, false, rng);
  std::vector<float> x(4 * 256);
  for (float& v : x) v = static_cast<float>(rng.uniform());
  const auto noise = [&](const ActivationScheme& scheme) {
    w.matrix.set_activation(scheme);
    const auto y = product(GetParam(), w.matrix, x, 256, 4);
    double sum = 0;
    for (int64_t m = 0; m < 4; ++m)
      for (int64_t n = 0; n < 64; ++n) {
        double exact = 0;
        for (int64_t k = 0; k < 256; ++k) exact += static_cast<double>(x[m * 256 + k]) * w.values[n * 256 + k];
        sum += std::pow(y[m * 64 + n] - exact, 2);
      }
    return sum;
  };
  EXPECT_LT(noise({.mode = ActivationMode::a8_token, .asymmetric = true}), noise({.mode = ActivationMode::a8_token}) / 2);
}

TEST_P(AsymmetricTier, RowsOfZerosAndNotANumber) {
  Rng rng(3);
  Weights w = draw(Element::u8, 20, 40, 40, true, rng);
  w.matrix.set_activation({.mode = ActivationMode::a8_token, .asymmetric = true});
  std::vector<float> x(3 * 40);
  x[40 + 7] = NAN;
  x[80] = 1;
  const auto y = product(GetParam(), w.matrix, x, 40, 3);
  for (int64_t n = 0; n < 20; ++n) {
    EXPECT_EQ(y[n], 0);
    EXPECT_TRUE(std::isnan(y[20 + n]));
    EXPECT_NEAR(y[40 + n], w.values[n * 40], std::fabs(w.values[n * 40]) * 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(, AsymmetricTier, ::testing::ValuesIn(available_isas()), [](const auto& isa) { return std::string(isa_name(isa.param)); });

TEST(AsymmetricActivations, WhatDoesNotFitIsRefused) {
  Matrix w(Element::u8, 4, 64, 64, ScaleType::f32), floats(Element::e4m3, 4, 64, 64, ScaleType::f32);
  EXPECT_THROW(w.set_activation({.mode = ActivationMode::a8_tensor, .asymmetric = true}), Error);
  EXPECT_THROW(w.set_activation({.mode = ActivationMode::a8_fixed, .scale = 1, .asymmetric = true, .zero = -128}), Error);
  EXPECT_THROW(floats.set_activation({.mode = ActivationMode::a8_token, .asymmetric = true}), Error);
}

}  // namespace
}  // namespace codecllm
