// SPDX-License-Identifier: Apache-2.0
// Integer codes and scales of a matrix, and the shapes it refuses.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "codecllm/error.h"
#include "format/float16.h"
#include "kernels/matrix.h"

namespace codecllm {
namespace {

TEST(IntegerMatrix, EveryCodeInEveryPlace) {
  for (Element element : {Element::u8, Element::u4}) {
    const int limit = traits(element).offset, values = 2 * limit;
    for (int64_t columns : {1, 3, 8, 259}) {
      const int64_t rows = values + 3;  // each code comes to each column
      Matrix w(element, rows, columns, columns, ScaleType::f32);
      std::vector<std::vector<int8_t>> codes(rows, std::vector<int8_t>(columns));
      std::vector<const int8_t*> lines;
      for (int64_t n = 0; n < rows; ++n) {
        for (int64_t k = 0; k < columns; ++k) codes[n][k] = static_cast<int8_t>((n + k) % values - limit);
        w.set_scale(n, 0, 0.5f);
        lines.push_back(codes[n].data());
      }
      for (int64_t panel = 0; panel < w.view().panels(); ++panel)
        w.set_panel(panel, Matrix::CodeRows(lines).subspan(panel * kPanelRows,
                                                           std::min(kPanelRows, rows - panel * kPanelRows)));
      std::vector<float> row(columns);
      for (int64_t n = 0; n < rows; ++n) {
        read_row(w.view(), n, row.data());
        for (int64_t k = 0; k < columns; ++k) ASSERT_EQ(row[k], 0.5f * codes[n][k]) << n << ", " << k;
      }
    }
  }
}

TEST(IntegerMatrix, ScalesAreRoundedToTheirTypeAndStayInTheirGroup) {
  for (ScaleType type : {ScaleType::f32, ScaleType::bf16, ScaleType::f16}) {
    const auto stored = [&](float v) {
      return type == ScaleType::f32    ? v
             : type == ScaleType::bf16 ? bf16_to_f32(f32_to_bf16(v))
                                       : f16_to_f32(f32_to_f16(v));
    };
    Matrix w(Element::u4, 19, 100, 32, type);  // four groups, the last of four columns
    ASSERT_EQ(w.view().groups(), 4);
    const std::vector<int8_t> ones(100, 1);
    for (int64_t panel = 0; panel < 2; ++panel)
      w.set_panel(panel, std::vector<const int8_t*>(panel == 0 ? 16 : 3, ones.data()));
    const auto scale = [](int64_t n, int64_t g) {
      return static_cast<float>(n + 1) * (g % 2 ? -0.1f : 1e-6f) / 3.0f;
    };
    for (int64_t n = 0; n < 19; ++n)
      for (int64_t g = 0; g < 4; ++g) w.set_scale(n, g, scale(n, g));
    std::vector<float> row(100);
    for (int64_t n = 0; n < 19; ++n) {
      read_row(w.view(), n, row.data());
      for (int64_t k = 0; k < 100; ++k) ASSERT_EQ(row[k], stored(scale(n, k / 32))) << n << ", " << k;
    }
  }
}

template <class Body>
std::string unsupported(const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::unsupported);
    return e.what();
  }
  return "no error";
}

TEST(IntegerMatrix, ZeroPointsBelongToARowAndGroup) {
  for (Element element : {Element::u8, Element::u4}) {
    const int offset = traits(element).offset, top = element == Element::u4 ? 8 : 127;
    Matrix w(element, 19, 100, 32, ScaleType::f32);
    const std::vector<int8_t> codes(100, -3);
    for (int64_t panel = 0; panel < 2; ++panel)
      w.set_panel(panel, std::vector<const int8_t*>(panel == 0 ? 16 : 3, codes.data()));
    const auto zero = [&](int64_t n, int64_t g) { return static_cast<int>((n * 5 + g * 3) % (top + offset + 1)) - offset; };
    w.add_zeros();
    for (int64_t n = 0; n < 19; ++n)
      for (int64_t g = 0; g < 4; ++g) {
        w.set_scale(n, g, 0.5f);
        if (n != 7) w.set_zero(n, g, zero(n, g));
      }
    std::vector<float> row(100);
    for (int64_t n = 0; n < 19; ++n) {
      read_row(w.view(), n, row.data());
      for (int64_t k = 0; k < 100; ++k) ASSERT_EQ(row[k], 0.5f * (-3 - (n == 7 ? 0 : zero(n, k / 32)))) << n << ", " << k;
    }
    for (int bad : {top + 1, -offset - 1}) EXPECT_THROW(w.set_zero(0, 0, bad), Error) << bad;
  }
}

TEST(IntegerMatrix, ColumnsInAnotherOrderReadBackInTheirOwn) {
  for (Element element : {Element::u8, Element::u4}) {
    Matrix w(element, 3, 96, 32, ScaleType::f32);
    std::vector<int32_t> order(96);
    for (int32_t k = 0; k < 96; ++k) order[k] = k * 35 % 96;  // 35 and 96 share no factor: every column once
    w.set_order(order);
    std::vector<std::vector<int8_t>> codes(3, std::vector<int8_t>(96));
    for (int64_t n = 0; n < 3; ++n)
      for (int64_t k = 0; k < 96; ++k) codes[n][k] = static_cast<int8_t>((n * 7 + k * 5) % 15 - 7);
    const int8_t* rows[] = {codes[0].data(), codes[1].data(), codes[2].data()};
    w.set_panel(0, rows);
    for (int64_t n = 0; n < 3; ++n)
      for (int64_t g = 0; g < 3; ++g) w.set_scale(n, g, static_cast<float>(1 + n * 3 + g));
    std::vector<int64_t> group_of(96);
    for (int64_t k = 0; k < 96; ++k) group_of[order[k]] = k / 32;
    std::vector<float> row(96);
    for (int64_t n = 0; n < 3; ++n) {
      read_row(w.view(), n, row.data());
      for (int64_t k = 0; k < 96; ++k) ASSERT_EQ(row[k], static_cast<float>(codes[n][k] * (1 + n * 3 + group_of[k])));
    }
  }
}

TEST(IntegerMatrix, RefusesWhatTheKernelsCannotDo) {
  const auto make = [](Element element, int64_t columns, int64_t group) {
    return unsupported([&] { Matrix(element, 1, columns, group, ScaleType::f32); });
  };
  for (Element element : {Element::u8, Element::u4}) {
    EXPECT_NE(make(element, kMaxIntColumns + 1, 32).find("65537"), std::string::npos);
    EXPECT_EQ(make(element, kMaxIntColumns, 32), "no error");
    EXPECT_EQ(make(element, 101, 101), "no error");
    for (int64_t group : {0, -32, 1, 16, 33, 48})
      EXPECT_NE(make(element, 128, group).find("groups of " + std::to_string(group)), std::string::npos)
          << group;
  }
  EXPECT_EQ(make(Element::f32, kMaxIntColumns + 1, 7), "no error");
  EXPECT_NE(unsupported([] { element_of(DType::i32); }).find("I32"), std::string::npos);
}

}  // namespace
}  // namespace codecllm
