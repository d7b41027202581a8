// SPDX-License-Identifier: Apache-2.0
// Every tier decodes what the plain loops decode, and a product with coded weights is the product with the same weights
// plain, bit for bit.
#include <gtest/gtest.h>

#include "codec/support.h"
#include "format/float8.h"
#include "kernels/dispatch.h"
#include "kernels/linear_inputs.h"
#include "kernels/matrix.h"
#include "kernels/product.h"
#include "paths.h"

namespace codecllm {
namespace {

class DecodeTier : public ::testing::TestWithParam<Isa> {};

TEST_P(DecodeTier, DecodesShapesOfEveryKind) {
  Rng rng(1);
  for (CodeKind kind : kAllKinds) {
    Bytes data = gaussian_elements(kind, 64 * 37, codes_integers(kind) ? 7 : 0.02, rng);
    const Bytes wild = gaussian_elements(kind, 64 * 6, codes_integers(kind) ? 60 : 1e8, rng);
    data.insert(data.begin() + 64 * 8 * element_bytes(kind), wild.begin(), wild.end());
    ClassCounts histogram;
    histogram.add(kind, data);
    for (const CodeShape& shape : some_shapes(kind, histogram, 12)) {
      const Bytes coded = coded_container(kind, data, 43, &shape);
      const CodedView view = open_coded(coded, "file", "tensor").view;
      ASSERT_EQ(view.panels, 1);
      Bytes got(view.panel_bytes());
      kernels_for(GetParam()).decode_panel(view, 0, got.data());
      ASSERT_EQ(got, data) << name_of(shape);
    }
  }
}

// Streams that lie about themselves and end anywhere: the same nonsense as the plain loops, and no read or write elsewhere.
TEST_P(DecodeTier, DecodesNonsenseAsThePlainLoopsDo) {
  constexpr int64_t kBlocks = 45;
  Rng rng(2);
  for (CodeKind kind : kAllKinds) {
    const Bytes data = gaussian_elements(kind, 64 * kBlocks, codes_integers(kind) ? 7 : 0.02, rng);
    ClassCounts histogram;
    histogram.add(kind, data);
    for (const CodeShape& shape : some_shapes(kind, histogram, 3)) {
      const Bytes coded = coded_container(kind, data, kBlocks, &shape);
      const CodedTensor good = open_coded(coded, "file", "tensor");
      const PanelStreams s = streams_of(good.view, 0);
      for (int round = 0; round < 12; ++round) {
        Bytes bad = coded;
        CodedView view = good.view;
        view.data = bad.data() + prefix_bytes(good.header);
        for (uint8_t* p = bad.data() + (s.fixed - coded.data()); p < bad.data() + (s.exceptions - coded.data()); ++p)
          if (rng.below(round % 4 == 0 ? 1 : 20) == 0) *p = round % 3 == 0 ? 255 : static_cast<uint8_t>(rng.next());
        PanelRecord record = view.record(0);  // without exceptions
        if (round % 2 == 0) record.second_bytes = static_cast<uint32_t>(rng.below(record.second_bytes + 1));
        if (round % 4 < 2) record.third_bytes = static_cast<uint32_t>(rng.below(record.third_bytes + 1));
        record.end = static_cast<uint64_t>(s.digits[0] - s.fixed) + record.second_bytes + record.third_bytes + record.fourth_bytes;
        view.records = reinterpret_cast<const uint8_t*>(&record);
        Bytes expected(view.panel_bytes()), got(view.panel_bytes());
        decode_panel_portable(view, 0, expected.data());
        kernels_for(GetParam()).decode_panel(view, 0, got.data());
        ASSERT_EQ(got, expected) << name_of(shape);
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

// What lies beyond rows and columns costs no more than what is there.
TEST(EncodedMatrix, PaddingIsNoException) {
  Rng rng(8);
  ThreadPool pool(2);
  for (Element element : {Element::bf16, Element::f16, Element::f32, Element::u8, Element::e4m3}) {
    const Matrix odd = encoded(pool, random_plain(element, 738, 253, rng)), whole = encoded(pool, random_plain(element, 752, 256, rng));
    ASSERT_EQ(odd.view().coded->panel_bytes(), whole.view().coded->panel_bytes());
    const auto exceptions = [](const Matrix& m) {
      int64_t count = 0;
      for (int64_t p = 0; p < m.view().coded->panels; ++p) count += streams_of(*m.view().coded, p).exception_count;
      return count;
    };
    EXPECT_LT(exceptions(odd), exceptions(whole) + exceptions(whole) / 4 + 100) << static_cast<int>(element);
    EXPECT_LT(odd.bytes(), whole.bytes() + whole.bytes() / 20) << static_cast<int>(element);
  }
}

TEST_P(DecodeTier, ProductsAreThoseOfThePlainMatrix) {
  Rng rng(3);
  ThreadPool pool(2);
  for (Element element : {Element::bf16, Element::f16, Element::f32, Element::u8, Element::e4m3}) {
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {16, 64}, {17, 33}, {100, 99}, {80, 514}, {20, 770}, {32, 1540}}) {
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
        read_row(coded.view(), row, b.data(), kernels_for(GetParam()));
        EXPECT_EQ(a, b);
      }
    }
  }
}

// One row times codes that are multiplied as they are decoded (`own`), and by decode_panel and the plain product.
struct OneRow {
  bool own = false;
  std::vector<float> got, expected;
};

OneRow one_row(Isa isa, const CodedView& view, int64_t columns, ActivationMode mode, Rng& rng) {
  const KernelTable& kernels = kernels_for(isa);
  ThreadPool pool(1);
  const bool integers = codes_integers(view.shape.kind);
  const int64_t rows = view.panels * kPanelRows - 3;
  std::vector<float> x(round_up(columns, kColumnPadding), 0.0f), scales(view.panels * kPanelRows);
  for (int64_t k = 0; k < columns; ++k) x[k] = static_cast<float>(rng.normal());
  for (float& scale : scales) scale = static_cast<float>(rng.uniform() + 0.1);
  Buffer decoded(static_cast<size_t>(view.panels * view.panel_bytes()));
  MatrixView plain = {.element = integers ? Element::u8 : Element::bf16, .scale_type = ScaleType::f32, .rows = rows, .columns = columns,
                      .group = columns, .data = decoded.as<uint8_t>().data(), .scales = integers ? scales.data() : nullptr};
  plain.activation.mode = mode;
  // A panel's last block may reach beyond its lines.
  for (int64_t p = 0; p < view.panels; ++p) kernels.decode_panel(view, p, decoded.as<uint8_t>().data() + p * plain.panel_bytes());
  MatrixView coded = plain;
  coded.coded = &view;
  coded.data = nullptr;
  LinearScratch scratch;
  OneRow out = {.got = std::vector<float>(rows, -1.0f), .expected = std::vector<float>(rows, -1.0f)};
  // What holds the activations is as long as they are, so that the address sanitizer sees a read behind them.
  if (integers) {
    const IntActivations in = integer_inputs(pool, kernels, scratch.integers, x.data(), columns, 1, plain);
    out.own = kernels.matmul_coded_int(coded, in, out.got.data(), 0, view.panels);
    kernels.matmul_int(plain, in, out.expected.data(), rows, 0, view.panels);
  } else {
    const FloatRows in = interleave(nullptr, kernels, plain.element, x.data(), columns, 1, columns, scratch.tiles);
    out.own = kernels.matmul_coded_float(coded, in.x, out.got.data(), 0, view.panels);
    kernels.matmul_float(plain, in.x, in.stride, 1, out.expected.data(), rows, 0, view.panels);
  }
  return out;
}

TEST_P(DecodeTier, OneRowTimesShapesOfCode) {
  Rng rng(5);
  for (CodeKind kind : {CodeKind::integer, CodeKind::odd, CodeKind::sparse, CodeKind::bf16}) {
    int own = 0, products = 0;
    for (int64_t blocks : {1, 32, 64, 143}) {
      const size_t elements = static_cast<size_t>(2 * blocks * kCodedBlock);
      Bytes data = gaussian_elements(kind, elements - elements / 8, codes_integers(kind) ? 7 : 0.02, rng);
      const Bytes wild = gaussian_elements(kind, elements / 8, codes_integers(kind) ? 60 : 2, rng);
      data.insert(data.begin() + static_cast<ptrdiff_t>(data.size() / 4 * 2), wild.begin(), wild.end());
      ClassCounts histogram;
      histogram.add(kind, data);
      int64_t exceptions = 0;
      for (const CodeShape& shape : some_shapes(kind, histogram, 1)) {
        const Bytes container = coded_container(kind, data, static_cast<size_t>(blocks), &shape);
        const CodedView view = open_coded(container, "file", "tensor").view;
        ASSERT_EQ(view.panels, 2);
        products += 8;
        exceptions += streams_of(view, 1).exception_count;
        for (int64_t columns = 4 * blocks - 3; columns <= 4 * blocks; ++columns)
          for (ActivationMode mode : {ActivationMode::a16, ActivationMode::a8_token}) {
            const OneRow row = one_row(GetParam(), view, columns, mode, rng);
            if (!row.own) continue;
            ++own;
            ASSERT_EQ(row.got, row.expected) << name_of(shape) << ", " << columns << " columns";
          }
      }
      EXPECT_GT(exceptions, 5 * blocks);
    }
    EXPECT_EQ(own, GetParam() < Isa::avx512 ? 0 : products) << kCodeKindNames[static_cast<int>(kind)];
  }
}

// Streams that lie and exceptions that no writer makes are multiplied as they are decoded (but for odd codes, which are told by rows of their own).
TEST_P(DecodeTier, OneRowTimesNonsense) {
  Rng rng(6);
  int own = 0;
  for (CodeKind kind : {CodeKind::integer, CodeKind::bf16})
    for (int round = 0; round < 60; ++round) {
      ClassCounts histogram;
      const Bytes data = gaussian_elements(kind, 64 * 70 * 2, codes_integers(kind) ? 7 : 0.02, rng);
      histogram.add(kind, data);
      const std::vector<CodeShape> shapes = shapes_of(kind, histogram);
      Bytes bad = coded_container(kind, data, 70, &shapes[rng.below(shapes.size())]);
      const CodedTensor good = open_coded(bad, "file", "tensor");
      const PanelStreams s = streams_of(good.view, 1);
      for (uint8_t* p = bad.data() + prefix_bytes(good.header); p < s.exceptions; ++p)
        if (rng.below(round % 4 == 0 ? 1 : 20) == 0) *p = round % 3 == 0 ? 255 : static_cast<uint8_t>(rng.next());
      for (uint8_t* p = const_cast<uint8_t*>(s.exceptions) + 3 * s.exception_count; p < good.view.data + good.view.record(1).end; ++p)
        *p = static_cast<uint8_t>(rng.next());
      CodedView view = good.view;
      PanelRecord alone = view.record(1);  // the second panel alone; the first one's exceptions were changed, too
      alone.end -= view.record(0).end;
      view.data += view.record(0).end;
      view.records = reinterpret_cast<const uint8_t*>(&alone);
      view.panels = 1;
      const OneRow row = one_row(GetParam(), view, 4 * 70 - 1, ActivationMode::a16, rng);
      const bool same = std::memcmp(row.got.data(), row.expected.data(), row.got.size() * sizeof(float)) == 0;  // NaN are, too
      own += row.own ? 1 : 0;
      ASSERT_TRUE(same || !row.own) << kCodeKindNames[static_cast<int>(kind)] << " round " << round;
    }
  EXPECT_EQ(own, GetParam() < Isa::avx512 ? 0 : 120);
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
