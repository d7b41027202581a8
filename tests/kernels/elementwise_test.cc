// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels of every tier against the reference, and nothing written behind the arrays.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/dispatch.h"

namespace codecllm {
namespace {

constexpr double kHalfUlp = 0x1p-24;      // of 1
constexpr double kTiny = 0x1p-149;        // below the normal range rounding is absolute
constexpr int64_t kGuard = 32;            // floats behind every array that must stay as they are
constexpr float kUntouched = -7777.125f;  // what they hold

std::vector<int64_t> sizes() {
  std::vector<int64_t> list;
  for (int64_t n = 1; n <= 70; ++n) list.push_back(n);
  list.insert(list.end(), {172, 1000});
  return list;
}

std::vector<float> guarded(int64_t n, double width, Rng& rng) {
  std::vector<float> x(n + kGuard, kUntouched);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(rng.normal() * width);
  return x;
}

void expect_guard(const std::vector<float>& x, int64_t n) {
  for (int64_t i = n; i < n + kGuard; ++i) ASSERT_EQ(x[i], kUntouched) << "written at " << i << " of " << n;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class Elementwise : public ::testing::TestWithParam<Isa> {
 protected:
  const KernelTable& reference = kernels_for(Isa::reference);
  const KernelTable& tier = kernels_for(GetParam());
  Rng rng{11};
};

// The squares: n / 16 steps in each lane, then a tree of four, halved by the root; mean, eps, root,
// reciprocal and two products on one side, one rounding of the reciprocal and two products on the other.
TEST_P(Elementwise, RmsNorm) {
  for (int64_t n : sizes()) {
    const auto x = guarded(n, 3, rng), weight = guarded(n, 1, rng);
    std::vector<float> expected(n + kGuard, kUntouched), got = expected;
    reference.rms_norm(x.data(), weight.data(), n, 1e-5f, expected.data());
    tier.rms_norm(x.data(), weight.data(), n, 1e-5f, got.data());
    const double steps = static_cast<double>(n / 16 + 1 + 4) / 2 + 6 + 3;
    for (int64_t i = 0; i < n; ++i)
      ASSERT_NEAR(got[i], expected[i], std::fabs(expected[i]) * steps * kHalfUlp + kTiny) << n;
    expect_guard(got, n);
    auto in_place = x;
    tier.rms_norm(in_place.data(), weight.data(), n, 1e-5f, in_place.data());
    got.resize(n);
    expect_guard(in_place, n);
    in_place.resize(n);
    EXPECT_TRUE(same_bits(in_place, got)) << n;
  }
}

TEST_P(Elementwise, RmsNormOfKnownRows) {
  const float x[4] = {3, -4, 3, -4}, weight[4] = {1, 1, 2, 0.5f};
  float y[4];
  tier.rms_norm(x, weight, 4, 0.0f, y);  // the root of the mean square is sqrt(12.5)
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(y[i], x[i] * weight[i] / std::sqrt(12.5), 8 * 8 * kHalfUlp);
  const float zeros[4] = {};
  tier.rms_norm(zeros, weight, 4, 1e-6f, y);
  for (float v : y) EXPECT_EQ(v, 0.0f);
}

TEST_P(Elementwise, RotateIsTheSameBits) {
  for (int64_t half = 1; half <= 70; ++half) {
    auto expected = guarded(2 * half, 1, rng), got = expected;
    const auto cosine = guarded(half, 1, rng), sine = guarded(half, 1, rng);
    reference.rotate(expected.data(), cosine.data(), sine.data(), 2 * half);
    tier.rotate(got.data(), cosine.data(), sine.data(), 2 * half);
    EXPECT_TRUE(same_bits(got, expected)) << half;
    expect_guard(got, 2 * half);
  }
}

TEST_P(Elementwise, RotateByAQuarterTurnPairsHalves) {
  float head[6] = {1, 2, 3, 4, 5, 6};
  const float cosine[3] = {0, 1, 0}, sine[3] = {1, 0, -1};
  tier.rotate(head, cosine, sine, 6);
  const float expected[6] = {-4, 2, 6, 1, 5, -3};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(head[i], expected[i]) << i;
}

// Exponential (2 units in the last place), sum, quotient and two products; the reference's exponential, sum,
// quotient and product. A sigmoid below the smallest normal number may lose its digits or vanish.
double silu_bound(double gate, double up, double result) {
  return std::fabs(result) * (4 + 4 + 2 + 3) * kHalfUlp + std::fabs(gate * up) * 0x1p-126 + kTiny;
}

TEST_P(Elementwise, SiluMul) {
  for (int64_t n : sizes()) {
    for (double width : {0.1, 4.0, 60.0}) {
      const auto gate = guarded(n, width, rng), up = guarded(n, 2, rng);
      auto expected = gate, got = gate;
      reference.silu_mul(expected.data(), up.data(), n);
      tier.silu_mul(got.data(), up.data(), n);
      for (int64_t i = 0; i < n; ++i)
        ASSERT_NEAR(got[i], expected[i], silu_bound(gate[i], up[i], expected[i]))
            << gate[i] << " * " << up[i];
      expect_guard(got, n);
    }
  }
}

TEST_P(Elementwise, SiluOfKnownValues) {
  const double known[][2] = {{-3, -0.1422776}, {-1, -0.2689414}, {0.5, 0.3112297}, {1, 0.7310586}, {0, 0}};
  for (const auto& [x, y] : known) {
    auto gate = static_cast<float>(x);
    const float one = 1;
    tier.silu_mul(&gate, &one, 1);
    EXPECT_NEAR(gate, y, 0.5e-7 + silu_bound(x, 1, y)) << x;  // the table has seven places
  }
  std::vector<float> gate = {1000.0f, -1000.0f, 3e38f, -3e38f};
  const std::vector<float> up(4, 1.0f);
  tier.silu_mul(gate.data(), up.data(), 4);
  EXPECT_EQ(gate, (std::vector<float>{1000.0f, 0.0f, 3e38f, 0.0f}));
}

TEST_P(Elementwise, AddIsTheSameBits) {
  for (int64_t n : sizes()) {
    auto expected = guarded(n, 1, rng), got = expected;
    const auto y = guarded(n, 1e3, rng);
    reference.add(expected.data(), y.data(), n);
    tier.add(got.data(), y.data(), n);
    EXPECT_TRUE(same_bits(got, expected)) << n;
    expect_guard(got, n);
  }
}

TEST_P(Elementwise, NotFiniteValuesStaySo) {
  for (int64_t n : {3, 16, 37}) {
    for (int64_t at : {int64_t{0}, n - 1}) {
      for (float bad : {NAN, INFINITY, -INFINITY}) {
        auto x = guarded(n, 1, rng);
        const auto ones = std::vector<float>(n, 1.0f);
        x[at] = bad;
        std::vector<float> y(n);
        tier.rms_norm(x.data(), ones.data(), n, 1e-5f, y.data());
        EXPECT_TRUE(std::isnan(y[at])) << bad;
        for (float v : y) EXPECT_TRUE(std::isnan(v) || !std::isnan(bad));
        auto gate = x;
        tier.silu_mul(gate.data(), ones.data(), n);
        EXPECT_TRUE(bad == INFINITY ? gate[at] == INFINITY : std::isnan(gate[at])) << bad;
        for (int64_t i = 0; i < n; ++i) EXPECT_TRUE(i == at || std::isfinite(gate[i]));
        auto up = ones;
        up[at] = bad;
        gate.assign(n, 2.0f);
        tier.silu_mul(gate.data(), up.data(), n);
        EXPECT_FALSE(std::isfinite(gate[at]));
        auto sum = ones;
        tier.add(sum.data(), x.data(), n);
        EXPECT_FALSE(std::isfinite(sum[at]));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, Elementwise, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
