// SPDX-License-Identifier: Apache-2.0
// Many experts in one call: the bits of one product per expert, and not a float beside them.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "codecllm/error.h"
#include "kernels/dispatch.h"
#include "kernels/linear_grouped.h"
#include "kernels/matrix.h"
#include "paths.h"

namespace codecllm {
namespace {

constexpr int64_t kExpertRows = 50, kExpertColumns = 260;  // outputs and inputs, neither a whole number of panels or lines
constexpr float kNotWritten = -4321.5f;

Matrix expert(Element element, int64_t group, const ActivationScheme& activation, Rng& rng) {
  Matrix w(element, kExpertRows, kExpertColumns, group, ScaleType::bf16);
  if (is_scaled(element))
    for (int64_t n = 0; n < kExpertRows; ++n)
      for (int64_t g = 0; g < w.view().groups(); ++g) w.set_scale(n, g, static_cast<float>(rng.uniform() + 0.1));
  for (int64_t panel = 0; panel < w.view().panels(); ++panel) {
    const int64_t rows = std::min(kPanelRows, kExpertRows - panel * kPanelRows);
    std::vector<int8_t> codes(rows * kExpertColumns);
    std::vector<float> values(codes.size());
    const int64_t limit = element == Element::u4 ? 8 : 128;
    for (int8_t& c : codes) c = static_cast<int8_t>(static_cast<int64_t>(rng.below(2 * limit)) - limit);
    if (is_float8(element))
      for (int8_t& c : codes) c &= ~0x20;  // neither NaN nor the largest numbers
    for (float& v : values) v = static_cast<float>(rng.normal());
    std::vector<const int8_t*> code_rows;
    std::vector<const void*> value_rows;
    for (int64_t i = 0; i < rows; ++i) {
      code_rows.push_back(&codes[i * kExpertColumns]);
      value_rows.push_back(&values[i * kExpertColumns]);
    }
    if (is_scaled(element)) {
      w.set_panel(panel, code_rows);
    } else {
      w.set_panel(panel, value_rows, DType::f32);
    }
  }
  w.set_activation(activation);
  return w;
}

struct Kind {
  const char* name;
  Element element;
  int64_t group;
  ActivationScheme activation = {};
};

const Kind kKinds[] = {
    {"int8, 16-bit activations", Element::u8, kExpertColumns},
    {"w8a8", Element::u8, kExpertColumns, {.mode = ActivationMode::a8_token}},
    {"w8a8 per tensor", Element::u8, kExpertColumns, {.mode = ActivationMode::a8_tensor}},
    {"w8a8 fixed", Element::u8, kExpertColumns, {.mode = ActivationMode::a8_fixed, .scale = 0.03f}},
    {"w8a8 asymmetric", Element::u8, kExpertColumns, {.mode = ActivationMode::a8_token, .asymmetric = true}},
    {"int8 blocks", Element::u8, 128, {.mode = ActivationMode::a8_token}},
    {"int4 groups", Element::u4, 64},
    {"llm.int8()", Element::u8, kExpertColumns, {.mode = ActivationMode::a8_token, .threshold = 6}},
    {"fp8 blocks", Element::e4m3, 128, {.mode = ActivationMode::a8_group}},
    {"fp8 per tensor", Element::e4m3, kExpertColumns, {.mode = ActivationMode::a8_tensor}},
    {"fp8, 16-bit activations", Element::e5m2, kExpertColumns},
    {"bf16", Element::bf16, kExpertColumns},
    {"f16", Element::f16, kExpertColumns},
    {"f32", Element::f32, kExpertColumns},
};

class Grouped : public ::testing::TestWithParam<Isa> {};

// Rows of x beyond the segments are NaN: whoever reads them shows it in a per-tensor scale or a sum.
void expect_the_bits_of_single_products(Isa isa, const std::vector<Matrix>& experts, const std::vector<RowSegment>& segments, const std::string& what) {
  const KernelTable& kernels = kernels_for(isa);
  const int64_t stride = round_up(kExpertColumns, kColumnPadding), y_stride = kExpertRows + 3;
  int64_t rows = 0;
  for (const RowSegment& s : segments) rows = std::max(rows, s.first + s.rows + 2);
  std::vector<float> x(rows * stride, NAN), expected(rows * y_stride, kNotWritten);
  Rng rng(8);
  std::vector<const MatrixView*> views;
  for (const Matrix& w : experts) views.push_back(&w.view());
  ThreadPool one(1);
  LinearScratch single;
  for (size_t e = 0; e < experts.size(); ++e) {
    for (int64_t m = segments[e].first; m < segments[e].first + segments[e].rows; ++m)
      for (int64_t k = 0; k < stride; ++k)
        x[m * stride + k] = k < kExpertColumns ? static_cast<float>(rng.normal() * (k % 37 == 0 ? 8 : 1)) : 0.0f;
    const LinearOut out = {views[e], &expected[segments[e].first * y_stride], y_stride};
    linear(one, kernels, single, &x[segments[e].first * stride], stride, segments[e].rows, {&out, 1});
  }
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    GroupedScratch scratch;
    for (int turn = 0; turn < 2; ++turn) {  // the second finds the first's numbers in the scratch
      std::vector<float> y(rows * y_stride, kNotWritten);
      linear_grouped(pool, kernels, scratch, x.data(), stride, views, segments, y.data(), y_stride);
      ASSERT_EQ(0, std::memcmp(y.data(), expected.data(), y.size() * sizeof(float))) << what << ", " << threads << " threads";
    }
  }
}

TEST_P(Grouped, GivesTheBitsOfOneProductPerExpert) {
  if (test::kSanitized && GetParam() == Isa::reference) GTEST_SKIP() << "slow; the other tiers run what is around its kernels";
  Rng rng(1);
  for (const Kind& kind : kKinds) {
    std::vector<Matrix> experts;
    for (int e = 0; e < 6; ++e) experts.push_back(expert(kind.element, kind.group, kind.activation, rng));
    const std::vector<int64_t> layouts[] = {{3, 0, 26, 1, 0, 7}, {0, 0, 0, 0, 0, 2}, {0, 0, 0, 0, 0, 0}};
    for (const auto& counts : layouts) {
      expect_the_bits_of_single_products(GetParam(), experts, contiguous_layout(counts), kind.name);
      expect_the_bits_of_single_products(GetParam(), experts, masked_layout(counts, 26), kind.name);
    }
  }
}

TEST_P(Grouped, ExpertsMayBeCodedOrDiffer) {
  Rng rng(2);
  ThreadPool pool(2);
  std::vector<Matrix> experts;
  for (int e = 0; e < 2; ++e) experts.push_back(encoded(pool, expert(Element::bf16, kExpertColumns, {}, rng)));
  expect_the_bits_of_single_products(GetParam(), experts, contiguous_layout(std::vector<int64_t>{5, 17}), "coded");
  experts.push_back(expert(Element::u4, 64, {}, rng));
  experts.push_back(expert(Element::u8, kExpertColumns, {.mode = ActivationMode::a8_token}, rng));
  Matrix ordered(Element::u8, kExpertRows, kExpertColumns, 32, ScaleType::bf16);
  std::vector<int32_t> order(kExpertColumns);
  std::iota(order.rbegin(), order.rend(), 0);
  ordered.set_order(order);
  for (int64_t n = 0; n < kExpertRows; ++n)
    for (int64_t g = 0; g < ordered.view().groups(); ++g) ordered.set_scale(n, g, 0.5f);
  experts.push_back(std::move(ordered));
  expect_the_bits_of_single_products(GetParam(), experts, masked_layout(std::vector<int64_t>{5, 0, 2, 3, 9}, 9), "a mixture");
}

TEST(GroupedLayouts, SayWhereRowsAre) {
  const auto pairs = [](const std::vector<RowSegment>& segments) {
    std::vector<std::pair<int64_t, int64_t>> out;
    for (const RowSegment& s : segments) out.emplace_back(s.first, s.rows);
    return out;
  };
  using Pairs = std::vector<std::pair<int64_t, int64_t>>;
  const std::vector<int64_t> counts = {3, 0, 2};
  EXPECT_EQ(pairs(contiguous_layout(counts)), (Pairs{{0, 3}, {3, 0}, {3, 2}}));
  EXPECT_EQ(pairs(masked_layout(counts, 4)), (Pairs{{0, 3}, {4, 0}, {8, 2}}));
  const auto refused = [](const std::function<void()>& call, const std::string& part) {
    try {
      call();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::bad_call));
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused([&] { masked_layout(counts, 2); }, "expert 0 has 3 rows; give 0 to 2");
  refused([] { contiguous_layout(std::vector<int64_t>{1, -1}); }, "expert 1 has -1 rows");
  ThreadPool pool(1);
  GroupedScratch scratch;
  refused([&] { linear_grouped(pool, kernels_for(Isa::reference), scratch, nullptr, 0, {}, contiguous_layout(counts), nullptr, 0); }, "3 segments");
}

INSTANTIATE_TEST_SUITE_P(, Grouped, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
