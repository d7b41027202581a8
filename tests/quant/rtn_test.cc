// SPDX-License-Identifier: Apache-2.0
#include "quant/rtn.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "quant/naive.h"
#include "quant/verify.h"

namespace codecllm {
namespace {

using test::NaiveWeights;
using test::Tensor;

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};

struct Written {
  std::vector<std::byte> words, scales;
  size_t source_bytes = 0;
};

Written round_off(const Tensor& source, const QuantArgs& args, ScaleRule rule, const LayerValues& values = {}) {
  const TensorInfo info = {source.decl.name, source.decl.dtype, source.decl.shape, source.data};
  const TensorJob job = {TensorJob::Kind::quantize, &info, "layer", args, source.decl.dtype};
  Written out;
  round_to_nearest(test::two_threads(), job, rule, "a file", values, [&](const QuantizedRows& rows) {
    out.words.insert(out.words.end(), rows.codes.begin(), rows.codes.end());
    out.scales.insert(out.scales.end(), rows.scales.begin(), rows.scales.end());
    EXPECT_EQ(rows.source.data(), source.data.data() + out.source_bytes);
    out.source_bytes += rows.source.size();
  });
  return out;
}

Tensor random_tensor(DType dtype, int64_t rows, int64_t columns, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows * columns; ++i) {
    const double row_size = std::exp(static_cast<double>(i / columns % 7) - 5);
    values[i] = rng.below(50) == 0 ? 0.0f : static_cast<float>(rng.normal() * row_size);
  }
  for (int64_t row = 4; row < rows; row += 9)  // rows of zeros
    std::fill_n(values.begin() + row * columns, columns, 0.0f);
  return test::make_tensor("layer.weight", dtype, {rows, columns}, values);
}

void expect_naive(const Tensor& source, const QuantArgs& args, ScaleRule rule) {
  const int64_t rows = source.decl.shape[0], columns = source.decl.shape[1];
  const NaiveWeights expected =
      test::naive_quantize(source, args.num_bits, test::naive_group(args, columns), rule);
  const Written got = round_off(source, args, rule);
  const std::string what = std::to_string(rows) + "x" + std::to_string(columns) + " " + scheme_text(args) +
                           " " + std::string(dtype_name(source.decl.dtype));
  EXPECT_EQ(got.source_bytes, source.data.size()) << what;
  const Tensor scales = {{"scales", source.decl.dtype, {static_cast<int64_t>(expected.scales.size())}},
                         got.scales};
  ASSERT_EQ(test::values_of(scales), expected.scales) << what;
  const int64_t words = (columns * args.num_bits + 31) / 32;
  ASSERT_EQ(got.words.size(), static_cast<size_t>(rows * words * 4)) << what;
  for (int64_t i = 0; i < rows * columns; ++i)
    ASSERT_EQ(test::packed_code(got.words.data() + i / columns * words * 4, i % columns, args.num_bits),
              expected.codes[i])
        << what << " at " << i;
  // What is left of a row's last word is zero, so that equal weights give equal files.
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t bit = columns * args.num_bits; bit < words * 32; ++bit)
      ASSERT_EQ(std::to_integer<int>(got.words[row * words * 4 + bit / 8]) >> (bit % 8) & 1, 0) << what;
}

QuantArgs args_of(int bits, Strategy strategy, int group = 0) {
  return {.num_bits = bits, .strategy = strategy, .group_size = group};
}

TEST(RoundToNearest, EqualsTheFormulaAtOddSizes) {
  const int64_t sizes[][2] = {{1, 1}, {3, 7}, {16, 16}, {17, 33}, {5, 64}, {40, 95}, {101, 513}};
  uint64_t seed = 0;
  for (ScaleRule rule : {ScaleRule::restricted, ScaleRule::full})
    for (DType dtype : kTypes)
      for (const auto& [rows, columns] : sizes)
        for (int bits : {4, 8})
          for (Strategy strategy : {Strategy::channel, Strategy::tensor})
            expect_naive(random_tensor(dtype, rows, columns, ++seed), args_of(bits, strategy), rule);
}

