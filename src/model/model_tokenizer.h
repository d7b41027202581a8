// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a MODEL, whatever it is stored in.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.h"
#include "text/tokenizer.h"

namespace codecllm {

// A directory in Hugging Face's layout, or a .gguf file.
Tokenizer load_tokenizer(const std::string& model);

// Throws Error(bad_call) unless every id is in [0, vocab): tokenizer and model may be of different models.
void check_tokens(std::span<const int32_t> tokens, int64_t vocab);

// What stands beside the weights in Hugging Face's layout, made from a GGUF file: names and texts of tokenizer.json and
// tokenizer_config.json.
std::vector<std::pair<std::string, std::string>> gguf_companions(const GgufFile& file);

}  // namespace codecllm
