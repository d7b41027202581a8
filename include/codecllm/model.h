// SPDX-License-Identifier: Apache-2.0
// Loading a model and generating text with it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "codecllm/context.h"
#include "codecllm/error.h"

namespace codecllm {

struct ModelInfo {
  std::string family;          // "LlamaForCausalLM"
  std::string scheme;          // what most linear layers have: "int8", "bf16", ...
  double parameters = 0;
  std::uint64_t weight_bytes = 0;  // in memory
  std::int64_t trained_length = 0, vocabulary = 0;
};

// Immutable once loaded; any number of threads may generate with it, each with a Session of its own. A handle: copies
// share the weights. The Context must outlive it.
class CODECLLM_API Model {
 public:
  // A directory in Hugging Face layout, or a .gguf file. Throws Error.
  static Model load(const Context& context, const std::string& directory, const Progress& progress = {});

  ModelInfo info() const;
  std::vector<std::int32_t> tokenize(std::string_view text) const;  // with BOS where the model wants it
  std::string detokenize(const std::vector<std::int32_t>& tokens) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

struct Sampling {
  std::int64_t max_tokens = 128;
  float temperature = 0;  // 0: greedy
  int top_k = 0;          // 0: off
  float top_p = 1, min_p = 0, repetition_penalty = 1;
  std::uint64_t seed = 0;
  std::vector<std::string> stop = {};
};

struct Generated {
  std::string text;
  std::vector<std::int32_t> tokens;
  std::string finish;  // "eos", "stop", "length", "context" (the session is full) or "cancelled" (by on_text)
  double prompt_tok_s = 0, decode_tok_s = 0;
};

// One conversation: what was appended and generated stays as context for the next call. Belongs to one thread at a time.
class CODECLLM_API Session {
 public:
  // `capacity`: most tokens it holds; 0: the model's trained length.
  explicit Session(Model model, std::int64_t capacity = 0);
  ~Session();
  Session(Session&&) noexcept;

  // `on_text` receives whole characters as they come; answering false ends the text. Throws Error(bad_call) when the
  // prompt does not fit, or what is asked is out of range (max_tokens below 1, a temperature below 0).
  Generated generate(std::string_view prompt, const Sampling& sampling = {},
                     const std::function<bool(std::string_view text)>& on_text = {});

  // Appends tokens and returns the logits [vocabulary] after the last one.
  std::vector<float> logits(const std::vector<std::int32_t>& tokens);

  std::int64_t length() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace codecllm
