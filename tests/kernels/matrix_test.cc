// SPDX-License-Identifier: Apache-2.0
// What goes into a matrix comes out of it: every element and source type, with rounding where the types
// differ.
#include "kernels/matrix.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "base/rng.h"
#include "codecllm/error.h"
#include "format/float16.h"

namespace codecllm {
namespace {

struct HalfType {
  int digits;         // of the significand, with the hidden one
  int lowest;         // exponent of the smallest normal number
  double above_most;  // the first power of two that is too large
};
constexpr HalfType kBf16 = {8, -126, 0x1p128}, kF16 = {11, -14, 0x1p16};

// To nearest, ties to even, by the definition of the format.
float rounded(float value, const HalfType& type) {
  if (!std::isfinite(value) || value == 0) return value;
  const double step = std::ldexp(1.0, std::max(std::ilogb(value), type.lowest) - type.digits + 1);
  const double result = std::nearbyint(value / step) * step;
  return static_cast<float>(std::fabs(result) >= type.above_most ? std::copysign(INFINITY, result) : result);
}

float through(Element element, float value) {
  return element == Element::bf16  ? rounded(value, kBf16)
         : element == Element::f16 ? rounded(value, kF16)
                                   : value;
}

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// Fills a matrix from rows of `type` and expects the values, rounded to the element, from read_row.
void expect_round_trip(Element element, DType type, int64_t rows, int64_t columns,
                       const std::vector<float>& values) {
  std::vector<uint8_t> file(rows * columns * 4);
  std::vector<float> stored(values);
  const int64_t size = dtype_bits(type) / 8;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const uint16_t bits = type == DType::bf16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]);
    if (type == DType::f32) {
      std::memcpy(&file[i * 4], &values[i], 4);
    } else {
      std::memcpy(&file[i * 2], &bits, 2);
      stored[i] = type == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
    }
  }
  Matrix w(element, rows, columns, columns, ScaleType::f32);
  for (int64_t panel = 0; panel < w.view().panels(); ++panel) {
    std::vector<const void*> lines;
    for (int64_t n = panel * kPanelRows; n < std::min(rows, (panel + 1) * kPanelRows); ++n)
      lines.push_back(&file[n * columns * size]);
    w.set_panel(panel, lines, type);
  }
  std::vector<float> row(columns + 1, -7.0f);
  for (int64_t n = 0; n < rows; ++n) {
    read_row(w.view(), n, row.data());
    for (int64_t k = 0; k < columns; ++k)
      ASSERT_TRUE(same(row[k], through(element, stored[n * columns + k])))
          << stored[n * columns + k] << " came out as " << row[k] << " of " << rows << "x" << columns;
    ASSERT_EQ(row[columns], -7.0f);
  }
}

TEST(Matrix, EveryElementFromEveryTypeInOddShapes) {
  Rng rng(41);
  const int64_t shapes[][2] = {{1, 1}, {16, 8}, {17, 33}, {3, 172}, {31, 7}, {48, 2}, {100, 65}};
  for (const auto& [rows, columns] : shapes) {
    std::vector<float> values(rows * columns);
    for (float& v : values) v = static_cast<float>(rng.normal() * std::exp2(20 * rng.normal()));
    for (Element element : {Element::f32, Element::f16, Element::bf16})
      for (DType type : {DType::f32, DType::f16, DType::bf16})
        expect_round_trip(element, type, rows, columns, values);
  }
}

TEST(Matrix, RoundsToTheNearestAndTiesToEven) {
  std::vector<float> values = {0.0f,        -0.0f,
                               1.0f,        INFINITY,
                               -INFINITY,   NAN,
                               65504,       65519.996f,
                               65520,       65536,
                               1e-45f,      0x1p-24f,
                               0x1p-25f,    std::nextafterf(0x1p-25f, 1),
                               0x1.8p-24f,  0x1.FFCp-15f,
                               3.4e38f,     0x1.FEp127f,
                               0x1.FFp127f, std::nextafterf(0x1.FFp127f, 0)};
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    // Every value of both types, halfway to the next one, and just above halfway.
    const float f16 = f16_to_f32(static_cast<uint16_t>(bits));
    values.insert(values.end(), {f16, bf16_to_f32(static_cast<uint16_t>(bits))});
    for (uint32_t rest : {0x8000u, 0x8001u, 0x7FFFu})
      values.push_back(std::bit_cast<float>(bits << 16 | rest));
    for (uint32_t rest : {0x1000u, 0x1001u, 0xFFFu})
      values.push_back(std::bit_cast<float>(std::bit_cast<uint32_t>(f16) | rest));
  }
  const int64_t columns = 1003, rows = (static_cast<int64_t>(values.size()) + columns - 1) / columns;
  values.resize(rows * columns);
  for (Element element : {Element::f16, Element::bf16})
    for (DType type : {DType::f32, DType::f16, DType::bf16})
      expect_round_trip(element, type, rows, columns, values);
}

template <class From>
void expect_all_patterns(Element element, DType type, From to_f32) {
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  Matrix w(element, 16, 4096, 4096, ScaleType::f32);
  std::vector<const void*> lines;
  for (int i = 0; i < 16; ++i) lines.push_back(&bits[i * 4096]);
  w.set_panel(0, lines, type);
  std::vector<float> row(4096);
  for (int n = 0; n < 16; ++n) {
    read_row(w.view(), n, row.data());
    for (int k = 0; k < 4096; ++k) ASSERT_TRUE(same(row[k], to_f32(bits[n * 4096 + k]))) << n * 4096 + k;
  }
}

TEST(Matrix, EveryHalfPrecisionPatternSurvives) {
  expect_all_patterns(Element::bf16, DType::bf16, bf16_to_f32);
  expect_all_patterns(Element::f32, DType::bf16, bf16_to_f32);
  expect_all_patterns(Element::f16, DType::f16, f16_to_f32);
  expect_all_patterns(Element::f32, DType::f16, f16_to_f32);
}

}  // namespace
}  // namespace codecllm
