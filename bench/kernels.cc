// SPDX-License-Identifier: Apache-2.0
// Products, attention and the encoder at TinyLlama's sizes, one thread. Weights are read from memory: many copies take turns.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/context.h"
#include "base/rng.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "model/kv_cache.h"
#include "model/synthetic.h"

namespace codecllm {
namespace {

constexpr int64_t kRows = 2048, kColumns = 5632;
constexpr size_t kMoreThanCaches = size_t{96} << 20;

const Context& context() {
  static const Context one(ContextOptions{.threads = 1});
  return one;
}

void product(benchmark::State& state, const char* scheme, bool a8) {
  std::vector<Matrix> weights;
  do {
    weights.push_back(synthetic_matrix(context(), kRows, kColumns, scheme_preset(scheme)));
    if (a8) weights.back().set_activation({.mode = ActivationMode::a8_token});
  } while (weights.size() * weights[0].bytes() < kMoreThanCaches);
  const int64_t batch = state.range(0);
  Rng rng(1);
  std::vector<float> x(static_cast<size_t>(batch * kColumns)), y(static_cast<size_t>(batch * kRows));
  for (float& v : x) v = static_cast<float>(rng.normal());
  LinearScratch scratch;
  size_t at = 0;
  for (auto _ : state) {
    const LinearOut out = {&weights[at++ % weights.size()].view(), y.data(), kRows};
    linear(context().impl().pool, kernels_for(context().impl().isa), scratch, x.data(), kColumns, batch, {&out, 1});
    benchmark::DoNotOptimize(y.data());
  }
  const auto runs = static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(weights[0].bytes()) * runs / 1e9, benchmark::Counter::kIsRate);
  state.counters["GOP/s"] = benchmark::Counter(2e-9 * static_cast<double>(batch * kRows * kColumns) * runs, benchmark::Counter::kIsRate);
}

// Panels of entropy-coded weights into a buffer that stays in the cache.
void decode(benchmark::State& state, const char* scheme) {
  std::vector<Matrix> weights;
  size_t bytes = 0;
  do {
    weights.push_back(synthetic_matrix(context(), kRows, kColumns, scheme_preset(scheme)));
    bytes += weights.back().bytes();
  } while (bytes < kMoreThanCaches);
  const KernelTable& kernels = kernels_for(context().impl().isa);
  const MatrixView& first = weights[0].view();
  Buffer out(static_cast<size_t>(first.coded->panel_bytes() + kLineBytes));
  int64_t at = 0;
  for (auto _ : state) {
    const auto of = static_cast<size_t>(at / first.panels()) % weights.size();
    kernels.decode_panel(*weights[of].view().coded, at++ % first.panels(), out.as<uint8_t>().data());
  }
  state.counters["weights/s"] = benchmark::Counter(static_cast<double>(kPanelRows * kColumns * state.iterations()), benchmark::Counter::kIsRate);
}

void attention(benchmark::State& state, KvType type) {
  const ModelSpec spec = shape_spec("tinyllama-1.1b");
  const int64_t count = state.range(0), shared = spec.heads / spec.kv_heads;
  KvCache cache(spec, type, count);
  KvSequence sequence;
  cache.grow(sequence, count);
  const KernelTable& kernels = kernels_for(context().impl().isa);
  Rng rng(2);
  std::vector<float> row(static_cast<size_t>(spec.kv_heads * spec.head_dim)), query(static_cast<size_t>(spec.heads * spec.head_dim)), out(query);
  for (float& v : row) v = static_cast<float>(rng.normal());
  for (float& v : query) v = static_cast<float>(rng.normal());
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(shared, spec.head_dim)));
  for (int64_t layer = 0; layer < spec.layers; ++layer)
    for (int64_t t = 0; t < count; ++t)
      kernels.store_kv(cache.layer(layer), sequence.blocks[t / kKvBlock], t % kKvBlock, row.data(), row.data());
  for (auto _ : state) {  // one token through all layers
    for (int64_t layer = 0; layer < spec.layers; ++layer)
      for (int64_t h = 0; h < spec.kv_heads; ++h)
        kernels.attend(cache.layer(layer), {.query = &query[h * shared * spec.head_dim], .out = &out[h * shared * spec.head_dim],
                                            .stride = 0, .rows = 1, .query_heads = shared, .kv_head = h,
                                            .blocks = sequence.blocks.data(), .count = count, .window = 0, .scale = 0.125f,
                                            .scratch = scratch.data()});
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(cache.bytes()) * static_cast<double>(state.iterations()) / 1e9, benchmark::Counter::kIsRate);
}

// Bytes that the weights take in 16 bits.
void encode(benchmark::State& state, const char* scheme) {
  const Matrix weights = synthetic_matrix(context(), kRows, kColumns, scheme_preset(scheme));
  for (auto _ : state) {
    const Buffer coded = encode_matrix(context().impl().pool, weights.view(), coding_of(weights.view().element));
    benchmark::DoNotOptimize(coded.data());
  }
  state.counters["MB/s"] = benchmark::Counter(2e-6 * static_cast<double>(kRows * kColumns * state.iterations()), benchmark::Counter::kIsRate);
}

BENCHMARK_CAPTURE(encode, bf16, "bf16");
BENCHMARK_CAPTURE(encode, int8, "int8");
BENCHMARK_CAPTURE(encode, fp8, "fp8-channel");
BENCHMARK_CAPTURE(decode, lossless, "lossless");
BENCHMARK_CAPTURE(decode, int8_coded, "int8-coded");
BENCHMARK_CAPTURE(decode, coded_4_5, "coded-4.5");
BENCHMARK_CAPTURE(decode, coded_3, "coded-3");
BENCHMARK_CAPTURE(product, lossless, "lossless", false)->Arg(1);
BENCHMARK_CAPTURE(product, coded_4_5_a16, "coded-4.5", false)->Arg(1);
BENCHMARK_CAPTURE(product, coded_4_5_a8, "coded-4.5", true)->Arg(1);
BENCHMARK_CAPTURE(product, bf16, "bf16", false)->Arg(1)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(product, f16, "f16", false)->Arg(1)->Arg(64);
BENCHMARK_CAPTURE(product, int8_a16, "int8", false)->Arg(1)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(product, int8_a8, "int8", true)->Arg(1)->Arg(8)->Arg(64)->Arg(512);
BENCHMARK_CAPTURE(product, int4_g128_a16, "int4-g128", false)->Arg(1)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(product, int4_g128_a8, "int4-g128", true)->Arg(1)->Arg(8)->Arg(64)->Arg(512);
BENCHMARK_CAPTURE(attention, f16, KvType::f16)->Arg(128)->Arg(4096);
BENCHMARK_CAPTURE(attention, int8, KvType::i8)->Arg(128)->Arg(4096);
BENCHMARK_CAPTURE(attention, fp8, KvType::e4m3)->Arg(128)->Arg(4096);

}  // namespace
}  // namespace codecllm
