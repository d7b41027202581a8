// SPDX-License-Identifier: Apache-2.0
// A model with its tokenizer, as most commands want it.
#pragma once

#include <optional>

#include "cli/command.h"
#include "model/decode_cache.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace codecllm::cli {

// How a model is held and multiplied.
struct ModelOptions {
  std::string compute = "a16";
  uint64_t decode_cache = 0;
  bool mmap = false;
};

struct ModelOptionHandles {
  CLI::Option *decode_cache, *mmap;
};
// --compute a16|a8, --decode-cache SIZE, --mmap
ModelOptionHandles add_model_options(CLI::App& command, ModelOptions& options);

struct Loaded {
  DecoderModel model;
  Tokenizer tokenizer;
  double seconds;
  std::optional<DecodeCache> cache;  // where one was asked for
};

// Notes where the tokenizer has more ids than the model has embeddings (padding ids that no text needs).
Loaded load(const Context& context, const Globals& globals, const std::string& directory, const ModelOptions& options = {});

// What a model is compared with: mapped where the model is and its layout allows it, else in memory.
Loaded load_reference(const Context& context, const Globals& globals, const std::string& directory, const ModelOptions& of_model);

// "decode cache: 12 of 155 matrices, 187.0 MB"
std::string decode_cache_text(const DecodeCache& cache);
OrderedJson decode_cache_json(const DecodeCache& cache);

}  // namespace codecllm::cli
