// SPDX-License-Identifier: Apache-2.0
// A GGUF file as the rest of the program sees models.
#pragma once

#include "io/gguf.h"
#include "io/translation.h"

namespace codecllm {

// config.json of the model that the metadata describes. Throws Error(unsupported) for architectures that
// gguf_arch.def does not have, Error(bad_input) for keys that are missing or make no sense.
Json gguf_config(const GgufFile& file);

// All tensors under Hugging Face's names, rows of q and k in its order. Q8_0 and Q5_0 become integers of 8 bits, Q4_0
// of 4, in groups of 32, with the very codes and scales; plain types stay; the other types, and embeddings, become the
// floats they stand for.
Translation translate_gguf(const GgufFile& file);

// tokenizer.json and tokenizer_config.json of the tokenizer inside. Throws Error(unsupported) for kinds other than
// SentencePiece with scores ("llama") and byte-level BPE ("gpt2").
struct GgufTokenizer {
  Json tokenizer, config;
};
GgufTokenizer gguf_tokenizer(const Json& metadata, const std::string& file);

std::vector<std::string> gguf_pre_names();  // of gguf_pre.def, in its order
const char* gguf_gpt2_cut();                // GPT-2's regular expression

}  // namespace codecllm
