// SPDX-License-Identifier: Apache-2.0
// Every tier decodes what the plain loops decode, and a product with coded weights is the product with the same weights
// plain, bit for bit.
#include <gtest/gtest.h>

#include "codec/support.h"
#include "format/float8.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"

namespace codecllm {
namespace {

class DecodeTier : public ::testing::TestWithParam<Isa> {};

TEST_P(DecodeTier, DecodesEveryShapeOfEveryKind) {
  Rng rng(1);
  for (CodeKind kind : kAllKinds) {
    Bytes data = gaussian_elements(kind, 64 * 37, codes_integers(kind) ? 7 : 0.02, rng);
    const Bytes wild = gaussian_elements(kind, 64 * 6, codes_integers(kind) ? 60 : 1e8, rng);
    data.insert(data.begin() + 64 * 8 * element_bytes(kind), wild.begin(), wild.end());
    ClassCounts histogram;
    histogram.add(kind, data);
    for (const CodeShape& shape : shapes_of(kind, histogram)) {
      const Bytes coded = coded_container(kind, data, 43, &shape);
      const CodedView view = open_coded(coded, "file", "tensor").view;
      ASSERT_EQ(view.panels, 1);
      Bytes got(view.panel_bytes());
      kernels_for(GetParam()).decode_panel(view, 0, got.data());
      ASSERT_EQ(got, data) << "kind " << static_cast<int>(kind) << " low bits " << +shape.low_bits << " digits " << +shape.second_bits
                           << ", " << +shape.third_bits << ", " << +shape.fourth_bits << " first " << +shape.first_bits;
    }
  }
}

// Streams that lie about themselves: the same nonsense as the plain loops, and no read or write elsewhere.
TEST_P(DecodeTier, DecodesNonsenseAsThePlainLoopsDo) {
  Rng rng(2);
  for (CodeKind kind : kAllKinds) {
    const Bytes coded = coded_container(kind, gaussian_elements(kind, 64 * 20 * 2, codes_integers(kind) ? 7 : 0.02, rng), 20);
    const CodedTensor good = open_coded(coded, "file", "tensor");
    for (int round = 0; round < 200; ++round) {
      Bytes bad = coded;
      CodedView view = good.view;
      view.data = bad.data() + prefix_bytes(good.header);
      const PanelStreams s = streams_of(view, 1);
      uint8_t* begin = bad.data() + prefix_bytes(good.header);
      for (uint8_t* p = begin; p < s.exceptions; ++p)
        if (rng.below(round % 4 == 0 ? 1 : 20) == 0) *p = round % 3 == 0 ? 255 : static_cast<uint8_t>(rng.next());
      Bytes expected(view.panel_bytes()), got(view.panel_bytes());
      const PanelStreams first = streams_of(view, 0);
      for (int64_t panel : {0, 1}) {
        if (panel == 0 && first.exception_count > 0) continue;  // its exceptions were changed, too
        decode_panel_portable(view, panel, expected.data());
        kernels_for(GetParam()).decode_panel(view, panel, got.data());
        ASSERT_EQ(got, expected);
      }
    }
  }
}

Matrix random_plain(Element element, int64_t rows, int64_t columns, Rng& rng) {
  Matrix w(element, rows, columns, columns, ScaleType::bf16);
  std::vector<float> values(kPanelRows * columns);
  std::vector<int8_t> codes(values.size());
  for (int64_t panel = 0; panel < w.view().panels(); ++panel) {
    std::vector<const void*> float_rows;
    std::vector<const int8_t*> code_rows;
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(rng.normal() * 0.03 * (rng.below(200) == 0 ? 50 : 1));
      codes[i] = static_cast<int8_t>(std::clamp(static_cast<int>(std::nearbyint(values[i] * 700)), -127, 127));
    }
    for (int64_t i = 0; i < std::min(kPanelRows, rows - panel * kPanelRows); ++i) {
      float_rows.push_back(values.data() + i * columns);
      code_rows.push_back(codes.data() + i * columns);
    }
    if (is_float8(element)) encode_float8(values, 0x1p-7f, kE4m3, codes.data());
    if (is_scaled(element)) {
      w.set_panel(panel, code_rows);
    } else {
      w.set_panel(panel, float_rows, DType::f32);
    }
  }
  for (int64_t n = 0; is_scaled(element) && n < rows; ++n) w.set_scale(n, 0, static_cast<float>(rng.uniform() + 0.1));
  return w;
}

std::vector<float> product_of(Isa isa, const Matrix& w, const std::vector<float>& x, int64_t stride, int64_t batch, int threads) {
  ThreadPool pool(threads);
  LinearScratch scratch;
  std::vector<float> y(batch * w.rows(), -1.0f);
  const LinearOut out = {&w.view(), y.data(), w.rows()};
  linear(pool, kernels_for(isa), scratch, x.data(), stride, batch, {&out, 1});
  return y;
}

TEST_P(DecodeTier, ProductsAreThoseOfThePlainMatrix) {
  Rng rng(3);
  ThreadPool pool(2);
  for (Element element : {Element::bf16, Element::f16, Element::f32, Element::u8, Element::e4m3}) {
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {16, 64}, {17, 33}, {100, 99}, {80, 514}}) {
      const Matrix plain = random_plain(element, rows, columns, rng), coded = encoded(pool, plain);
      ASSERT_NE(coded.view().coded, nullptr);
      const int64_t stride = round_up(columns, kColumnPadding);
      for (int64_t batch : {1, 2, 7}) {
        std::vector<float> x(batch * stride, 0.0f);
        for (int64_t m = 0; m < batch; ++m)
          for (int64_t k = 0; k < columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal());
        EXPECT_EQ(product_of(GetParam(), coded, x, stride, batch, 2), product_of(GetParam(), plain, x, stride, batch, 1))
            << rows << "x" << columns << " batch " << batch;
      }
      std::vector<float> a(columns), b(columns);
      for (int64_t row = 0; row < rows; ++row) {
        read_row(plain.view(), row, a.data());
        read_row(coded.view(), row, b.data(), kernels_for(GetParam()).decode_panel);
        EXPECT_EQ(a, b);
      }
    }
  }
}

