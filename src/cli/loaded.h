// SPDX-License-Identifier: Apache-2.0
// A model with its tokenizer, as most commands want it.
#pragma once

#include "cli/command.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace codecllm::cli {

struct Loaded {
  DecoderModel model;
  Tokenizer tokenizer;
  double seconds;
};

// Notes where the tokenizer has more ids than the model has embeddings (padding ids that no text needs).
Loaded load(const Context& context, const Globals& globals, const std::string& directory, std::string_view compute = "a16");

}  // namespace codecllm::cli
