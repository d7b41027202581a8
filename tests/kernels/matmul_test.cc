// SPDX-License-Identifier: Apache-2.0
// Every tier against the reference: integer products bit for bit, floating point within what rounding allows.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "codecllm/error.h"
#include "format/float16.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"
#include "tiers.h"
#include "paths.h"

namespace codecllm {
namespace {

struct Shape {
  int64_t rows, columns, batch;
};

const Shape kShapes[] = {{1, 1, 1},    {16, 64, 1},   {17, 33, 2},  {48, 172, 3},    {100, 96, 7},    {64, 256, 1},
                         {33, 1000, 5}, {80, 513, 13}, {50, 2048, 3}, {40, 384, 12}, {50, 128, 11}, {34, 96, 30}};

Matrix random_matrix(Element element, const Shape& shape, int64_t group, ScaleType scale_type, Rng& rng) {
  Matrix w(element, shape.rows, shape.columns, group, scale_type);
  for (int64_t panel = 0; panel < w.view().panels(); ++panel) {
    std::vector<std::vector<float>> values;
    std::vector<std::vector<int8_t>> codes;
    const int64_t count = std::min(kPanelRows, shape.rows - panel * kPanelRows);
    const int limit = element == Element::u4 ? 8 : 128;
    for (int64_t i = 0; i < count; ++i) {
      values.emplace_back();
      codes.emplace_back();
      for (int64_t k = 0; k < shape.columns; ++k) {
        values.back().push_back(static_cast<float>(rng.normal()));
        codes.back().push_back(static_cast<int8_t>(static_cast<int64_t>(rng.below(2 * limit)) - limit));
      }
    }
    std::vector<const void*> float_rows;
    std::vector<const int8_t*> code_rows;
    for (auto& row : values) float_rows.push_back(row.data());
    for (auto& row : codes) code_rows.push_back(row.data());
    if (is_integer(element)) {
      w.set_panel(panel, code_rows);
    } else {
      w.set_panel(panel, float_rows, DType::f32);
    }
  }
  if (is_integer(element))
    for (int64_t n = 0; n < shape.rows; ++n)
      for (int64_t g = 0; g < w.view().groups(); ++g)
        w.set_scale(n, g, static_cast<float>(rng.uniform() + 0.1) * (rng.below(8) == 0 ? -1.0f : 1.0f));
  return w;
}

void add_random_zeros(Matrix& w, Rng& rng) {
  w.add_zeros();
  const int offset = traits(w.view().element).offset, choices = offset == 8 ? 17 : 256;
  for (int64_t n = 0; n < w.rows(); ++n)
    for (int64_t g = 0; g < w.view().groups(); ++g) w.set_zero(n, g, static_cast<int>(rng.below(choices)) - offset);
}

std::vector<float> random_rows(const Shape& shape, int64_t stride, Rng& rng) {
  std::vector<float> x(shape.batch * stride, 0.0f);
  for (int64_t m = 0; m < shape.batch; ++m)
    for (int64_t k = 0; k < shape.columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal() * (k % 37 == 0 ? 30 : 1));
  return x;
}

std::vector<float> product(Isa isa, const Matrix& w, const std::vector<float>& x, int64_t stride, int64_t batch, int threads) {
  ThreadPool pool(threads);
  LinearScratch scratch;
  std::vector<float> y(batch * w.rows(), -1.0f);
  const LinearOut out = {&w.view(), y.data(), w.rows()};
  linear(pool, kernels_for(isa), scratch, x.data(), stride, batch, {&out, 1});
  return y;
}

class Tier : public ::testing::TestWithParam<Isa> {};

constexpr ActivationScheme kSchemes[] = {{},
                                         {.mode = ActivationMode::a8_token},
                                         {.mode = ActivationMode::a8_tensor},
                                         {.mode = ActivationMode::a8_fixed, .scale = 0.05f},
                                         {.mode = ActivationMode::a8_token, .asymmetric = true},
                                         {.mode = ActivationMode::a8_fixed, .scale = 0.05f, .asymmetric = true, .zero = -101}};

TEST_P(Tier, IntegerProductsAreTheSameBits) {
  if (test::kSanitized && GetParam() == Isa::reference) GTEST_SKIP() << "the tests of the other tiers run it beside them";
  Rng rng(1);
  int next = 0;  // scale type
  for (const Shape& shape : kShapes) {
    for (Element element : {Element::u8, Element::u4}) {
      for (int64_t group : {shape.columns, int64_t{32}, int64_t{128}}) {
        if (group != shape.columns && (shape.columns <= group || shape.columns % group != 0)) continue;
        const auto type = static_cast<ScaleType>(next++ % 3);
        Matrix w = random_matrix(element, shape, group, type, rng);
        if (rng.below(2) == 0) add_random_zeros(w, rng);
        const int64_t stride = round_up(shape.columns, kColumnPadding);
        const std::vector<float> x = random_rows(shape, stride, rng);
        for (const ActivationScheme& scheme : kSchemes) {
          w.set_activation(scheme);
          const auto expected = product(Isa::reference, w, x, stride, shape.batch, 1);
          EXPECT_EQ(product(GetParam(), w, x, stride, shape.batch, 2), expected)
              << shape.rows << "x" << shape.columns << " batch " << shape.batch << " group " << group << " mode "
              << static_cast<int>(scheme.mode);
        }
      }
    }
  }
}

TEST_P(Tier, IntegerProductsReachTheLargestSums) {
  Rng rng(2);
  const Shape shape = {16, kMaxIntColumns, 1};
  for (int zero : {0, -128, 127}) {
    Matrix w(Element::u8, shape.rows, shape.columns, shape.columns, ScaleType::f32);
    std::vector<int8_t> low(shape.columns, -128), high(shape.columns, 127);
    std::vector<const int8_t*> rows(16, low.data());
    for (int i = 0; i < 8; ++i) rows[i] = high.data();
    w.set_panel(0, rows);
    for (int i = 0; i < 16; ++i) w.set_scale(i, 0, 1.0f);
    if (zero != 0) w.add_zeros();
    for (int i = 0; i < 16 && zero != 0; ++i) w.set_zero(i, 0, zero);
    for (int i = 0; i < 4; ++i) {
      w.set_activation({.mode = i < 2 ? ActivationMode::a16 : ActivationMode::a8_token});
      const float value = i % 2 == 0 ? 1.0f : -1.0f;
      const std::vector<float> x(shape.columns, value);
      const auto expected = product(Isa::reference, w, x, shape.columns, 1, 1);
      EXPECT_NEAR(expected[0], (127.0 - zero) * value * shape.columns, 1.0);
      EXPECT_NEAR(expected[15], (-128.0 - zero) * value * shape.columns, 1.0);
      EXPECT_EQ(product(GetParam(), w, x, shape.columns, 1, 1), expected);
    }
  }
}

// Columns held in the order of their groups give the products of the same weight held in its own order.
TEST_P(Tier, ColumnsInAnotherOrderGiveTheSameProducts) {
  Rng rng(7);
  const Shape shape = {37, 192, 5};
  std::vector<int32_t> order(shape.columns);
  for (int32_t k = 0; k < shape.columns; ++k) order[k] = k * 35 % 192;
  for (Element element : {Element::u8, Element::u4}) {
    Matrix plain(element, shape.rows, shape.columns, 64, ScaleType::f32), ordered(element, shape.rows, shape.columns, 64, ScaleType::f32);
    ordered.set_order(order);
    std::vector<std::vector<int8_t>> codes(shape.rows, std::vector<int8_t>(shape.columns)), moved = codes;
    for (int64_t n = 0; n < shape.rows; ++n)
      for (int64_t k = 0; k < shape.columns; ++k) codes[n][k] = static_cast<int8_t>(rng.below(16)) - 8;
    for (int64_t n = 0; n < shape.rows; ++n)
      for (int64_t k = 0; k < shape.columns; ++k) moved[n][k] = codes[n][order[k]];
    for (int64_t panel = 0; panel < 3; ++panel) {
      std::vector<const int8_t*> a, b;
      for (int64_t n = panel * kPanelRows; n < std::min(shape.rows, (panel + 1) * kPanelRows); ++n)
        a.push_back(moved[n].data()), b.push_back(codes[n].data());
      plain.set_panel(panel, a);
      ordered.set_panel(panel, b);
    }
    for (int64_t n = 0; n < shape.rows; ++n)
      for (int64_t g = 0; g < 3; ++g) {
        const auto scale = static_cast<float>(rng.uniform() + 0.1);
        plain.set_scale(n, g, scale);
        ordered.set_scale(n, g, scale);
      }
    const std::vector<float> x = random_rows(shape, shape.columns, rng);
    std::vector<float> gathered(x.size());
    for (int64_t m = 0; m < shape.batch; ++m)
      for (int64_t k = 0; k < shape.columns; ++k) gathered[m * shape.columns + k] = x[m * shape.columns + order[k]];
    EXPECT_EQ(product(GetParam(), ordered, x, shape.columns, shape.batch, 2),
              product(GetParam(), plain, gathered, shape.columns, shape.batch, 1));
  }
}

// INT8 activations: at most half a step for each weight, and what a given scale cuts off.
TEST_P(Tier, ByteProductsAreCloseToRealOnes) {
  Rng rng(7);
  for (const Shape& shape : kShapes) {
    Matrix w = random_matrix(Element::u4, shape, shape.columns, ScaleType::f32, rng);
    const int64_t stride = round_up(shape.columns, kColumnPadding);
    const std::vector<float> x = random_rows(shape, stride, rng);
    float all = 0;
    for (float v : x) all = std::max(all, std::fabs(v));
    for (const ActivationScheme& scheme : kSchemes) {
      if (scheme.mode == ActivationMode::a16 || scheme.asymmetric) continue;  // asymmetric_test.cc
      w.set_activation(scheme);
      const auto y = product(GetParam(), w, x, stride, shape.batch, 1);
      std::vector<float> row(shape.columns);
      for (int64_t n = 0; n < shape.rows; ++n) {
        read_row(w.view(), n, row.data());
        for (int64_t m = 0; m < shape.batch; ++m) {
          const float* values = &x[m * stride];
          float largest = 0;
          for (int64_t k = 0; k < shape.columns; ++k) largest = std::max(largest, std::fabs(values[k]));
          const double step = scheme.mode == ActivationMode::a8_token ? largest / 127 : scheme.mode == ActivationMode::a8_tensor ? all / 127 : scheme.scale;
          double exact = 0, bound = 0;
          for (int64_t k = 0; k < shape.columns; ++k) {
            exact += static_cast<double>(row[k]) * values[k];
            bound += std::fabs(row[k]) * (0.5 * step * 1.0001 + std::max(0.0, std::fabs(values[k]) - 127 * step));
            bound += std::fabs(row[k] * values[k]) * 0x1p-20;
          }
          EXPECT_NEAR(y[m * shape.rows + n], exact, bound);
        }
      }
    }
  }
}

TEST(ActivationScale, MustBePositiveAndFinite) {
  Matrix w(Element::u8, 16, 16, 16, ScaleType::f32);
  for (float bad : {0.0f, -1.0f, NAN, INFINITY, 1e-40f})
    EXPECT_THROW(w.set_activation({.mode = ActivationMode::a8_fixed, .scale = bad}), Error);
}

// The integer product differs from the real one only by the activations' rounding: at most half a step of 1/32512 of
// the row's largest value for each weight.
TEST_P(Tier, IntegerProductsAreCloseToRealOnes) {
  Rng rng(3);
  for (const Shape& shape : kShapes) {
    Matrix w = random_matrix(Element::u8, shape, shape.columns, ScaleType::f32, rng);
    if (shape.batch > 1) add_random_zeros(w, rng);
    const int64_t stride = round_up(shape.columns, kColumnPadding);
    const std::vector<float> x = random_rows(shape, stride, rng);
    const auto y = product(GetParam(), w, x, stride, shape.batch, 1);
    std::vector<float> row(shape.columns);
    for (int64_t n = 0; n < shape.rows; ++n) {
      read_row(w.view(), n, row.data());
      for (int64_t m = 0; m < shape.batch; ++m) {
        double exact = 0, weights = 0, largest = 0, magnitude = 0;
        for (int64_t k = 0; k < shape.columns; ++k) {
          const double v = x[m * stride + k];
          exact += row[k] * v;
          weights += std::fabs(row[k]);
          magnitude += std::fabs(row[k] * v);
          largest = std::max(largest, std::fabs(v));
        }
        EXPECT_NEAR(y[m * shape.rows + n], exact, 0.5 * largest / kActivationLimit * weights * 1.01 + magnitude * 0x1p-20);
      }
    }
  }
}

TEST_P(Tier, PairsAreTheRowsInBf16) {
  const auto put_pairs = kernels_for(GetParam()).put_pairs;
  if (put_pairs == nullptr) GTEST_SKIP() << "this tier multiplies floats";
  Rng rng(9);
  for (const int64_t columns : {1, 2, 3, 31, 32, 33, 47, 64, 201})
    for (const int64_t rows : {1, 2, 6, 12}) {
      const int64_t stride = columns + 3, words = (columns + 1) / 2;
      std::vector<float> x(static_cast<size_t>(rows * stride), NAN), tile(static_cast<size_t>(words * rows) + 1, 7.0f);
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t k = 0; k < columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal() * std::exp2(rng.below(60)));
      put_pairs(x.data(), stride, rows, columns, tile.data());
      for (int64_t m = 0; m < rows; ++m)
        for (int64_t k = 0; k < 2 * words; ++k) {
          const auto word = std::bit_cast<uint32_t>(tile[k / 2 * rows + m]);
          EXPECT_EQ(k % 2 == 0 ? word & 0xFFFF : word >> 16, k < columns ? f32_to_bf16(x[m * stride + k]) : 0) << columns << " " << m << " " << k;
        }
      EXPECT_EQ(tile.back(), 7.0f);
    }
}

TEST_P(Tier, FloatProductsAgreeWithinRounding) {
  Rng rng(4);
  for (const Shape& shape : kShapes) {
    for (Element element : {Element::f32, Element::f16, Element::bf16}) {
      const Matrix w = random_matrix(element, shape, shape.columns, ScaleType::f32, rng);
      const int64_t stride = round_up(shape.columns, kColumnPadding);
      std::vector<float> x = random_rows(shape, stride, rng);
      const auto got = product(GetParam(), w, x, stride, shape.batch, 2);
      if (element == Element::bf16 && test::rounds_to_bf16(GetParam()))
        for (float& v : x) v = bf16_to_f32(f32_to_bf16(v));
      const auto expected = product(Isa::reference, w, x, stride, shape.batch, 1);
      std::vector<float> row(shape.columns);
      for (int64_t n = 0; n < shape.rows; ++n) {
        read_row(w.view(), n, row.data());
        for (int64_t m = 0; m < shape.batch; ++m) {
          double magnitude = 0;
          for (int64_t k = 0; k < shape.columns; ++k) magnitude += std::fabs(row[k] * x[m * stride + k]);
          const double bound = magnitude * static_cast<double>(shape.columns / 2 + 2) * 0x1p-24;
          EXPECT_NEAR(got[m * shape.rows + n], expected[m * shape.rows + n], bound);
        }
      }
    }
  }
}

// A row's product does not depend on its neighbours in the batch, nor on the number of threads.
TEST_P(Tier, BatchAndThreadsDoNotChangeARow) {
  Rng rng(5);
  const Shape shape = {130, 300, 11};
  constexpr auto a16 = ActivationMode::a16, a8 = ActivationMode::a8_token;
  for (const auto& [element, mode] : {std::pair{Element::f32, a16}, {Element::f16, a16}, {Element::bf16, a16},
                                      {Element::u8, a16}, {Element::u4, a16}, {Element::u8, a8}, {Element::u4, a8}}) {
    Matrix w = random_matrix(element, shape, shape.columns, ScaleType::f32, rng);
    w.set_activation({.mode = mode});
    const int64_t stride = round_up(shape.columns, kColumnPadding);
    const std::vector<float> x = random_rows(shape, stride, rng);
    const auto together = product(GetParam(), w, x, stride, shape.batch, 1);
    EXPECT_EQ(product(GetParam(), w, x, stride, shape.batch, 4), together);
    for (int64_t m = 0; m < shape.batch; ++m) {
      const std::vector<float> one(x.begin() + m * stride, x.begin() + (m + 1) * stride);
      const auto alone = product(GetParam(), w, one, stride, 1, 1);
      EXPECT_EQ(alone, std::vector<float>(together.begin() + m * shape.rows, together.begin() + (m + 1) * shape.rows));
    }
  }
}

TEST_P(Tier, NotFiniteActivationsGiveNotFiniteProducts) {
  Rng rng(6);
  const Shape shape = {20, 48, 3};
  Matrix w = random_matrix(Element::u8, shape, shape.columns, ScaleType::f32, rng);
  std::vector<float> x = random_rows(shape, shape.columns, rng);
  x[5] = NAN;
  x[2 * shape.columns + 47] = -INFINITY;
  for (const ActivationScheme& scheme : kSchemes) {
    w.set_activation(scheme);
    const auto y = product(GetParam(), w, x, shape.columns, shape.batch, 1);
    for (int64_t n = 0; n < shape.rows; ++n) {
      EXPECT_TRUE(std::isnan(y[n]));
      EXPECT_TRUE(std::isfinite(y[shape.rows + n]));
      EXPECT_TRUE(std::isnan(y[2 * shape.rows + n]));
    }
    const std::vector<float> nothing(shape.columns * 3, 0.0f);
    for (float v : product(GetParam(), w, nothing, shape.columns, 3, 1)) EXPECT_EQ(v, 0.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(, Tier, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