// One row is multiplied while blocks are decoded, by code of its own for every shape of code.
TEST_P(DecodeTier, OneRowTimesEveryShapeOfCode) {
  constexpr int64_t kBlocks = 143, kBytes = kCodedBlock * kBlocks;
  Rng rng(5);
  ThreadPool pool(1);
  for (CodeKind kind : {CodeKind::integer, CodeKind::odd, CodeKind::sparse, CodeKind::bf16}) {
    Bytes data = gaussian_elements(kind, kBytes - 64 * 20, codes_integers(kind) ? 7 : 0.02, rng);
    const Bytes wild = gaussian_elements(kind, 64 * 20, codes_integers(kind) ? 60 : 2, rng);
    data.insert(data.begin() + kBytes / 2, wild.begin(), wild.end());
    ClassCounts histogram;
    histogram.add(kind, data);
    int64_t exceptions = 0;
    for (const CodeShape& shape : shapes_of(kind, histogram)) {
      const Bytes container = coded_container(kind, data, kBlocks, &shape);
      const CodedView view = open_coded(container, "file", "tensor").view;
      exceptions += streams_of(view, 0).exception_count;
      for (int64_t columns : {4 * kBlocks, 4 * kBlocks - 1, 4 * kBlocks - 2, 4 * kBlocks - 3}) {
        std::vector<float> x(round_up(columns, kColumnPadding), 0.0f), scales(kPanelRows);
        for (int64_t k = 0; k < columns; ++k) x[k] = static_cast<float>(rng.normal());
        for (float& scale : scales) scale = static_cast<float>(rng.uniform() + 0.1);
        const bool integers = codes_integers(kind);
        MatrixView plain = {.element = integers ? Element::u8 : Element::bf16, .scale_type = ScaleType::f32, .rows = kPanelRows - 3,
                            .columns = columns, .group = columns, .data = data.data(), .scales = integers ? scales.data() : nullptr};
        for (ActivationMode mode : {ActivationMode::a16, ActivationMode::a8_token}) {
          if (integers) plain.activation.mode = mode;
          MatrixView coded = plain;
          coded.coded = &view;
          coded.data = nullptr;
          LinearScratch scratch;
          std::vector<float> y(kPanelRows, -1.0f), expected = y;
          const LinearOut outs[] = {{&coded, y.data(), kPanelRows}, {&plain, expected.data(), kPanelRows}};
          linear(pool, kernels_for(GetParam()), scratch, x.data(), columns, 1, outs);
          ASSERT_EQ(y, expected) << kCodeKindNames[static_cast<int>(kind)] << " low bits " << +shape.low_bits << " digits " << +shape.second_bits << ", "
                                 << +shape.third_bits << ", " << +shape.fourth_bits << " first " << +shape.first_bits << ", " << columns << " columns";
        }
      }
    }
    EXPECT_GT(exceptions, 1000);
  }
}

TEST(CodedMatrix, RefusesAContainerOfAnotherShape) {
  Rng rng(4);
  ThreadPool pool(1);
  const Matrix plain = random_plain(Element::bf16, 32, 64, rng);
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{32, 60}, {31, 64}, {64, 32}})
  {
    Buffer container = encode_matrix(pool, plain.view(), CodeKind::bf16);
    const CodedTensor opened = open_coded(container.as<const uint8_t>(), "file", "tensor");
    EXPECT_THROW(Matrix::from_coded(std::move(container), opened, rows, columns, ScaleType::bf16, {}), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(, DecodeTier, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
