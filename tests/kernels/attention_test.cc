// SPDX-License-Identifier: Apache-2.0
// Attention of every tier against the definition in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/attention_case.h"
#include "paths.h"

namespace codecllm {
namespace {

constexpr double kUnit = 0x1p-24;

struct Exact {
  std::vector<double> out, bound;
};

// relative: what each key and value may be off by before the kernel's own rounding (0: it reads these very
// numbers). A score is a sum of head_dim products, then two more roundings and one for the difference from
// the largest; weights take the exponential's error (2 units in the last place), their sum count / 16 steps,
// the mix count steps, and a weight's relative error counts twice, once in the sum that divides it.
// An INT8 cache is multiplied by 16-bit codes: a query's numbers are off by half a step of 1/32512 of the largest, and so are
// the weights times the values' scales, of the largest of their block.
Exact exact(const Cache& cache, const Call& call, double relative) {
  Exact result;
  const auto head_dim = static_cast<size_t>(cache.view().head_dim);
  const auto count = static_cast<double>(call.count);
  const double code_step = cache.view().type == KvType::i8 ? 0.5 / 32512 : 0;
  for (int64_t h = 0; h < call.heads; ++h) {
    std::vector<double> weights(call.count, 0.0);
    double largest = -INFINITY, magnitude = 0, key_sum = 0, total = 0, largest_query = 0, largest_share = 0;
    for (size_t d = 0; d < head_dim; ++d) largest_query = std::max<double>(largest_query, std::fabs(call.query[h * head_dim + d]));
    for (int64_t t = call.first; t < call.count; ++t) {
      double sum = 0, size = 0, keys = 0;
      for (size_t d = 0; d < head_dim; ++d) {
        const double key = cache.keys[t][call.kv_head * head_dim + d], term = call.query[h * head_dim + d] * key * call.scale;
        sum += term;
        size += std::fabs(term);
        keys += std::fabs(key * call.scale);
      }
      weights[t] = sum;
      largest = std::max(largest, sum);
      magnitude = std::max(magnitude, size);
      key_sum = std::max(key_sum, keys);
    }
    for (int64_t t = call.first; t < call.count; ++t) total += weights[t] = std::exp(weights[t] - largest);
    for (int64_t t = call.first; t < call.count; ++t)
      for (size_t d = 0; d < head_dim; ++d)
        largest_share = std::max(largest_share, weights[t] * std::fabs(cache.values[t][call.kv_head * head_dim + d]));
    const double score_error =
        magnitude * (relative + (static_cast<double>(head_dim) + 4) * kUnit) + code_step * largest_query * key_sum;
    const double weight_error = std::expm1(2 * (score_error + 4 * kUnit)) + relative;
    for (size_t d = 0; d < head_dim; ++d) {
      double sum = 0, size = 0, top = 0;
      for (int64_t t = call.first; t < call.count; ++t) {
        const double v = cache.values[t][call.kv_head * head_dim + d];
        sum += weights[t] * v;
        size += weights[t] * std::fabs(v);
        top = std::max(top, std::fabs(v));
      }
      result.out.push_back(sum / total);
      result.bound.push_back(size / total * (weight_error + (count + count / 16 + 10) * kUnit) +
                             count * (code_step * largest_share / total + top * 0x1p-126));
    }
  }
  return result;
}

void expect_near(const std::vector<float>& got, const Exact& expected, const std::string& what) {
  ASSERT_EQ(got.size(), expected.out.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], expected.out[i], expected.bound[i]) << what << " at " << i;
}

class Attention : public ::testing::TestWithParam<Isa> {};

TEST_P(Attention, EveryShapeIsWithinRounding) {
  Rng rng(21);
  for (KvType type : {KvType::f32, KvType::f16, KvType::i8, KvType::e4m3}) {
    for (int64_t head_dim : {16, 20, 33, 64, 80, 128}) {
      const Cache cache(type, head_dim, 200, rng);
      for (int64_t heads : {1, 2, 3, 4, 7}) {
        for (int64_t count : {1, 15, 17, 64, 65, 130, 200}) {
          for (int64_t first : {int64_t{0}, count / 2, std::max<int64_t>(0, count - 8)}) {
            const Call call = random_call(heads, head_dim, first, count, rng);
            expect_near(attend(GetParam(), cache, call), exact(cache, call, 0),
                        std::to_string(head_dim) + " x " + std::to_string(heads) + " [" +
                            std::to_string(first) + ", " + std::to_string(count) + ")");
          }
        }
      }
    }
  }
}

TEST_P(Attention, EveryCountIsWithinRounding) {
  Rng rng(22);
  const Cache cache(KvType::f32, 20, 200, rng);
  for (int64_t count = 1; count <= 200; ++count) {
    const Call call = random_call(3, 20, static_cast<int64_t>(rng.below(count)), count, rng);
    expect_near(attend(GetParam(), cache, call), exact(cache, call, 0), std::to_string(count));
  }
}

// Rows of a prompt together give the bits that each gives alone, also with a window and a cache that holds an infinity
// which some of them must not see.
TEST_P(Attention, RowsTogetherAreTheSameBits) {
  Rng rng(27);
  for (KvType type : {KvType::f32, KvType::f16, KvType::i8, KvType::e4m3}) {
    for (int64_t head_dim : {20, 64}) {
      for (int64_t heads : test::kSanitized ? std::vector<int64_t>{3} : std::vector<int64_t>{1, 3, 8}) {
        Cache cache(type, head_dim, 200, rng);
        auto value = cache.values[150];
        value[head_dim] = INFINITY;  // head 1
        cache.set(150, cache.keys[150], value);
        const int64_t rows = attention_rows(heads), stride = heads * head_dim + 5;
        for (int64_t window : {0, 1, 40, 100}) {
          for (int64_t count : {int64_t{1}, int64_t{60}, 200 - rows}) {
            std::vector<float> queries(rows * stride), out(rows * stride, kUntouched), scratch;
            for (float& q : queries) q = static_cast<float>(rng.normal());
            Call call = {{}, heads, 1, 0, count, 0.125f};
            AttentionTile tile = tile_of(cache, call, scratch);
            tile.query = queries.data();
            tile.out = out.data();
            tile.stride = stride;
            tile.rows = rows;
            tile.window = window;
            kernels_for(GetParam()).attend(cache.view(), tile);
            for (int64_t row = 0; row < rows; ++row) {
              const auto from = queries.begin() + row * stride;
              call.query.assign(from, from + heads * head_dim);
              call.count = count + row;
              call.first = window > 0 ? std::max<int64_t>(0, call.count - window) : 0;
              const auto alone = attend(GetParam(), cache, call);
              ASSERT_EQ(0, std::memcmp(alone.data(), &out[row * stride], alone.size() * sizeof(float)))
                  << "row " << row << " of " << heads << " heads, count " << count << ", window " << window;
              for (int64_t i = heads * head_dim; i < stride; ++i) ASSERT_EQ(out[row * stride + i], kUntouched);
            }
          }
        }
      }
    }
  }
}

// A cache in F16 against the keys and values that were put in: each is off by at most 2^-11 of itself.
TEST_P(Attention, HalfPrecisionCostsWhatItsRoundingAllows) {
  Rng rng(23);
  Rng again = rng;
  const Cache half(KvType::f16, 64, 150, rng), whole(KvType::f32, 64, 150, again);
  const Call call = random_call(4, 64, 0, 150, rng);
  const Exact expected = exact(whole, call, 0x1p-11);
  const auto got = attend(GetParam(), half, call);
  expect_near(got, expected, "f16 cache");
  EXPECT_NE(got, attend(GetParam(), whole, call));
}

// What a key or value may be off by, given the largest of its head: half a step of 1/127 of it in INT8; in E4M3 2^-4 of
// itself, or half a step of the smallest numbers, 2^-9 of the scale.
double step_of(KvType type, double x, double largest) {
  if (type == KvType::i8) return 0.5 / 127 * largest;
  return std::max(0x1p-4 * std::fabs(x), 0x1p-10 / 448 * largest) + 4 * kUnit * std::fabs(x);
}

TEST_P(Attention, CodesCostWhatTheirRoundingAllows) {
  for (const KvType type : {KvType::i8, KvType::e4m3}) {
    Rng rng(24);
    Rng again = rng;
    const Cache codes(type, 64, 150, rng), whole(KvType::f32, 64, 150, again);
    const Call call = random_call(4, 64, 0, 150, rng);
    double key_error = 0, value_error = 0, top = 0;  // of a score, and of a value
    for (int64_t t = 0; t < 150; ++t) {
      const float *key = &whole.keys[t][call.kv_head * 64], *value = &whole.values[t][call.kv_head * 64];
      double largest_key = 0, largest_value = 0;
      for (int64_t d = 0; d < 64; ++d) {
        largest_key = std::max<double>(largest_key, std::fabs(key[d]));
        largest_value = std::max<double>(largest_value, std::fabs(value[d]));
      }
      for (int64_t h = 0; h < 4; ++h) {
        double error = 0;
        for (int64_t d = 0; d < 64; ++d) error += std::fabs(call.query[h * 64 + d]) * step_of(type, key[d], largest_key);
        key_error = std::max(key_error, error * call.scale);
      }
      value_error = std::max(value_error, step_of(type, largest_value, largest_value));
      top = std::max(top, largest_value);
    }
    const auto got = attend(GetParam(), codes, call), expected = attend(GetParam(), whole, call);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], value_error + std::expm1(2 * key_error) * top + 1e-5);
    EXPECT_NE(got, expected);
  }
}

TEST_P(Attention, NotFiniteKeysAndValuesAreSeenInAScaledCache) {
  Rng rng(25);
  for (const KvType type : {KvType::i8, KvType::e4m3}) {
    for (const bool in_key : {true, false}) {
      Cache cache(type, 32, 20, rng);
      std::vector<float> key(kKvHeads * 32, 0.5f), value = key;
      (in_key ? key : value)[32 + 3] = INFINITY;  // head 1
      cache.set(7, key, value);
      Call call = random_call(2, 32, 0, 20, rng);
      for (call.kv_head = 0; call.kv_head < 2; ++call.kv_head)
        for (float v : attend(GetParam(), cache, call)) EXPECT_EQ(std::isnan(v), call.kv_head == 1);
      for (const float number : {NAN, INFINITY}) {
        call.kv_head = 0;
        call.query[32 + 5] = number;  // the second head's
        const auto out = attend(GetParam(), cache, call);
        for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i >= 32) << number;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, Attention, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
