// SPDX-License-Identifier: Apache-2.0
#include "gen/measure.h"

#include <algorithm>

#include "base/clock.h"
#include "kernels/dispatch.h"

namespace codecllm {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void random_prompts(KvCache& cache, std::span<KvSequence> sequences, int64_t count, int64_t vocab, Rng& rng,
                    FunctionRef<void(std::span<const BatchRow>)> run) {
  std::vector<BatchRow> rows;
  for (KvSequence& sequence : sequences) {
    cache.grow(sequence, count);
    for (int64_t i = 0; i < count; ++i) {
      rows.push_back({static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))), &sequence, i, i + 1 == count});
      const bool last = i + 1 == count && &sequence == &sequences.back();
      if (!last && static_cast<int64_t>(rows.size()) < TokenSession::kChunk) continue;
      run(rows);
      rows.clear();
    }
  }
}

void random_context(const DecoderModel& model, KvCache& cache, KvSequence& sequence, int64_t count, Rng& rng) {
  constexpr int64_t kRows = 61;  // that take turns, shifted by a prime from layer to layer
  const int64_t size = model.spec.kv_heads * model.spec.head_dim, first = sequence.length;
  std::vector<float> numbers(static_cast<size_t>((kRows + 1) * size));
  for (float& x : numbers) x = static_cast<float>(rng.normal());
  cache.grow(sequence, count);
  const KernelTable& kernels = kernels_for(model.context->impl().isa);
  model.context->impl().pool.parallel_for(static_cast<size_t>(model.spec.layers), 1, [&](size_t begin, size_t end, int) {
    for (auto layer = static_cast<int64_t>(begin); layer < static_cast<int64_t>(end); ++layer)
      for (int64_t t = first; t < first + count; ++t) {
        const float* row = &numbers[(t + 7 * layer) % kRows * size];
        kernels.store_kv(cache.layer(layer), sequence.blocks[t / kKvBlock], t % kKvBlock, row, row + size);
      }
  });
}

static int64_t context_slots(const MeasureOptions& options) {
  return options.contexts.empty() ? 0 : *std::max_element(options.contexts.begin(), options.contexts.end()) + options.decode_tokens;
}

static int64_t slots_needed(const MeasureOptions& options) {
  int64_t most = options.prompt_tokens + options.decode_tokens + kKvBlock;
  for (int64_t batch : options.batches) most = std::max(most, batch * (round_up(options.decode_tokens + 1, kKvBlock)));
  for (const PromptBatch& p : options.prompts) most = std::max(most, p.sequences * round_up(p.tokens, kKvBlock));
  return round_up(most, kKvBlock) + context_slots(options);
}

Measurer::Measurer(const DecoderModel& model, const MeasureOptions& options)
    : model_(model), options_(options), cache_(model.spec, options.kv, slots_needed(options)), forward_(model, cache_) {
  Rng rng(9);
  random_context(model, cache_, context_, context_slots(options), rng);
}

Measurement Measurer::round() {
  Measurement result;
  Rng rng(7);
  KvSequence sequence;
  Stopwatch clock;
  random_prompts(cache_, {&sequence, 1}, options_.prompt_tokens, model_.spec.vocab, rng, [&](auto rows) { forward_.run(rows); });
  result.prefill_tok_s = static_cast<double>(options_.prompt_tokens) / clock.restart();
  for (int64_t i = 0; i < options_.decode_tokens; ++i) {
    cache_.grow(sequence, 1);
    const BatchRow row = {static_cast<int32_t>(i % model_.spec.vocab), &sequence, sequence.length - 1, true};
    forward_.run({&row, 1});
  }
  result.decode_tok_s = static_cast<double>(options_.decode_tokens) / clock.seconds();
  cache_.truncate(sequence, 0);
  for (int64_t context : options_.contexts) result.context[context] = decode_behind(context);
  for (int64_t batch : options_.batches) result.batch[batch] = decode(batch);
  for (const PromptBatch& prompts : options_.prompts) result.prompts[prompts] = read(prompts);
  return result;
}

double Measurer::decode_behind(int64_t context) {
  Stopwatch clock;
  for (int64_t i = 0; i < options_.decode_tokens; ++i) {
    const BatchRow row = {static_cast<int32_t>(i % model_.spec.vocab), &context_, context + i, true};
    forward_.run({&row, 1});
  }
  return static_cast<double>(options_.decode_tokens) / clock.seconds();
}

double Measurer::read(const PromptBatch& prompts) {
  std::vector<KvSequence> sequences(static_cast<size_t>(prompts.sequences));
  Rng rng(8);
  Stopwatch clock;
  random_prompts(cache_, sequences, prompts.tokens, model_.spec.vocab, rng, [&](auto rows) { forward_.run(rows); });
  const double rate = static_cast<double>(prompts.sequences * prompts.tokens) / clock.seconds();
  for (KvSequence& sequence : sequences) cache_.truncate(sequence, 0);
  return rate;
}

double Measurer::decode(int64_t count) {
  std::vector<KvSequence> sequences(static_cast<size_t>(count));
  const auto step = [&](int64_t i) {
    std::vector<BatchRow> rows;
    for (KvSequence& sequence : sequences) {
      cache_.grow(sequence, 1);
      rows.push_back({static_cast<int32_t>((i * 31 + 7) % model_.spec.vocab), &sequence, sequence.length - 1, true});
    }
    forward_.run(rows);
  };
  step(0);
  // A few steps tell: each one reads all the weights.
  const int64_t steps = std::max<int64_t>(1, options_.decode_tokens / 4);
  Stopwatch clock;
  for (int64_t i = 1; i <= steps; ++i) step(i);
  const double rate = static_cast<double>(steps * count) / clock.seconds();
  for (KvSequence& sequence : sequences) cache_.truncate(sequence, 0);
  return rate;
}

}  // namespace codecllm
