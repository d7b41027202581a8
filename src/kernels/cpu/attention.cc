// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {

namespace {

template <KvType T>
VEC vf load_kv(const uint8_t* base, int64_t index) {
  if constexpr (T == KvType::f32) return load(reinterpret_cast<const float*>(base) + index);
  if constexpr (T == KvType::i8) return load_i8(base + index);
  return load_f16(reinterpret_cast<const uint16_t*>(base) + index);
}

VEC const float* scales_of(const KvView& kv, const uint8_t* head) { return reinterpret_cast<const float*>(head + kv.code_bytes()); }

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
    vf factor = set1(row.scale);
    if constexpr (T == KvType::i8) factor = mul(factor, load(scales_of(kv, keys) + t % kKvBlock));
    for (int h = 0; h < H; ++h) store(row.scores + (h0 + h) * stride + t, mul(sums[h], factor));
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

// out = weights . values for V vectors of sixteen dimensions of H query heads, which share every value that is loaded;
// head_dim that is not a multiple of 16 ends in a tail.
template <KvType T, int V, int H>
void mix(const KvView& kv, const AttentionRow& row, const float* weights, int64_t stride, const float* inverse, int64_t d0,
         float* out) {
  vf sums[H][V];
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < V; ++v) sums[h][v] = zero();
  for (int64_t t = row.first; t < row.count; ++t) {
    const uint8_t* values =
        kv.values + row.blocks[t / kKvBlock] * kv.block_bytes() + row.kv_head * kv.head_bytes();
    const int64_t at = t % kKvBlock * kv.head_dim + d0;
    float scale = 1;
    if constexpr (T == KvType::i8) scale = scales_of(kv, values)[t % kKvBlock];
    vf loaded[V];
    for (int v = 0; v < V; ++v) loaded[v] = load_kv<T>(values, at + v * 16);
    for (int h = 0; h < H; ++h) {
      const vf weight = set1(T == KvType::i8 ? weights[h * stride + t] * scale : weights[h * stride + t]);
      for (int v = 0; v < V; ++v) sums[h][v] = fma(weight, loaded[v], sums[h][v]);
    }
  }
  for (int h = 0; h < H; ++h) {
    for (int v = 0; v < V; ++v) {
      const int64_t left = kv.head_dim - d0 - v * 16;
      store_n(out + h * kv.head_dim + d0 + v * 16, mul(sums[h][v], set1(inverse[h])), left < 16 ? left : 16);
    }
  }
}

// Scores, weights and mix of H query heads from h0.
template <KvType T, int H>
void attend_heads(const KvView& kv, const AttentionRow& row, int64_t h0) {
  constexpr int kWide = kManyRegisters || H == 1 ? 4 : 1;
  const int64_t stride = round_up(row.count, kKvBlock);
  float* weights = row.scores + h0 * stride;
  float* out = row.out + h0 * kv.head_dim;
  float inverse[H];
  score<T, H>(kv, row, h0, stride);
  for (int h = 0; h < H; ++h) inverse[h] = 1.0f / softmax(weights + h * stride, row.first, row.count);
  int64_t d = 0;
  for (; d + 16 * kWide <= kv.head_dim; d += 16 * kWide) mix<T, kWide, H>(kv, row, weights, stride, inverse, d, out);
  for (; d < kv.head_dim; d += 16) mix<T, 1, H>(kv, row, weights, stride, inverse, d, out);
}

template <KvType T>
void attend_typed(const KvView& kv, const AttentionRow& row) {
  int64_t h = 0;
  for (; h + 4 <= row.query_heads; h += 4) attend_heads<T, 4>(kv, row, h);
  for (; h + 2 <= row.query_heads; h += 2) attend_heads<T, 2>(kv, row, h);
  if (h < row.query_heads) attend_heads<T, 1>(kv, row, h);
}

void attend(const KvView& kv, const AttentionRow& row) {
  const auto run = kv.type == KvType::f32 ? attend_typed<KvType::f32> : kv.type == KvType::f16 ? attend_typed<KvType::f16> : attend_typed<KvType::i8>;
  run(kv, row);
}

}  // namespace

void fill_attention(KernelTable& table) { table.attend = attend; }

}  // namespace codecllm::CODECLLM_TIER
