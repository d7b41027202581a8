// SPDX-License-Identifier: Apache-2.0
// 8-bit float weights and activations: every code in every place, every tier against the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "codecllm/error.h"
#include "format/float16.h"
#include "format/float8.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"
#include "tiers.h"

namespace codecllm {
namespace {

constexpr Element kFloat8[] = {Element::e4m3, Element::e5m2};
constexpr ActivationMode kModes[] = {ActivationMode::a16, ActivationMode::a8_token, ActivationMode::a8_tensor,
                                     ActivationMode::a8_fixed, ActivationMode::a8_group};

const Float8& format_of(Element element) { return element == Element::e4m3 ? kE4m3 : kE5m2; }

Matrix float8_matrix(Element element, int64_t rows, int64_t columns, int64_t group, ScaleType type, Rng& rng) {
  Matrix w(element, rows, columns, group, type);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t g = 0; g < w.view().groups(); ++g) w.set_scale(n, g, static_cast<float>(rng.uniform() + 0.1) * 0x1p-8f);
  for (int64_t panel = 0; panel < w.view().panels(); ++panel) {
    std::vector<std::vector<int8_t>> codes(std::min(kPanelRows, rows - panel * kPanelRows));
    std::vector<const int8_t*> lines;
    for (auto& row : codes) {
      for (int64_t k = 0; k < columns; ++k)
        row.push_back(static_cast<int8_t>(f32_to_float8(static_cast<float>(rng.normal() * std::exp(4 * rng.normal())), format_of(element))));
      lines.push_back(row.data());
    }
    w.set_panel(panel, lines);
  }
  return w;
}

std::vector<float> float8_product(Isa isa, const Matrix& w, const std::vector<float>& x, int64_t batch, int threads) {
  ThreadPool pool(threads);
  LinearScratch scratch;
  std::vector<float> y(batch * w.rows(), -1.0f);
  const LinearOut out = {&w.view(), y.data(), w.rows()};
  linear(pool, kernels_for(isa), scratch, x.data(), round_up(w.columns(), kColumnPadding), batch, {&out, 1});
  return y;
}

std::vector<float> inputs_of(int64_t columns, int64_t batch, Rng& rng) {
  const int64_t stride = round_up(columns, kColumnPadding);
  std::vector<float> x(batch * stride, 0.0f);
  for (int64_t m = 0; m < batch; ++m)
    for (int64_t k = 0; k < columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal() * (k % 37 == 0 ? 30 : 1));
  return x;
}

// The formula, in double, of activations rounded as the scheme says, and to BF16 where the tier does.
double exact_product(Isa isa, const MatrixView& w, int64_t row, const float* x, float tensor_scale, double* magnitude) {
  const Float8& f = format_of(w.element);
  std::vector<float> weights(w.columns);
  read_row(w, row, weights.data());
  const ActivationMode mode = w.activation.mode;
  const int64_t group = mode == ActivationMode::a8_group ? w.group : w.columns;
  double total = 0;
  *magnitude = 0;
  for (int64_t begin = 0; begin < w.columns; begin += group) {
    const int64_t end = std::min(w.columns, begin + group);
    float amax = 0;
    for (int64_t k = begin; k < end; ++k) amax = std::fmax(amax, std::fabs(x[k]));
    const float scale = mode == ActivationMode::a8_fixed ? w.activation.scale : mode == ActivationMode::a8_tensor ? tensor_scale : amax / f.largest;
    for (int64_t k = begin; k < end; ++k) {
      const float own = test::rounds_to_bf16(isa) ? bf16_to_f32(f32_to_bf16(x[k])) : x[k];
      const double value = mode == ActivationMode::a16 ? own : static_cast<double>(float8_to_f32(f32_to_float8(x[k] / scale, f), f)) * scale;
      total += value * weights[k];
      *magnitude += std::fabs(value * weights[k]);
    }
  }
  return total;
}

class Float8Tier : public ::testing::TestWithParam<Isa> {};

TEST_P(Float8Tier, ProductsAreWhatTheFormulaGives) {
  Rng rng(1);
  const int64_t shapes[][3] = {{1, 1, 1}, {16, 64, 1}, {17, 33, 2}, {48, 172, 3}, {33, 520, 5}, {48, 297, 13}, {40, 384, 9}};
  for (const auto& [rows, columns, batch] : shapes)
    for (Element element : kFloat8)
      for (int64_t group : {columns, int64_t{128}})
        for (ActivationMode mode : kModes) {
          if (group > columns) continue;
          Matrix w = float8_matrix(element, rows, columns, group, static_cast<ScaleType>(rng.below(3)), rng);
          w.set_activation({mode, mode == ActivationMode::a8_fixed ? 0.05f : 0.0f});
          const std::vector<float> x = inputs_of(columns, batch, rng);
          const int64_t stride = round_up(columns, kColumnPadding);
          float largest = 0;
          for (float v : x) largest = std::fmax(largest, std::fabs(v));
          const auto y = float8_product(GetParam(), w, x, batch, 2);
          for (int64_t m = 0; m < batch; ++m)
            for (int64_t n = 0; n < rows; ++n) {
              double magnitude = 0;
              const double exact = exact_product(GetParam(), w.view(), n, &x[m * stride], largest / format_of(element).largest, &magnitude);
              // One rounding for every term of half a row, and for the two scales, their product and the sums of groups.
              const double bound = magnitude * static_cast<double>(columns / 2 + 8 + columns / group) * 0x1p-24 + 1e-30;
              ASSERT_NEAR(y[m * rows + n], exact, bound) << rows << "x" << columns << " mode " << static_cast<int>(mode);
            }
        }
}

TEST_P(Float8Tier, RoundedActivationsAreTheSameBits) {
  Rng rng(2);
  for (Element element : kFloat8)
    for (int64_t columns : {1, 15, 64, 200, 333})
      for (int64_t group : {columns, int64_t{128}})
        for (float given : {0.0f, 0.02f}) {
          if (group > columns) continue;
          std::vector<float> x(columns);
          for (float& v : x) v = static_cast<float>(rng.normal() * std::exp(6 * rng.normal()));
          const int64_t stride = round_up(columns, kColumnPadding), groups = (columns + group - 1) / group;
          const auto run = [&](Isa isa) {
            std::vector<float> out(stride, -1), scales(groups, -1);
            kernels_for(isa).round_row_float8(x.data(), columns, group, element, given, out.data(), scales.data());
            out.insert(out.end(), scales.begin(), scales.end());
            return out;
          };
          EXPECT_EQ(run(GetParam()), run(Isa::reference)) << columns;
        }
}

TEST_P(Float8Tier, BatchAndThreadsDoNotChangeARow) {
  Rng rng(3);
  for (Element element : kFloat8)
    for (int64_t group : {300, 128}) {
      Matrix w = float8_matrix(element, 130, 300, group, ScaleType::bf16, rng);
      w.set_activation({group == 128 ? ActivationMode::a8_group : ActivationMode::a8_token});
      const std::vector<float> x = inputs_of(300, 11, rng);
      const auto together = float8_product(GetParam(), w, x, 11, 1);
      EXPECT_EQ(float8_product(GetParam(), w, x, 11, 4), together);
      for (int64_t m = 0; m < 11; ++m) {
        const std::vector<float> one(x.begin() + m * 304, x.begin() + (m + 1) * 304);
        EXPECT_EQ(float8_product(GetParam(), w, one, 1, 1),
                  std::vector<float>(together.begin() + m * 130, together.begin() + (m + 1) * 130));
      }
    }
}

// Subnormal codes, zeros of both signs, and what is not finite.
TEST_P(Float8Tier, EveryCodeMultipliesAsItsValue) {
  for (Element element : kFloat8) {
    Matrix w(element, 256, 5, 5, ScaleType::f32);
    std::vector<std::vector<int8_t>> codes(256, std::vector<int8_t>(5, 0));
    for (int64_t n = 0; n < 256; ++n) codes[n][n % 5] = static_cast<int8_t>(n), w.set_scale(n, 0, 1.0f);
    for (int64_t panel = 0; panel < 16; ++panel) {
      std::vector<const int8_t*> lines;
      for (int64_t i = 0; i < 16; ++i) lines.push_back(codes[panel * 16 + i].data());
      w.set_panel(panel, lines);
    }
    const auto y = float8_product(GetParam(), w, {3, 3, 3, 3, 3, 0, 0, 0}, 1, 1);
    std::vector<float> row(5);
    for (int n = 0; n < 256; ++n) {
      const float value = float8_to_f32(static_cast<uint8_t>(n), format_of(element));
      read_row(w.view(), n, row.data());
      if (std::isnan(value)) {
        EXPECT_TRUE(std::isnan(y[n]) && std::isnan(row[n % 5])) << n;
      } else {
        EXPECT_EQ(y[n], 3 * value) << n;
        EXPECT_EQ(row[n % 5], value) << n;
      }
    }
  }
}

TEST_P(Float8Tier, WhatIsNotFiniteIsSeenAndZerosAreZero) {
  Rng rng(4);
  for (Element element : kFloat8)
    for (ActivationMode mode : kModes) {
      Matrix w = float8_matrix(element, 20, 256, 128, ScaleType::f32, rng);
      w.set_activation({mode, mode == ActivationMode::a8_fixed ? 0.05f : 0.0f});
      std::vector<float> x = inputs_of(256, 3, rng);
      x[5] = NAN;
      x[2 * 256 + 200] = -INFINITY;
      const auto y = float8_product(GetParam(), w, x, 3, 1);
      for (int64_t n = 0; n < 20; ++n) {
        EXPECT_FALSE(std::isfinite(y[n]));
        EXPECT_TRUE(std::isfinite(y[20 + n]));
        EXPECT_FALSE(std::isfinite(y[40 + n]));
      }
      for (float v : float8_product(GetParam(), w, std::vector<float>(3 * 256, 0.0f), 3, 1)) EXPECT_EQ(v, 0.0f);
    }
}

INSTANTIATE_TEST_SUITE_P(, Float8Tier, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

TEST(Float8Matrix, RefusesGroupsThatTheKernelsCannotDo) {
  for (Element element : kFloat8) {
    EXPECT_THROW(Matrix(element, 1, 128, 48, ScaleType::f32), Error);
    EXPECT_NO_THROW(Matrix(element, 1, 200, 128, ScaleType::f32));
  }
  Matrix integers(Element::u8, 1, 128, 128, ScaleType::f32);
  EXPECT_THROW(integers.set_activation({ActivationMode::a8_group}), Error);
}

}  // namespace
}  // namespace codecllm
