// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include "base/utf8.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"

namespace codecllm {

std::string apply_chat_template(std::string_view source, const OrderedJson& variables,
                                const ChatTemplateLimits& limits) {
  if (!variables.is_object())
    throw Error(ErrorCode::bad_call, "chat_template", "the variables are not an object");
  const jinja::NodePtr root = jinja::parse(to_valid_utf8(source));
  const jinja::Value values = jinja::Value::from_json(variables);
  jinja::Limits own;
  own.steps = limits.steps;
  own.bytes = limits.bytes;
  jinja::Evaluator evaluator(own, limits.now ? *limits.now : std::time(nullptr));
  return evaluator.run(*root, values.dict());
}

std::string apply_chat_template(std::string_view source, const Json& variables,
                                const ChatTemplateLimits& limits) {
  return apply_chat_template(source, OrderedJson(variables), limits);
}

std::string apply_chat_template(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) {
  if (tokenizer.chat_template().empty()) {
    throw Error(ErrorCode::bad_call, "chat_template", "this model has no chat template");
  }
  OrderedJson list = OrderedJson::array();
  for (const ChatMessage& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  OrderedJson variables = {{"messages", list}, {"add_generation_prompt", add_generation_prompt}};
  if (const auto bos = tokenizer.bos_id()) variables["bos_token"] = std::string(*tokenizer.token(*bos));
  if (const auto eos = tokenizer.eos_id()) variables["eos_token"] = std::string(*tokenizer.token(*eos));
  return apply_chat_template(tokenizer.chat_template(), variables);
}

}  // namespace codecllm
