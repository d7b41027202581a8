// SPDX-License-Identifier: Apache-2.0
#include "cli/loaded.h"

#include "base/clock.h"
#include "model/model_tokenizer.h"

namespace codecllm::cli {

Loaded load(const Context& context, const Globals& globals, const std::string& directory) {
  Stopwatch clock;
  DecoderModel model = load_model(context, directory, globals.progress());
  Tokenizer tokenizer = load_tokenizer(directory);
  if (tokenizer.vocab_size() > model.spec.vocab)
    throw Error(ErrorCode::bad_input, "load",
                "the tokenizer has ids up to " + std::to_string(tokenizer.vocab_size() - 1) + ", the model " +
                    std::to_string(model.spec.vocab) + " embeddings; they do not belong together", {.file = directory});
  return {std::move(model), std::move(tokenizer), clock.seconds()};
}

}  // namespace codecllm::cli
