// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include <algorithm>
#include <string>

#include "codecllm/error.h"

namespace codecllm {

static constexpr int64_t kSlackBytes = 64;  // kernels read values sixteen at a time

KvType kv_type(std::string_view name) {
  if (name == "f32") return KvType::f32;
  if (name == "f16") return KvType::f16;
  if (name == "int8") return KvType::i8;
  if (name == "fp8") return KvType::e4m3;
  throw Error(ErrorCode::bad_call, "kv cache", "no type '" + std::string(name) + "'; there are: f16, f32, int8, fp8");
}

KvCache::KvCache(const ModelSpec& spec, KvType type, int64_t tokens, int64_t sequences)
    : shape_{.type = type, .heads = spec.kv_heads, .head_dim = spec.head_dim, .keys = nullptr, .values = nullptr},
      blocks_((tokens + kKvBlock - 1) / kKvBlock + sequences - 1) {
  const auto bytes = static_cast<size_t>(spec.layers * blocks_ * shape_.block_bytes() + kSlackBytes);
  keys_ = Buffer(bytes);
  values_ = Buffer(bytes);
  for (int64_t b = blocks_ - 1; b >= 0; --b) free_.push_back(static_cast<int32_t>(b));
}

KvView KvCache::layer(int64_t layer) const {
  KvView view = shape_;
  const int64_t offset = layer * blocks_ * shape_.block_bytes();
  view.keys = const_cast<uint8_t*>(keys_.as<uint8_t>().data()) + offset;
  view.values = const_cast<uint8_t*>(values_.as<uint8_t>().data()) + offset;
  return view;
}

void KvCache::grow(KvSequence& sequence, int64_t count) {
  const int64_t needed = (sequence.length + count + kKvBlock - 1) / kKvBlock - static_cast<int64_t>(sequence.blocks.size());
  if (needed > static_cast<int64_t>(free_.size()))
    throw Error(ErrorCode::bad_call, "kv cache",
                "no room for " + std::to_string(count) + " more tokens after " + std::to_string(sequence.length));
  sequence.length += count;
  while (static_cast<int64_t>(sequence.blocks.size()) * kKvBlock < sequence.length) {
    sequence.blocks.push_back(free_.back());
    free_.pop_back();
  }
}

void KvCache::truncate(KvSequence& sequence, int64_t length) {
  sequence.length = std::min(sequence.length, length);
  while (!sequence.blocks.empty() && (static_cast<int64_t>(sequence.blocks.size()) - 1) * kKvBlock >= sequence.length) {
    free_.push_back(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
}

}  // namespace codecllm
