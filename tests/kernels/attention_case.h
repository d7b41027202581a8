// SPDX-License-Identifier: Apache-2.0
// A cache and a call for the tests of attention.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "base/rng.h"
#include "format/float16.h"
#include "format/float8.h"
#include "kernels/dispatch.h"

namespace codecllm {

inline constexpr int64_t kKvHeads = 3;
inline constexpr float kUntouched = -7777.125f;

// One sequence's keys and values [tokens][kv heads][head_dim], as a kernel sees them and as plain numbers.
// The blocks are scattered over a cache whose unused places hold NaN.
class Cache {
 public:
  Cache(KvType type, int64_t head_dim, int64_t tokens, Rng& rng)
      : view_{.type = type, .heads = kKvHeads, .head_dim = head_dim, .keys = nullptr, .values = nullptr} {
    const int64_t used = (tokens + kKvBlock - 1) / kKvBlock, all = 2 * used + 1;
    blocks_.resize(all);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    for (size_t i = blocks_.size() - 1; i > 0; --i) std::swap(blocks_[i], blocks_[rng.below(i + 1)]);
    for (auto* bytes : {&key_bytes_, &value_bytes_})
      bytes->assign(all * view_.block_bytes() + 64,
                    0xFF);  // NaN in both types; 64 bytes of slack as in KvCache
    view_.keys = key_bytes_.data();
    view_.values = value_bytes_.data();
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<float> key, value;
      for (int64_t i = 0; i < kKvHeads * head_dim; ++i) {
        key.push_back(static_cast<float>(rng.normal()));
        value.push_back(static_cast<float>(rng.normal()));
      }
      set(t, key, value);
    }
  }

  void set(int64_t t, const std::vector<float>& key, const std::vector<float>& value) {
    kernels_for(Isa::reference)
        .store_kv(view_, blocks_[t / kKvBlock], t % kKvBlock, key.data(), value.data());
    keys.resize(std::max<size_t>(keys.size(), t + 1));
    values.resize(keys.size());
    keys[t] = key;
    values[t] = value;
    for (auto* row : {&keys[t], &values[t]}) {
      if (view_.type == KvType::f16)
        for (float& v : *row) v = f16_to_f32(f32_to_f16(v));
      for (int64_t h = 0; h < kKvHeads && is_scaled(view_.type); ++h) {
        const std::span<float> head(row->data() + h * view_.head_dim, static_cast<size_t>(view_.head_dim));
        float largest = 0;
        for (float v : head) largest = std::max(largest, std::fabs(v));
        const float limit = view_.type == KvType::i8 ? 127.0f : 448.0f, scale = largest / limit, inverse = limit / largest;
        for (float& v : head)
          v = (view_.type == KvType::i8 ? std::nearbyint(v * inverse) : float8_to_f32(f32_to_float8(v * inverse, kE4m3), kE4m3)) * scale;
      }
    }
  }

  const KvView& view() const { return view_; }
  const int32_t* blocks() const { return blocks_.data(); }

  std::vector<std::vector<float>> keys, values;

 private:
  KvView view_;
  std::vector<int32_t> blocks_;
  std::vector<uint8_t> key_bytes_, value_bytes_;
};

struct Call {
  std::vector<float> query;  // [heads][head_dim]
  int64_t heads, kv_head, first, count;
  float scale;
};

// One row, or several whose queries and outputs lie in [rows][stride].
inline AttentionTile tile_of(const Cache& cache, const Call& call, std::vector<float>& scratch) {
  scratch.assign(attention_scratch(std::max(call.heads, kAttentionQueries), cache.view().head_dim), NAN);
  return {.query = call.query.data(),
          .out = nullptr,
          .stride = call.heads * cache.view().head_dim,
          .rows = 1,
          .query_heads = call.heads,
          .kv_head = call.kv_head,
          .blocks = cache.blocks(),
          .count = call.count,
          .window = call.count - call.first,
          .scale = call.scale,
          .scratch = scratch.data()};
}

inline std::vector<float> attend(Isa isa, const Cache& cache, const Call& call) {
  std::vector<float> out(call.query.size() + 32, kUntouched), scratch;
  AttentionTile tile = tile_of(cache, call, scratch);
  tile.out = out.data();
  kernels_for(isa).attend(cache.view(), tile);
  for (size_t i = call.query.size(); i < out.size(); ++i)
    EXPECT_EQ(out[i], kUntouched) << "written behind the output";
  out.resize(call.query.size());
  return out;
}

inline Call random_call(int64_t heads, int64_t head_dim, int64_t first, int64_t count, Rng& rng) {
  Call call = {{},    heads, static_cast<int64_t>(rng.below(kKvHeads)),
               first, count, 1.0f / std::sqrt(static_cast<float>(head_dim))};
  for (int64_t i = 0; i < heads * head_dim; ++i) call.query.push_back(static_cast<float>(rng.normal()));
  return call;
}

}  // namespace codecllm
