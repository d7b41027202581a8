// SPDX-License-Identifier: Apache-2.0
// Blocks of the cache: who holds which, and what comes back.
#include "model/kv_cache.h"

#include <algorithm>
#include <set>

#include "base/rng.h"
#include "model/model_test.h"

namespace codecllm {
namespace {

ModelSpec small() {
  ModelSpec spec;
  spec.layers = 2, spec.kv_heads = 3, spec.head_dim = 20;
  return spec;
}

TEST(KvCache, GrowsAndShrinksByWholeBlocks) {
  KvCache cache(small(), KvType::f32, 3 * kKvBlock);
  KvSequence sequence;
  EXPECT_EQ(cache.free_slots(), 3 * kKvBlock);
  const struct {
    int64_t count, blocks;
  } kSteps[] = {{0, 0}, {1, 1}, {kKvBlock - 1, 1}, {1, 2}, {kKvBlock, 3}, {kKvBlock - 1, 3}};
  int64_t length = 0;
  for (const auto& [count, blocks] : kSteps) {
    cache.grow(sequence, count);
    length += count;
    EXPECT_EQ(sequence.length, length);
    EXPECT_EQ(static_cast<int64_t>(sequence.blocks.size()), blocks);
    EXPECT_EQ(cache.free_slots(), (3 - blocks) * kKvBlock);
  }
  const auto blocks = sequence.blocks;
  const int64_t steps[][2] = {{2 * kKvBlock + 1, 3}, {2 * kKvBlock, 2}, {kKvBlock + 1, 2}, {1, 1}, {0, 0}};
  for (const auto& [left, held] : steps) {
    cache.truncate(sequence, left);
    EXPECT_EQ(sequence.length, left);
    EXPECT_EQ(sequence.blocks, std::vector<int32_t>(blocks.begin(), blocks.begin() + held));
    EXPECT_EQ(cache.free_slots(), (3 - held) * kKvBlock);
  }
}

TEST(KvCache, RoundsUpForEverySequence) {
  // Two sequences with 65 tokens together may need three blocks: 64 + 1 in one, or 1 and 64.
  for (int64_t first : {1, 32, 64}) {
    KvCache cache(small(), KvType::f16, 65, 2);
    KvSequence a, b;
    cache.grow(a, first);
    EXPECT_NO_THROW(cache.grow(b, 65 - first));
  }
}

TEST(KvCache, FullCacheLeavesLengthAndContents) {
  KvCache cache(small(), KvType::f32, 2 * kKvBlock);
  KvSequence sequence;
  cache.grow(sequence, kKvBlock + 3);
  const auto blocks = sequence.blocks;
  const std::string text = error_of(ErrorCode::bad_call, [&] { cache.grow(sequence, kKvBlock); });
  EXPECT_NE(text.find("64 more tokens after 67"), std::string::npos) << text;
  EXPECT_EQ(sequence.length, kKvBlock + 3);
  EXPECT_EQ(sequence.blocks, blocks);
  EXPECT_EQ(cache.free_slots(), 0);
  cache.grow(sequence, kKvBlock - 3);  // what is left still fits
  EXPECT_EQ(sequence.length, 2 * kKvBlock);
}

TEST(KvCache, BlocksAreUsedAgainAndNeverShared) {
  constexpr int64_t kBlocks = 7;
  KvCache cache(small(), KvType::f32, kBlocks * kKvBlock);
  std::vector<KvSequence> sequences(4);
  Rng rng(51);
  std::set<int32_t> seen;
  for (int step = 0; step < 2000; ++step) {
    KvSequence& sequence = sequences[rng.below(4)];
    const auto count = static_cast<int64_t>(rng.below(kKvBlock));
    const int64_t room =
        static_cast<int64_t>(sequence.blocks.size()) * kKvBlock - sequence.length + cache.free_slots();
    if (rng.below(3) == 0) {
      cache.truncate(sequence, static_cast<int64_t>(rng.below(sequence.length + 1)));
    } else if (count <= room) {
      cache.grow(sequence, count);
    }
    std::vector<int32_t> held;
    for (const KvSequence& s : sequences) held.insert(held.end(), s.blocks.begin(), s.blocks.end());
    ASSERT_EQ(static_cast<int64_t>(held.size()) * kKvBlock + cache.free_slots(), kBlocks * kKvBlock)
        << "a block is lost";
    ASSERT_EQ(std::set<int32_t>(held.begin(), held.end()).size(), held.size()) << "a block has two owners";
    for (int32_t block : held) ASSERT_TRUE(block >= 0 && block < kBlocks);
    seen.insert(held.begin(), held.end());
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kBlocks));
}

TEST(KvCache, LayersDoNotOverlapAndTheLastHasSlack) {
  for (KvType type : {KvType::f32, KvType::f16}) {
    const KvCache cache(small(), type, 5 * kKvBlock);
    const KvView first = cache.layer(0), second = cache.layer(1);
    EXPECT_EQ(second.keys - first.keys, 5 * first.block_bytes());
    EXPECT_EQ(second.values - first.values, 5 * first.block_bytes());
    EXPECT_EQ(static_cast<int64_t>(cache.bytes()), 2 * (2 * 5 * first.block_bytes() + 64));
    EXPECT_EQ(first.block_bytes(), kKvBlock * 3 * 20 * (type == KvType::f32 ? 4 : 2));
  }
}

}  // namespace
}  // namespace codecllm
