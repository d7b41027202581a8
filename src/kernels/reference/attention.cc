// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "format/float16.h"
#include "format/float8.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

// Element `index` of one head of a block; it belongs to the token in `slot`.
float get(const KvView& kv, const uint8_t* base, int64_t index, int64_t slot) {
  const auto scale = [&] { return reinterpret_cast<const float*>(base + kv.code_bytes())[slot]; };
  switch (kv.type) {
    case KvType::f32: return reinterpret_cast<const float*>(base)[index];
    case KvType::f16: return f16_to_f32(reinterpret_cast<const uint16_t*>(base)[index]);
    case KvType::i8: return static_cast<float>(static_cast<int8_t>(base[index])) * scale();
    default: return float8_to_f32(base[index], kE4m3) * scale();
  }
}

// The place of cache slot t: its block's keys (or values) for the tile's KV head.
const uint8_t* head_of(const KvView& kv, const uint8_t* base, const AttentionTile& tile, int64_t t) {
  return base + tile.blocks[t / kKvBlock] * kv.block_bytes() + tile.kv_head * kv.head_bytes();
}

float score(const KvView& kv, const AttentionTile& tile, const float* query, int64_t t) {
  const uint8_t* keys = head_of(kv, kv.keys, tile, t);
  const int64_t slot = t % kKvBlock;
  double sum = 0;
  for (int64_t d = 0; d < kv.head_dim; ++d)
    sum += static_cast<double>(query[d]) * get(kv, keys, kv.key_index(slot, d), slot);
  return static_cast<float>(sum * tile.scale);
}

// One query by definition: the largest score, then weights and sums, for a few dimensions of the output at a time.
void attend_query(const KvView& kv, const AttentionTile& tile, const float* query, int64_t first, int64_t count, float* out) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t t = first; t < count; ++t) {
    const float s = score(kv, tile, query, t);
    largest = s > largest || std::isnan(s) ? s : largest;
  }
  constexpr int64_t kDimensions = 64;
  for (int64_t d0 = 0; d0 < kv.head_dim; d0 += kDimensions) {
    const int64_t n = std::min(kDimensions, kv.head_dim - d0);
    double total = 0, sums[kDimensions] = {};
    for (int64_t t = first; t < count; ++t) {
      const float weight = std::exp(score(kv, tile, query, t) - largest);
      const uint8_t* values = head_of(kv, kv.values, tile, t);
      const int64_t slot = t % kKvBlock;
      total += weight;
      for (int64_t d = 0; d < n; ++d) sums[d] += static_cast<double>(weight) * get(kv, values, kv.value_index(slot, d0 + d), slot);
    }
    for (int64_t d = 0; d < n; ++d) out[d0 + d] = static_cast<float>(sums[d] / total);
  }
}

void attend(const KvView& kv, const AttentionTile& tile) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t h = 0; h < tile.query_heads; ++h) {
      const int64_t at = row * tile.stride + h * kv.head_dim;
      attend_query(kv, tile, tile.query + at, tile.first(row), tile.count + row, tile.out + at);
    }
  }
}

}  // namespace

void fill_attention(KernelTable& table) { table.attend = attend; }

}  // namespace codecllm::reference
