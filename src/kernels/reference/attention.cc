// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "format/float16.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

// Element `index` of one head of a block; it belongs to the token in `slot`.
float get(const KvView& kv, const uint8_t* base, int64_t index, int64_t slot) {
  switch (kv.type) {
    case KvType::f32: return reinterpret_cast<const float*>(base)[index];
    case KvType::f16: return f16_to_f32(reinterpret_cast<const uint16_t*>(base)[index]);
    default: return static_cast<float>(static_cast<int8_t>(base[index])) * reinterpret_cast<const float*>(base + kv.code_bytes())[slot];
  }
}

// The place of cache slot t: its block's keys (or values) for the row's KV head, and its index within the block.
const uint8_t* head_of(const KvView& kv, const uint8_t* base, const AttentionRow& row, int64_t t) {
  return base + row.blocks[t / kKvBlock] * kv.block_bytes() + row.kv_head * kv.head_bytes();
}

float score(const KvView& kv, const AttentionRow& row, const float* query, int64_t t) {
  const uint8_t* keys = head_of(kv, kv.keys, row, t);
  const int64_t slot = t % kKvBlock;
  double sum = 0;
  for (int64_t d = 0; d < kv.head_dim; ++d)
    sum += static_cast<double>(query[d]) * get(kv, keys, (slot / kKvLanes * kv.head_dim + d) * kKvLanes + slot % kKvLanes, slot);
  return static_cast<float>(sum * row.scale);
}

void attend(const KvView& kv, const AttentionRow& row) {
  for (int64_t h = 0; h < row.query_heads; ++h) {
    const float* query = row.query + h * kv.head_dim;
    float* scores = row.scores + h * round_up(row.count, kKvBlock);
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t t = row.first; t < row.count; ++t) {
      scores[t] = score(kv, row, query, t);
      largest = scores[t] > largest || std::isnan(scores[t]) ? scores[t] : largest;
    }
    double total = 0;
    for (int64_t t = row.first; t < row.count; ++t) total += scores[t] = std::exp(scores[t] - largest);
    for (int64_t d = 0; d < kv.head_dim; ++d) {
      double sum = 0;
      for (int64_t t = row.first; t < row.count; ++t)
        sum += static_cast<double>(scores[t]) * get(kv, head_of(kv, kv.values, row, t), t % kKvBlock * kv.head_dim + d, t % kKvBlock);
      row.out[h * kv.head_dim + d] = static_cast<float>(sum / total);
    }
  }
}

}  // namespace

void fill_attention(KernelTable& table) { table.attend = attend; }

}  // namespace codecllm::reference
