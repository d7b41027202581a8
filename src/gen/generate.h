// SPDX-License-Identifier: Apache-2.0
// Text in, text out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gen/sampler.h"
#include "gen/token_session.h"
#include "text/tokenizer.h"

namespace codecllm {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplerOptions sampler;
  std::vector<std::string> stop;  // text at which to stop; not part of the result
  bool ignore_eos = false;
  TokenSession::Cancelled cancelled = {};  // asked while the prompt runs; true ends it
  bool own_text = false;  // the result is a text by itself, as a chat's answer, not the continuation of the prompt
};

struct GenerateResult {
  std::string text;             // without the prompt
  std::vector<int32_t> tokens;  // generated
  int64_t prompt_tokens = 0;
  std::string finish;           // "eos", "stop", "length" (max_tokens), "context" (the session is full) or "cancelled" (by the sink or `cancelled`)
  double ttft_s = 0;            // from the call to the first token
  double prompt_s = 0, decode_s = 0;
  std::vector<double> token_s;  // of every token after the first

  double prompt_tok_s() const { return prompt_s > 0 ? static_cast<double>(prompt_tokens) / prompt_s : 0; }
  double decode_tok_s() const { return decode_s > 0 ? static_cast<double>(token_s.size()) / decode_s : 0; }
  double token_percentile_s(double p) const;  // p in [0, 1]
};

// Called with new text as soon as it is certain (whole characters, no beginning of a stop string); false ends it.
using TextSink = std::function<bool(std::string_view text)>;

// Appends the prompt to the session and generates; the session then holds the generated tokens too. Throws
// Error(bad_call) when the prompt alone does not fit, for options out of their range, and for a prompt of no tokens.
GenerateResult generate(TokenSession& session, const DecoderModel& model, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, const GenerateOptions& options, const TextSink& sink = {});

// How much of `text` may be shown: up to a stop string (then *stopped), else all but a tail that may begin one.
size_t certain_prefix(std::string_view text, std::span<const std::string> stops, bool* stopped);

}  // namespace codecllm
