// SPDX-License-Identifier: Apache-2.0
// Where a token's key and value go in the cache, to the byte.
#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "kernels/dispatch.h"

namespace codecllm {
namespace {

std::vector<float> numbers(int64_t n, double width, Rng& rng) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(rng.normal() * width);
  return x;
}

class StoreKv : public ::testing::TestWithParam<Isa> {};

TEST_P(StoreKv, WritesTheSameBytesAndNoOthers) {
  Rng rng(12);
  for (KvType type : {KvType::f32, KvType::f16, KvType::i8, KvType::e4m3}) {
    for (int64_t head_dim : {1, 16, 20, 33, 128}) {
      KvView kv = {.type = type, .heads = 3, .head_dim = head_dim, .keys = nullptr, .values = nullptr};
      const auto bytes = static_cast<size_t>(2 * kv.block_bytes() + 64);
      std::vector<uint8_t> expected[2] = {std::vector<uint8_t>(bytes, 0xA5),
                                          std::vector<uint8_t>(bytes, 0xA5)};
      auto got0 = expected[0], got1 = expected[1];
      for (int64_t slot : {0, 15, 16, 63}) {
        const auto key = numbers(3 * head_dim, 1, rng), value = numbers(3 * head_dim, 1e-6, rng);
        kv.keys = expected[0].data(), kv.values = expected[1].data();
        kernels_for(Isa::reference).store_kv(kv, 1, slot, key.data(), value.data());
        kv.keys = got0.data(), kv.values = got1.data();
        kernels_for(GetParam()).store_kv(kv, 1, slot, key.data(), value.data());
      }
      EXPECT_EQ(got0, expected[0]);
      EXPECT_EQ(got1, expected[1]);
      for (int64_t i = 0; i < kv.block_bytes(); ++i)
        ASSERT_TRUE(got0[i] == 0xA5 && got1[i] == 0xA5) << "other block";
      for (size_t i = bytes - 64; i < bytes; ++i) ASSERT_TRUE(got0[i] == 0xA5 && got1[i] == 0xA5) << "slack";
    }
  }
}

// The layout that views.h describes: a lane of a key line is a token, a value line is a token.
TEST_P(StoreKv, FollowsTheLayout) {
  constexpr int64_t kHeads = 2, kDim = 5, kBlock = 1, kSlot = 37;
  std::vector<float> keys(2 * kHeads * kKvBlock * kDim), values(keys.size()), key(kHeads * kDim),
      value(kHeads * kDim);
  for (size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<float>(i + 1), value[i] = static_cast<float>(i + 100);
  const KvView kv = {.type = KvType::f32,
                     .heads = kHeads,
                     .head_dim = kDim,
                     .keys = reinterpret_cast<uint8_t*>(keys.data()),
                     .values = reinterpret_cast<uint8_t*>(values.data())};
  kernels_for(GetParam()).store_kv(kv, kBlock, kSlot, key.data(), value.data());
  for (int64_t h = 0; h < kHeads; ++h) {
    const int64_t head = (kBlock * kHeads + h) * kKvBlock * kDim;
    for (int64_t d = 0; d < kDim; ++d) {
      EXPECT_EQ(keys[head + (kSlot / 16 * kDim + d) * 16 + kSlot % 16], key[h * kDim + d]);
      EXPECT_EQ(values[head + kSlot * kDim + d], value[h * kDim + d]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, StoreKv, ::testing::ValuesIn(available_isas()),
                         [](const auto& tier) { return std::string(isa_name(tier.param)); });

}  // namespace
}  // namespace codecllm
