// SPDX-License-Identifier: Apache-2.0
// Rotation frequencies against numbers computed by hand from the papers' formulas.
#include <gtest/gtest.h>

#include <cmath>

#include "model/spec.h"

namespace codecllm {
namespace {

double plain(double base, double rotary, int i) { return std::pow(base, -2.0 * i / rotary); }

// By how much each frequency is divided.
std::vector<double> divisors(const RopeSpec& rope, int64_t length = 0) {
  std::vector<double> list;
  const auto frequencies = rope_frequencies(rope, length);
  EXPECT_EQ(static_cast<int64_t>(frequencies.size()), rope.rotary / 2);
  for (size_t i = 0; i < frequencies.size(); ++i)
    list.push_back(plain(rope.base, static_cast<double>(rope.rotary), static_cast<int>(i)) / frequencies[i]);
  return list;
}

constexpr double kRounding = 0x1p-23;  // the frequencies are floats

TEST(Rope, DefaultAndLinear) {
  RopeSpec rope = {.base = 10000, .rotary = 20};
  for (double d : divisors(rope)) EXPECT_NEAR(d, 1, kRounding);
  EXPECT_EQ(rope_frequencies(rope, 0)[0], 1.0f);
  EXPECT_FLOAT_EQ(rope_frequencies(rope, 0)[5], 0.01f);
  rope.type = "linear", rope.factor = 4;
  for (double d : divisors(rope)) EXPECT_NEAR(d, 4, 4 * kRounding);
}

TEST(Rope, Llama3) {
  const RopeSpec rope = {.type = "llama3",
                         .base = 500000,
                         .factor = 8,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_positions = 8192,
                         .rotary = 128};
  const double known[] = {1.207484, 1.553415, 2.026313, 2.694530, 3.684253, 5.257327};  // from the 29th
  const auto got = divisors(rope);
  for (size_t i = 0; i < 64; ++i)
    EXPECT_NEAR(got[i], i < 29 ? 1 : i < 35 ? known[i - 29] : 8, 0.5e-6 + 8 * kRounding) << i;
}

TEST(Rope, YarnOfAShortHead) {
  // 16 * ln(32 / (32 * 2 pi)) / (2 ln 10000) = -1.60, so the ramp begins at 0; 16 * ln(32 / (2 pi)) / (2 ln
  // 10000) = 1.41, so it ends at 2, and stands at a half at 1: 1 / (0.5 / 4 + 0.5) = 1.6.
  const RopeSpec rope = {.type = "yarn", .base = 10000, .factor = 4, .original_positions = 32, .rotary = 16};
  const double known[] = {1, 1.6, 4, 4, 4, 4, 4, 4};
  const auto got = divisors(rope);
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(got[i], known[i], 4 * kRounding) << i;
}

TEST(Rope, YarnOfALongHead) {
  // 128 * ln(32768 / (32 * 2 pi)) / (2 ln 1e6) = 23.6 and 128 * ln(32768 / (2 pi)) / (2 ln 1e6) = 39.7: the
  // ramp goes from 23 to 40, and where it is rounded nowhere from those.
  RopeSpec rope = {.type = "yarn", .base = 1e6, .factor = 4, .original_positions = 32768, .rotary = 128};
  const auto ramp = [](double from, double to, int i) {
    const double r = std::min(std::max((i - from) / (to - from), 0.0), 1.0);
    return 1 / (r / 4 + 1 - r);
  };
  auto got = divisors(rope);
  for (int i = 0; i < 64; ++i) EXPECT_NEAR(got[i], ramp(23, 40, i), 4 * kRounding) << i;
  rope.truncate = false;
  got = divisors(rope);
  const double scale = 128 / (2 * std::log(1e6)), turn = 6.283185307179586;
  for (int i = 0; i < 64; ++i)
    EXPECT_NEAR(got[i], ramp(scale * std::log(32768 / (32 * turn)), scale * std::log(32768 / turn), i),
                4 * kRounding);
}

TEST(Rope, YarnScalesTheAttention) {
  const auto factor = [](const std::string& keys) {
    const std::string config =
        R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 80,
      "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 96,
      "rope_parameters": {"rope_type": "yarn", "factor": 4.0)" +
        keys + "}}";
    return read_spec(parse_json(config, "f"), "f").rope.attention_factor;
  };
  EXPECT_NEAR(factor(""), 1.1386294361119891, 1e-12);  // 0.1 ln 4 + 1
  EXPECT_EQ(factor(R"(, "attention_factor": 1.5)"), 1.5);
  EXPECT_EQ(factor(R"(, "mscale": 1.0, "mscale_all_dim": 1.0)"), 1.0);
}

TEST(Rope, DynamicGrowsWithTheSequence) {
  const RopeSpec rope = {
      .type = "dynamic", .base = 10000, .factor = 2, .original_positions = 16, .rotary = 16};
  for (double d : divisors(rope, 16)) EXPECT_NEAR(d, 1, kRounding);
  // 48 tokens: the base times (2 * 48 / 16 - 1)^(16 / 14) = 5^(8 / 7), so the last frequency is divided by 5
  // exactly.
  const auto got = divisors(rope, 48);
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(got[i], std::pow(5.0, i / 7.0), 5 * kRounding) << i;
}

}  // namespace
}  // namespace codecllm
