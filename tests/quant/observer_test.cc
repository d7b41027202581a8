// SPDX-License-Identifier: Apache-2.0
#include "quant/observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "io/support.h"

namespace codecllm {
namespace {

std::vector<float> normal_values(size_t n, uint64_t seed, double size = 1) {
  Rng rng(seed);
  std::vector<float> values(n);
  for (float& v : values) v = static_cast<float>(size * rng.normal());
  return values;
}

Histogram histogram_of(const std::vector<float>& values) {
  Histogram h;
  h.add(values);
  return h;
}

constexpr QuantArgs kInt8 = {.num_bits = 8};

TEST(Histogram, CountsEveryValueInTheBinThatHoldsIt) {
  const std::vector<float> values = normal_values(3000, 1, 0.7);
  const Histogram h = histogram_of(values);
  ASSERT_EQ(h.count(), 3000);
  for (int i = 0; i < Histogram::kBins; ++i) {
    const double low = i * h.bin_width() - h.limit(), high = low + h.bin_width();
    EXPECT_EQ(h.bins()[i], std::count_if(values.begin(), values.end(), [&](float v) { return v >= low && v < high; })) << i;
  }
  EXPECT_EQ(h.range().low, *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(h.range().high, *std::max_element(values.begin(), values.end()));
  EXPECT_LE(h.limit(), 2 * h.range().amax());
}

TEST(Histogram, DoesNotDependOnTheOrderOfSamples) {
  std::vector<std::vector<float>> samples;
  for (uint64_t i = 0; i < 6; ++i) samples.push_back(normal_values(200, i, std::pow(10.0, static_cast<double>(i) - 4)));
  samples.push_back({0, 0, -0.0f});
  samples.push_back({4, -4, 1024, -1024});
  Histogram forward, backward;
  for (const auto& sample : samples) forward.add(sample);
  std::reverse(samples.begin(), samples.end());
  for (const auto& sample : samples) backward.add(sample);
  EXPECT_EQ(forward.bins(), backward.bins());
  EXPECT_EQ(forward.limit(), 2048);
  EXPECT_EQ(forward.count(), backward.count());
  EXPECT_EQ(forward.range().low, -1024);
  EXPECT_EQ(forward.range().high, 1024);
}

TEST(Observers, MinmaxAndMovingAverageFollowTheirFormulas) {
  Histogram h;
  Range moving, all;
  for (uint64_t i = 0; i < 50; ++i) {
    const std::vector<float> sample = normal_values(100, i, i == 20 ? 30 : 1);
    h.add(sample);
    const Range own = finite_range(sample);
    if (i == 0) {
      moving = own;
    } else {
      moving = {moving.low + 0.01f * (own.low - moving.low), moving.high + 0.01f * (own.high - moving.high)};
    }
    all.include(own);
  }
  EXPECT_EQ(observed_range(h, kInt8, {"minmax"}).low, all.low);
  EXPECT_EQ(observed_range(h, kInt8, {"minmax"}).high, all.high);
  EXPECT_FLOAT_EQ(observed_range(h, kInt8, {"moving-average"}).low, moving.low);
  EXPECT_FLOAT_EQ(observed_range(h, kInt8, {"moving-average"}).high, moving.high);
  EXPECT_LT(moving.high, 0.2f * all.high);  // one wild sample of fifty
}

TEST(Observers, PercentileIsTheMagnitudeThatHoldsTheShare) {
  const std::vector<float> values = normal_values(20000, 3);
  const Histogram h = histogram_of(values);
  std::vector<float> magnitudes = values;
  for (float& v : magnitudes) v = std::fabs(v);
  std::sort(magnitudes.begin(), magnitudes.end());
  for (double p : {50.0, 90.0, 99.0, 99.9}) {
    const Range r = observed_range(h, kInt8, {"percentile", p});
    EXPECT_NEAR(r.high, magnitudes[static_cast<size_t>(p / 100 * 20000) - 1], 2 * h.bin_width()) << p;
    EXPECT_EQ(r.low, -r.high) << p;
  }
  EXPECT_NEAR(observed_range(h, kInt8, {"percentile", 100}).amax(), h.range().amax(), h.bin_width());
}

// Error of quantizing the values themselves.
double error_with(const std::vector<float>& values, const Range& range, const QuantArgs& args) {
  const Grid grid = fit_grid(range, args, ScaleRule::restricted, DType::f32);
  std::vector<int8_t> codes(values.size());
  std::vector<float> decoded(values.size());
  encode(values, grid, args, ScaleRule::restricted, codes.data());
  decode(codes, grid, args, decoded.data());
  double error = 0;
  for (size_t i = 0; i < values.size(); ++i) error += std::pow(static_cast<double>(decoded[i]) - values[i], 2);
  return error;
}

TEST(Observers, MseIsTheBestMagnitudeOfAll) {
  std::vector<float> values = normal_values(5000, 4);
  values[7] = 60;  // one outlier that is not worth its range
  const Histogram h = histogram_of(values);
  for (const QuantArgs& args : {kInt8, QuantArgs{.num_bits = 4}, QuantArgs{.num_bits = 8, .symmetric = false}}) {
    const double found = error_with(values, observed_range(h, args, {"mse"}), args);
    double best = HUGE_VAL;
    for (int i = 1; i <= 1000; ++i) {
      const float m = 60.0f * static_cast<float>(i) / 1000;
      best = std::min(best, error_with(values, {std::max(h.range().low, -m), std::min(h.range().high, m)}, args));
    }
    EXPECT_LE(found, 1.05 * best);
    EXPECT_LT(found, (args.num_bits == 4 ? 0.9 : 1.001) * error_with(values, h.range(), args));
  }
}

TEST(Observers, EntropyCutsALongTailAndKeepsAShortOne) {
  std::vector<float> values = normal_values(50000, 5);
  EXPECT_GT(observed_range(histogram_of(values), kInt8, {"entropy"}).amax(), 2.5f);
  values[3] = 100;
  const float cut = observed_range(histogram_of(values), kInt8, {"entropy"}).amax();
  EXPECT_LT(cut, 50);
  EXPECT_GT(cut, 2.5f);
}

TEST(Observers, NothingSeenGivesNothingAndWrongNamesAreRefused) {
  for (const std::string& name : observer_names()) {
    EXPECT_EQ(observed_range(Histogram(), kInt8, {name}).amax(), 0) << name;
    const Range zeros = observed_range(histogram_of({0, 0, 0}), kInt8, {name});
    EXPECT_LT(zeros.amax(), 1e-9) << name;
    const Range constant = observed_range(histogram_of({3, 3, 3, 3}), kInt8, {name});
    EXPECT_NEAR(constant.high, 3, 0.01) << name;
    EXPECT_EQ(constant.low, 0) << name;
  }
  EXPECT_NE(test::error_of([] { check_observer({"best"}); }, ErrorCode::bad_call).find("entropy"), std::string::npos);
  test::error_of([] { check_observer({"percentile", 0}); }, ErrorCode::bad_call);
  test::error_of([] { check_observer({"percentile", 101}); }, ErrorCode::bad_call);
}

}  // namespace
}  // namespace codecllm
