// SPDX-License-Identifier: Apache-2.0
#include "cli/loaded.h"

#include <fmt/core.h>

#include "base/clock.h"
#include "model/compute.h"
#include "model/model_tokenizer.h"

namespace codecllm::cli {

ModelOptionHandles add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--compute", options.compute, "Activations in products with integer weights: a16 as stored, a8 as INT8 per token")
      ->check(CLI::IsMember({"a16", "a8"}))->capture_default_str();
  CLI::Option* cache = command.add_option("--decode-cache", options.decode_cache, "Keep up to so many bytes of entropy-coded weights decoded, such as 200MB: faster, the same results");
  CLI::Option* mmap = command.add_flag("--mmap", options.mmap, "Leave weights in the model's files, which must not change meanwhile: less memory, ready sooner, slower, the same results");
  return {as_size(cache)->capture_default_str(), mmap};
}

Loaded load(const Context& context, const Globals& globals, const std::string& directory, const ModelOptions& options) {
  Stopwatch clock;
  DecoderModel model = load_model(context, directory, globals.progress(), options.mmap);
  set_compute(model.weights, options.compute);
  std::optional<DecodeCache> cache;
  if (options.decode_cache > 0) note(globals, decode_cache_text(cache.emplace(keep_decoded(context, model, options.decode_cache))));
  if (options.mmap)
    note(globals, fmt::format("{} of {} stay in the model's files", bytes_text(static_cast<double>(model.weights.mapped_bytes())), bytes_text(static_cast<double>(model.weights.bytes()))));
  Tokenizer tokenizer = load_tokenizer(directory);
  if (tokenizer.vocab_size() > model.spec.vocab)
    note(globals, fmt::format("the tokenizer has ids up to {}, the model {} embeddings; a text that needs the others is refused",
                              tokenizer.vocab_size() - 1, model.spec.vocab));
  return {std::move(model), std::move(tokenizer), clock.seconds(), cache};
}

Loaded load_reference(const Context& context, const Globals& globals, const std::string& directory, const ModelOptions& of_model) {
  try {
    return load(context, globals, directory, {.mmap = of_model.mmap});
  } catch (const Error& error) {
    if (!of_model.mmap || error.code() != ErrorCode::unsupported) throw;
  }
  return load(context, globals, directory);
}

std::string decode_cache_text(const DecodeCache& cache) {
  return fmt::format("decode cache: {} of {} matrices, {}", cache.decoded, cache.coded, bytes_text(static_cast<double>(cache.bytes)));
}

OrderedJson decode_cache_json(const DecodeCache& cache) {
  return {{"matrices", cache.decoded}, {"of", cache.coded}, {"bytes", cache.bytes}};
}

}  // namespace codecllm::cli
