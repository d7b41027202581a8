// SPDX-License-Identifier: Apache-2.0
#include "model/model_tokenizer.h"

#include "io/gguf_model.h"

namespace codecllm {

Tokenizer load_tokenizer(const std::string& model) {
  if (!is_gguf_path(model)) return Tokenizer::load(model);
  const GgufFile file(model);
  const GgufTokenizer made = gguf_tokenizer(file.metadata(), model);
  return Tokenizer::from_json(json_text(made.tokenizer), model, json_text(made.config));
}

void check_tokens(std::span<const int32_t> tokens, int64_t vocab) {
  for (const int32_t token : tokens)
    if (token < 0 || token >= vocab)
      throw Error(ErrorCode::bad_call, "tokens",
                  "token " + std::to_string(token) + ", expected 0 to " + std::to_string(vocab - 1) + "; do tokenizer and model belong together?");
}

std::vector<std::pair<std::string, std::string>> gguf_companions(const GgufFile& file) {
  const GgufTokenizer made = gguf_tokenizer(file.metadata(), file.file().path());
  return {{"tokenizer.json", json_text(made.tokenizer, 1) + "\n"}, {"tokenizer_config.json", json_text(made.config, 2) + "\n"}};
}

}  // namespace codecllm