TEST(RoundToNearest, EqualsTheFormulaInGroups) {
  uint64_t seed = 100;
  for (ScaleRule rule : {ScaleRule::restricted, ScaleRule::full})
    for (DType dtype : kTypes)
      for (const auto& [columns, group] : {std::pair{32, 32}, {96, 32}, {320, 64}, {384, 128}})
        for (int bits : {4, 8})
          expect_naive(random_tensor(dtype, 19, columns, ++seed), args_of(bits, Strategy::group, group),
                       rule);
}

TEST(RoundToNearest, WorksInPieces) {
  const Tensor source =
      random_tensor(DType::f32, 2100, 1030, 7);  // more than the 8 MB that are done at a time
  expect_naive(source, args_of(8, Strategy::channel), ScaleRule::restricted);
  expect_naive(source, args_of(8, Strategy::tensor), ScaleRule::restricted);
}

// What another algorithm chose takes the place of the source and of the rule.
TEST(RoundToNearest, TakesWeightsAndScalesThatAreGiven) {
  const Tensor source = random_tensor(DType::bf16, 21, 96, 5), other = random_tensor(DType::f32, 21, 96, 6);
  const std::vector<float> weights = test::values_of(other);
  for (const auto& [strategy, group] : {std::pair{Strategy::group, 32}, {Strategy::channel, 0}, {Strategy::tensor, 0}}) {
    const QuantArgs args = args_of(4, strategy, group);
    const NaiveWeights expected = test::naive_quantize(test::make_tensor("w", DType::bf16, {21, 96}, weights), 4,
                                                       test::naive_group(args, 96), ScaleRule::restricted);
    const std::vector<float> rounded = test::values_of(test::make_tensor("w", DType::bf16, {21, 96}, weights));
    const Written got = round_off(source, args, ScaleRule::restricted, {.weights = rounded});
    const Tensor scales = {{"s", DType::bf16, {static_cast<int64_t>(expected.scales.size())}}, got.scales};
    EXPECT_EQ(test::values_of(scales), expected.scales);
    // Given scales: half of the rule's, so that codes saturate.
    std::vector<float> halves = expected.scales;
    for (float& s : halves) s *= 0.5f;
    const Written half = round_off(source, args, ScaleRule::restricted, {.weights = rounded, .scales = halves});
    const Tensor stored = {{"s", DType::bf16, {static_cast<int64_t>(halves.size())}}, half.scales};
    EXPECT_EQ(test::values_of(stored), halves);
    for (int64_t i = 0; i < 21 * 96; ++i) {
      const int64_t g = strategy == Strategy::tensor ? 0 : strategy == Strategy::channel ? i / 96 : i / 32;
      const float code = std::clamp(std::nearbyint(rounded[i] / halves[g]), -7.0f, 7.0f);
      ASSERT_EQ(test::packed_code(half.words.data() + i / 96 * 12 * 4, i % 96, 4), static_cast<int>(code)) << i;
    }
  }
}

TEST(RoundToNearest, NamesTheValueThatIsNotFinite) {
  for (DType dtype : kTypes)
    for (const QuantArgs& args : {args_of(8, Strategy::channel), args_of(8, Strategy::tensor)})
      for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        Tensor source = random_tensor(dtype, 70, 96, 9);
        test::set_value(source, 53 * 96 + 71, bad);
        const std::string message = test::error_of([&] { round_off(source, args, ScaleRule::restricted); });
        for (const char* part :
             {"row 53", "column 71", "layer.weight", "a file", std::isnan(bad) ? "NaN" : "infinity"})
          EXPECT_NE(message.find(part), std::string::npos) << message;
      }
}

TEST(ReadSourceRow, IsTheRowAsFloats) {
  for (DType dtype : kTypes) {
    const Tensor source = random_tensor(dtype, 5, 13, 11);
    const TensorInfo info = {source.decl.name, source.decl.dtype, source.decl.shape, source.data};
    const std::vector<float> values = test::values_of(source);
    std::vector<float> row(13);
    for (int64_t r = 0; r < 5; ++r) {
      read_source_row(info, r, row);
      EXPECT_EQ(row, std::vector<float>(values.begin() + r * 13, values.begin() + (r + 1) * 13));
    }
  }
}

}  // namespace
}  // namespace codecllm
