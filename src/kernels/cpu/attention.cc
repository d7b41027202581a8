// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {

namespace {

template <KvType T>
VEC vf load_kv(const uint8_t* base, int64_t index) {
  if constexpr (T == KvType::f32) return load(reinterpret_cast<const float*>(base) + index);
  return load_f16(reinterpret_cast<const uint16_t*>(base) + index);
}

// Scores of sixteen tokens at a time (a lane is a token) for H query heads, which share every key that is loaded.
template <KvType T, int H>
void score(const KvView& kv, const AttentionRow& row, int64_t h0, int64_t stride) {
  for (int64_t t = row.first / kKvLanes * kKvLanes; t < row.count; t += kKvLanes) {
    const uint8_t* keys =
        kv.keys + row.blocks[t / kKvBlock] * kv.block_bytes() + row.kv_head * kv.head_bytes();
    const int64_t first = t % kKvBlock * kv.head_dim;
    vf sums[H];
    for (int h = 0; h < H; ++h) sums[h] = zero();
    for (int64_t d = 0; d < kv.head_dim; ++d) {
      const vf key = load_kv<T>(keys, first + d * kKvLanes);
      for (int h = 0; h < H; ++h) sums[h] = fma(key, set1(row.query[(h0 + h) * kv.head_dim + d]), sums[h]);
    }
    for (int h = 0; h < H; ++h) store(row.scores + (h0 + h) * stride + t, mul(sums[h], set1(row.scale)));
  }
}

// Scores to e^(score - largest), zero outside [first, count); returns their sum.
float softmax(float* scores, int64_t first, int64_t count) {
  vf top = set1(-__builtin_inff());
  int64_t t = first;
  for (; count - t >= 16; t += 16) top = max(top, load(scores + t));
  float amax = largest(top);
  for (; t < count; ++t) amax = scores[t] > amax ? scores[t] : amax;
  vf total = zero();
  for (t = first; t < count; t += 16) {
    const int64_t left = count - t < 16 ? count - t : 16;
    const vf weight = exp(sub(load_n(scores + t, left), set1(amax)));
    store_n(scores + t, weight, left);
    total = add(total, load_n(scores + t, left));
  }
  return sum(total);
}

// out = weights . values for V vectors of sixteen dimensions; head_dim that is not a multiple of 16 ends in a tail.
template <KvType T, int V>
void mix(const KvView& kv, const AttentionRow& row, const float* weights, float inverse, int64_t d0, float* out) {
  vf sums[V];
  for (int v = 0; v < V; ++v) sums[v] = zero();
  for (int64_t t = row.first; t < row.count; ++t) {
    const uint8_t* values =
        kv.values + row.blocks[t / kKvBlock] * kv.block_bytes() + row.kv_head * kv.head_bytes();
    const vf weight = set1(weights[t]);
    const int64_t at = t % kKvBlock * kv.head_dim + d0;
    for (int v = 0; v < V; ++v) sums[v] = fma(weight, load_kv<T>(values, at + v * 16), sums[v]);
  }
  for (int v = 0; v < V; ++v) {
    const int64_t left = kv.head_dim - d0 - v * 16;
    store_n(out + d0 + v * 16, mul(sums[v], set1(inverse)), left < 16 ? left : 16);
  }
}

template <KvType T>
void attend_typed(const KvView& kv, const AttentionRow& row) {
  const int64_t stride = round_up(row.count, kKvBlock);
  int64_t h = 0;
  for (; h + 4 <= row.query_heads; h += 4) score<T, 4>(kv, row, h, stride);
  for (; h + 2 <= row.query_heads; h += 2) score<T, 2>(kv, row, h, stride);
  if (h < row.query_heads) score<T, 1>(kv, row, h, stride);
  for (h = 0; h < row.query_heads; ++h) {
    float* weights = row.scores + h * stride;
    const float inverse = 1.0f / softmax(weights, row.first, row.count);
    int64_t d = 0;
    for (; d + 64 <= kv.head_dim; d += 64) mix<T, 4>(kv, row, weights, inverse, d, row.out + h * kv.head_dim);
    for (; d < kv.head_dim; d += 16) mix<T, 1>(kv, row, weights, inverse, d, row.out + h * kv.head_dim);
  }
}

void attend(const KvView& kv, const AttentionRow& row) {
  if (kv.type == KvType::f32) {
    attend_typed<KvType::f32>(kv, row);
  } else {
    attend_typed<KvType::f16>(kv, row);
  }
}

}  // namespace

void fill_attention(KernelTable& table) { table.attend = attend; }

}  // namespace codecllm::CODECLLM_TIER
