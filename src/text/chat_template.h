// SPDX-License-Identifier: Apache-2.0
// Chat templates: the part of Jinja that they use, evaluated as transformers' apply_chat_template does.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace codecllm {

struct ChatTemplateLimits {
  int64_t steps = 20'000'000;
  size_t bytes = size_t{256} << 20;  // of all values ever made and the output together
  std::optional<std::time_t> now;    // what strftime_now shows; the clock when absent
};

// `variables` is an object: messages, add_generation_prompt, bos_token, tools ... (OrderedJson keeps the
// order of keys, which tojson shows.) Throws Error(bad_input) naming the line for a template that is wrong,
// calls raise_exception or does not end within the limits; Error(unsupported) for what chat templates do not
// use.
std::string apply_chat_template(std::string_view source, const OrderedJson& variables,
                                const ChatTemplateLimits& limits = {});
std::string apply_chat_template(std::string_view source, const Json& variables,
                                const ChatTemplateLimits& limits = {});

struct ChatMessage {
  std::string role;
  std::string content;
};

// With the tokenizer's own template and its BOS and EOS tokens. Error(bad_call) when it has no template.
std::string apply_chat_template(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt = true);

}  // namespace codecllm
