// SPDX-License-Identifier: Apache-2.0
#include "cli/loaded.h"

#include <fmt/core.h>

#include "base/clock.h"
#include "model/compute.h"
#include "model/model_tokenizer.h"

namespace codecllm::cli {

Loaded load(const Context& context, const Globals& globals, const std::string& directory, std::string_view compute,
            uint64_t decode_cache) {
  Stopwatch clock;
  DecoderModel model = load_model(context, directory, globals.progress());
  set_compute(model.weights, compute);
  std::optional<DecodeCache> cache;
  if (decode_cache > 0) note(globals, decode_cache_text(cache.emplace(keep_decoded(context, model, decode_cache))));
  Tokenizer tokenizer = load_tokenizer(directory);
  if (tokenizer.vocab_size() > model.spec.vocab)
    note(globals, fmt::format("the tokenizer has ids up to {}, the model {} embeddings; a text that needs the others is refused",
                              tokenizer.vocab_size() - 1, model.spec.vocab));
  return {std::move(model), std::move(tokenizer), clock.seconds(), cache};
}

std::string decode_cache_text(const DecodeCache& cache) {
  return fmt::format("decode cache: {} of {} matrices, {}", cache.decoded, cache.coded, bytes_text(static_cast<double>(cache.bytes)));
}

OrderedJson decode_cache_json(const DecodeCache& cache) {
  return {{"matrices", cache.decoded}, {"of", cache.coded}, {"bytes", cache.bytes}};
}

}  // namespace codecllm::cli
