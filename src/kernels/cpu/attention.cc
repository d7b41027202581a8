// SPDX-License-Identifier: Apache-2.0
// One pass over the cache, a block at a time, with running maxima and sums (Dao et al. 2022, algorithm 1). Blocks begin
// at multiples of kKvBlock slots, and every query takes its blocks in order, alone or beside others: so its result has
// the same bits in a prompt as token by token.
#include "kernels/cpu/attention_codes.h"

namespace codecllm::CODECLLM_TIER {

namespace {

template <KvType T>
VEC vf load_kv(const uint8_t* base, int64_t index) {
  if constexpr (T == KvType::f32) return load(reinterpret_cast<const float*>(base) + index);
  if constexpr (T == KvType::e4m3) return load_e4m3(base + index);
  return load_f16(reinterpret_cast<const uint16_t*>(base) + index);
}

// sums [Q][kVectors] = queries j.. times the keys of slots [t, t + kVectors * 16).
template <KvType T, int Q>
VEC void multiply_keys(const Work& work, const Block& block, int64_t j, int64_t t, Pack<vf, Q * kVectors>& sums) {
  const float* queries[Q];
  for (int q = 0; q < Q; ++q) queries[q] = work.tile.query + work.places[j + q];
  each<Q * kVectors>(EACH(i) { sums.at(i) = zero(); });
  for (int64_t d = 0; d < work.head_dim; ++d) {
    const int64_t at = (t * work.head_dim + kVectors * d * kKvLanes) * kv_bytes(T);
    ask(block.values + at, block.next_keys + at);
    Pack<vf, kVectors> keys;
    each<kVectors>(EACH(v) { keys.at(v) = load_kv<T>(block.keys, (t + v * kKvLanes) * work.head_dim + d * kKvLanes); });
    each<Q>(EACH(q) {
      const vf x = set1(queries[q][d]);
      each<kVectors>(EACH(v) { cell<kVectors>(sums, q, v) = fma(keys.at(v), x, cell<kVectors>(sums, q, v)); });
    });
  }
}

// Scores [Q][kKvBlock] of queries j.. for slots [begin, end) of a block and those that share vectors with them.
template <KvType T, int Q>
void score(const Work& work, const Block& block, int64_t j, int64_t begin, int64_t end, float* scores) {
  constexpr int64_t kStep = kVectors * kKvLanes;
  for (int64_t t = begin / kStep * kStep; t < end; t += kStep) {
    Pack<vf, Q * kVectors> sums;
    if constexpr (T == KvType::i8) {
      multiply_key_codes<Q>(work, block, j, t, sums);
    } else {
      multiply_keys<T, Q>(work, block, j, t, sums);
    }
    each<kVectors>(EACH(v) {
      vf factor = set1(work.tile.scale * block.unit);
      if (block.key_scales != nullptr) factor = mul(factor, load(block.key_scales + t + v * kKvLanes));
      each<Q>(EACH(q) { store(scores + q * kKvBlock + t + v * kKvLanes, mul(cell<kVectors>(sums, q, v), factor)); });
    });
  }
}

// Scores [Q][kKvBlock] to weights e^(score - largest), zero outside [begin, end), times scales [kKvBlock] of the values; shrink [Q]:
// what the outputs so far are to be multiplied with.
template <KvType T, int Q>
VEC void weigh(const Work& work, const float* scales, int64_t j, int64_t begin, int64_t end, float* scores, float* shrink) {
  static_assert(Q <= kKvLanes);
  float base[kKvLanes], before[kKvLanes];
  for (int q = 0; q < Q; ++q) {
    float* row = scores + q * kKvBlock;
    for (int64_t t = 0; t < begin; ++t) row[t] = -kInfinity;
    for (int64_t t = end; t < kKvBlock; ++t) row[t] = -kInfinity;
    vf top = set1(work.largest[j + q]);
    each<kBlockVectors>(EACH(v) { top = max(load(row + v * kKvLanes), top); });  // NaN is passed over, and comes out of exp
    const float after = largest(top);
    before[q] = work.largest[j + q];
    base[q] = after == -kInfinity ? 0.0f : after;
    work.largest[j + q] = after;
  }
  store_n(shrink, exp(sub(load_n(before, Q), load_n(base, Q))), Q);
  float tops[kKvLanes];
  for (int q = 0; q < Q; ++q) {
    float *row = scores + q * kKvBlock, *total = work.total + (j + q) * kKvLanes;
    vf sums = mul(load(total), set1(shrink[q])), top = set1(kSmallestActivation);
    each<kBlockVectors>(EACH(v) {
      vf weight = exp(sub(load(row + v * kKvLanes), set1(base[q])));
      sums = add(sums, weight);
      weight = mul(weight, load(scales + v * kKvLanes));
      if constexpr (T == KvType::i8) top = max_bits(top, weight);
      store(row + v * kKvLanes, weight);
    });
    store(total, sums);
    if constexpr (T == KvType::i8) tops[q] = largest_bits(top);
  }
  if constexpr (T == KvType::i8) round_weights<Q>(scores, tops, work.weight_scales + j);
}

// sums [Q][V] = weights of queries j.. for slots [begin, end) times the values' dimensions d0..
template <KvType T, int Q, int V>
VEC void multiply_values(const Work& work, const Block& block, const float* weights, int64_t begin, int64_t end, int64_t d0,
                         Pack<vf, Q * V>& sums) {
  each<Q * V>(EACH(i) { sums.at(i) = zero(); });
  for (int64_t t = begin; t < end; ++t) {
    const int64_t at = (t * work.head_dim + d0) * kv_bytes(T);
    ask(block.next_keys + at, block.next_values + at);
    Pack<vf, V> values;
    each<V>(EACH(v) { values.at(v) = load_kv<T>(block.values, t * work.head_dim + d0 + v * 16); });
    each<Q>(EACH(q) {
      const vf weight = set1(weights[q * kKvBlock + t]);
      each<V>(EACH(v) { cell<V>(sums, q, v) = fma(weight, values.at(v), cell<V>(sums, q, v)); });
    });
  }
}

// out = out * shrink + weights . values for queries j.. and slots [begin, end).
template <KvType T, int Q>
void mix(const Work& work, const Block& block, int64_t j, int64_t begin, int64_t end, const float* weights, const float* shrink) {
  float* outs[Q];
  for (int q = 0; q < Q; ++q) outs[q] = work.tile.out + work.places[j + q];
  const auto vectors = [&]<int V>(Index<V>, int64_t d0) __attribute__((always_inline)) {
    const int64_t last = work.head_dim - d0 - (V - 1) * 16, n = last < 16 ? last : 16;  // dimensions of the last vector
    Pack<vf, Q * V> sums;
    if constexpr (T == KvType::i8) {
      multiply_value_codes<Q, V>(work, block, weights, work.weight_scales + j, begin, end, d0, sums);
    } else {
      multiply_values<T, Q, V>(work, block, weights, begin, end, d0, sums);
    }
    each<Q>(EACH(q) {
      each<V>(EACH(v) {
        float* at = outs[q] + d0 + v * 16;
        const vf before = mul(v == V - 1 ? load_n(at, n) : load(at), set1(shrink[q])), after = add(before, cell<V>(sums, q, v));
        if (v == V - 1) {
          store_n(at, after, n);
        } else {
          store(at, after);
        }
      });
    });
  };
  int64_t d = 0;
  for (; work.head_dim - d > (kVectors - 1) * 16; d += kVectors * 16) vectors(Index<kVectors>(), d);
  for (; d < work.head_dim; d += 16) vectors(Index<1>(), d);
}

// body(Index<Q>, j) for queries [j, stop), Q at a time.
template <int Q = kQueries, class Body>
VEC void in_groups(int64_t j, int64_t stop, const Body& body) {
  for (; stop - j >= Q; j += Q) body(Index<Q>(), j);
  if constexpr (Q > 1) in_groups<Q / 2>(j, stop, body);
}

// Queries [j, stop) against slots [begin, end) of a block: all scores first, so that the first-level cache holds the keys,
// then the values.
template <KvType T>
void attend_block(const Work& work, const Block& block, int64_t j, int64_t stop, int64_t begin, int64_t end) {
  in_groups(j, stop, [&](auto q, int64_t at) { score<T, q>(work, block, at, begin, end, work.scores + at * kKvBlock); });
  float scales[kKvBlock];  // of the values; those of other slots may be anything, NaN included
  for (int64_t t = 0; t < kKvBlock; ++t)
    scales[t] = t < begin || t >= end ? 0.0f : block.value_scales == nullptr ? 1.0f : block.value_scales[t] * block.unit;
  in_groups(j, stop, [&](auto q, int64_t at) {
    weigh<T, q>(work, scales, at, begin, end, work.scores + at * kKvBlock, work.shrink + at);
  });
  in_groups(j, stop, [&](auto q, int64_t at) {
    mix<T, q>(work, block, at, begin, end, work.scores + at * kKvBlock, work.shrink + at);
  });
}

// A KV head of a block as floats; the values' last vector may read 16 floats behind the end.
template <KvType T>
Block widen(const Block& block, int64_t head_dim, float* scratch) {
  const int64_t size = kKvBlock * head_dim;
  for (int64_t i = 0; i < size; i += 16) {
    store(scratch + i, load_kv<T>(block.keys, i));
    store(scratch + size + i, load_kv<T>(block.values, i));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(scratch);
  return {bytes, bytes + size * 4, block.key_scales, block.value_scales, block.unit, bytes, bytes};  // there is nothing to ask for
}

VEC int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

// The rows whose range overlaps the block that begins at slot `base`. Those that see all of it go together, the others
// row by row: a weight of zero would not keep out an infinite value.
template <KvType T>
void attend_rows(const Work& work, const Block& block, int64_t base) {
  const AttentionTile& tile = work.tile;
  const int64_t heads = tile.query_heads;
  int64_t row = 0;
  while (row < tile.rows) {
    const auto begin = [&](int64_t i) { return clamp(tile.first(i) - base, 0, kKvBlock); };
    const auto end = [&](int64_t i) { return clamp(tile.count + i - base, 0, kKvBlock); };
    const int64_t from = begin(row), to = end(row);
    int64_t stop = row + 1;
    while (stop < tile.rows && begin(stop) == from && end(stop) == to) ++stop;
    if (from < to) attend_block<T>(work, block, row * heads, stop * heads, from, to);
    row = stop;
  }
}

template <KvType T>
void attend_typed(const KvView& kv, const AttentionTile& tile) {
  const int64_t queries = tile.rows * tile.query_heads;
  // What is read in vectors begins at a cache line: a vector across two lines costs two loads.
  auto* widened = reinterpret_cast<float*>(round_up(reinterpret_cast<intptr_t>(tile.scratch), kLineBytes));
  float *scores = widened + 2 * kKvBlock * kv.head_dim + kKvLanes, *places_at = scores + queries * kKvBlock;
  auto* places = reinterpret_cast<int64_t*>(places_at);
  float *largest = places_at + 2 * queries, *total = largest + queries, *shrink = total + queries * kKvLanes;
  float *query_scales = shrink + queries, *weight_scales = query_scales + queries;
  auto* words = reinterpret_cast<int16_t*>(weight_scales + queries);
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t h = 0; h < tile.query_heads; ++h) {
      const int64_t j = row * tile.query_heads + h;
      places[j] = row * tile.stride + h * kv.head_dim;
      largest[j] = -kInfinity;
      store(total + j * kKvLanes, zero());
      for (int64_t d = 0; d < kv.head_dim; ++d) tile.out[places[j] + d] = 0;
      if constexpr (T == KvType::i8) query_scales[j] = round_query(tile.query + places[j], kv.head_dim, words + j * 2 * kv.pairs());
    }
  }
  const Work work = {tile, kv.head_dim, places, largest, total, shrink, scores, words, query_scales, weight_scales};
  const int64_t last = tile.count + tile.rows - 1;
  const auto place = [&](int64_t slot) { return tile.blocks[slot / kKvBlock] * kv.block_bytes() + tile.kv_head * kv.head_bytes(); };
  for (int64_t base = tile.first(0) / kKvBlock * kKvBlock; base < last; base += kKvBlock) {
    const int64_t at = place(base), after = base + kKvBlock < last ? place(base + kKvBlock) : at;
    Block block = {kv.keys + at, kv.values + at, nullptr, nullptr, T == KvType::e4m3 ? kE4m3Unit : 1.0f, kv.keys + after, kv.values + after};
    if constexpr (is_scaled(T)) {
      block.key_scales = reinterpret_cast<const float*>(block.keys + kv.code_bytes());
      block.value_scales = reinterpret_cast<const float*>(block.values + kv.code_bytes());
    }
    if (T != KvType::f32 && T != KvType::i8 && queries > 2 * kQueries) {
      attend_rows<KvType::f32>(work, widen<T>(block, kv.head_dim, widened), base);
    } else {
      attend_rows<T>(work, block, base);
    }
  }
  for (int64_t j = 0; j < queries; ++j) {
    const float inverse = 1.0f / sum(load(total + j * kKvLanes));
    for (int64_t d = 0; d < kv.head_dim; ++d) tile.out[places[j] + d] *= inverse;
  }
}

void attend(const KvView& kv, const AttentionTile& tile) {
  const auto run = kv.type == KvType::f32   ? attend_typed<KvType::f32>
                   : kv.type == KvType::f16 ? attend_typed<KvType::f16>
                   : kv.type == KvType::i8  ? attend_typed<KvType::i8>
                                            : attend_typed<KvType::e4m3>;
  run(kv, tile);
}

}  // namespace

void fill_attention(KernelTable& table) { table.attend = attend; }

}  // namespace codecllm::CODECLLM_TIER
