// SPDX-License-Identifier: Apache-2.0
// The metadata of a GGUF file for a model in Hugging Face's layout: the reverse of gguf_model.h.
#pragma once

#include <string>

#include "base/json.h"
#include "io/gguf_names.h"

namespace codecllm {

// The keys about the architecture from config.json. Throws Error(unsupported) for what llama.cpp has no keys for.
OrderedJson gguf_model_metadata(const Json& config, const std::string& file);

// The keys about the tokenizer from tokenizer.json and tokenizer_config.json. Throws Error(unsupported) for
// tokenizers that llama.cpp has no kind for.
OrderedJson gguf_tokenizer_metadata(const Json& tokenizer, const Json& tokenizer_config, const Json& config, const std::string& file);

}  // namespace codecllm
