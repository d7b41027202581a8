// SPDX-License-Identifier: Apache-2.0
// What a tile of attention works on, and products with INT8 keys and values as they are: a query, and its softmax weights for
// a block times the values' scales, become 16-bit integers with a scale of their own, and pairs of products are summed exactly.
#pragma once

#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {
namespace {

// Queries at a time, each with one accumulator for every vector of keys (a lane is a token) or of a value's dimensions.
constexpr int kQueries = kManyRegisters ? 8 : 4;
constexpr int kVectors = kManyRegisters ? 2 : 1;
constexpr int kBlockVectors = kKvBlock / kKvLanes;
constexpr float kInfinity = __builtin_inff();

// One KV head of a block: numbers, or codes that are to be multiplied by the tokens' scales (else null) and by unit.
struct Block {
  const uint8_t *keys, *values;
  const float *key_scales, *value_scales;  // [kKvBlock]
  float unit;
  const uint8_t *next_keys, *next_values;  // of the block that follows
};

// A tile at work. Query j is head j % query_heads of row j / query_heads.
struct Work {
  const AttentionTile& tile;
  int64_t head_dim;
  int64_t* places;         // [queries]: where in tile.query and tile.out
  float* largest;          // [queries]: of the scores so far
  float* total;            // [queries][kKvLanes]: sums of e^(score - largest)
  float* shrink;           // [queries]: what a block changes the outputs so far by
  float* scores;           // [queries][kKvBlock]; INT8: a block's weights as int16 at the beginning of each row
  // For INT8:
  int16_t* words;                       // [queries][head_dim, made even]
  float *query_scales, *weight_scales;  // [queries]
};

// The largest 16-bit code whose sum of n products with INT8 codes stays below 2^31.
VEC float word_limit(int64_t n) { return n <= 512 ? 32512.0f : 32512.0f * 512 / static_cast<float>(n); }

// A query as 16-bit codes; returns their scale, NaN if a number of the query is not finite.
VEC float round_query(const float* query, int64_t head_dim, int16_t* words) {
  vf top = zero();
  for (int64_t d = 0; d < head_dim; d += 16) top = max_bits(top, abs(load_n(query + d, head_dim - d < 16 ? head_dim - d : 16)));
  const float largest = largest_bits(top), limit = word_limit(head_dim);
  const float inverse = largest >= kSmallestActivation && largest < kInfinity ? limit / largest : 0.0f;
  for (int64_t d = 0; d < head_dim; ++d) words[d] = static_cast<int16_t>(__builtin_nearbyintf(inverse == 0 ? 0.0f : query[d] * inverse));
  if (head_dim % 2 != 0) words[head_dim] = 0;
  if (!(largest < kInfinity)) return __builtin_nanf("");
  return inverse == 0 ? 0.0f : largest / limit;
}

// Weights [Q][kKvBlock] to 16-bit codes at the beginning of each row, and their scales [Q]. The largest of each row, in tops [Q], is at
// least kSmallestActivation; if NaN, so is the scale.
template <int Q>
VEC void round_weights(float* weights, const float* tops, float* scales) {
  float inverse[kKvLanes];
  const vf top = load_n(tops, Q), limit = set1(word_limit(kKvBlock));
  store_n(scales, div(top, limit), Q);
  store_n(inverse, div(limit, top), Q);
  for (int q = 0; q < Q; ++q) {
    float* row = weights + q * kKvBlock;
    each<kBlockVectors>(EACH(v) { store_i16(reinterpret_cast<int16_t*>(row) + v * kKvLanes, to_int(mul(load(row + v * kKvLanes), set1(inverse[q])))); });
  }
}

// What is read after the keys or the values of a block is as large as they are, and is asked for line by line beside them: what is next by
// way of the first-level cache, what comes then by way of the second.
VEC void ask(const uint8_t* next, const uint8_t* then) {
  prefetch(next);
  prefetch_far(then);
}
struct Following {
  const uint8_t *next, *then;
  int64_t step;  // bytes for each pair of codes
};

// sums [Q][V] = rows [Q] of words times `pairs` pairs of V vectors of codes.
template <int Q, int V>
VEC void multiply_codes(const int16_t* words, int64_t word_stride, const uint8_t* codes, int64_t vector_bytes, int64_t pair_bytes,
                        int64_t pairs, const Following& following, Pack<vi, Q * V>& sums) {
  each<Q * V>(EACH(i) { sums.at(i) = zero_int(); });
  for (int64_t p = 0; p < pairs; ++p) {
    ask(following.next + p * following.step, following.then + p * following.step);
    Pack<vi, V> units;
    each<V>(EACH(v) { units.at(v) = load_i8_pairs(codes + v * vector_bytes + p * pair_bytes); });
    each<Q>(EACH(q) {
      const vi x = set1_int(load32(words + q * word_stride + 2 * p));
      each<V>(EACH(v) { cell<V>(sums, q, v) = add_pairs(cell<V>(sums, q, v), units.at(v), x); });
    });
  }
}

// sums [Q][kVectors] = queries j.. times the key codes of slots [t, t + kVectors * 16).
template <int Q>
VEC void multiply_key_codes(const Work& work, const Block& block, int64_t j, int64_t t, Pack<vf, Q * kVectors>& sums) {
  const int64_t pairs = (work.head_dim + 1) / 2, vector_bytes = 2 * kKvLanes * pairs, at = t / kKvLanes * vector_bytes;
  Pack<vi, Q * kVectors> exact;
  multiply_codes<Q, kVectors>(work.words + j * 2 * pairs, 2 * pairs, block.keys + at, vector_bytes, 2 * kKvLanes, pairs,
                              {block.values + at, block.next_keys + at, kVectors * 2 * kKvLanes}, exact);
  each<Q>(EACH(q) {
    each<kVectors>(EACH(v) {
      cell<kVectors>(sums, q, v) = mul(to_float(cell<kVectors>(exact, q, v)), set1(work.query_scales[j + q]));
    });
  });
}

// sums [Q][V] = weight codes [Q] (in rows of kKvBlock floats) of slots [begin, end) times the value codes of dimensions d0..
template <int Q, int V>
VEC void multiply_value_codes(const Work& work, const Block& block, const float* weights, const float* scales, int64_t begin, int64_t end,
                              int64_t d0, Pack<vf, Q * V>& sums) {
  const int64_t first = begin / 2, pair_bytes = 2 * work.head_dim, at = first * pair_bytes + 2 * d0;
  Pack<vi, Q * V> exact;
  multiply_codes<Q, V>(reinterpret_cast<const int16_t*>(weights) + 2 * first, 2 * kKvBlock, block.values + at, 2 * kKvLanes, pair_bytes,
                       (end + 1) / 2 - first, {block.next_keys + at, block.next_values + at, pair_bytes}, exact);
  each<Q>(EACH(q) { each<V>(EACH(v) { cell<V>(sums, q, v) = mul(to_float(cell<V>(exact, q, v)), set1(scales[q])); }); });
}

}  // namespace
}  // namespace codecllm::CODECLLM_TIER
