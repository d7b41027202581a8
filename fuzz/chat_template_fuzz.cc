// SPDX-License-Identifier: Apache-2.0
// Any bytes as a chat template: an Error, or text, within the limits.
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const codecllm::Json variables = codecllm::Json::parse(
      R"({"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null}],"bos_token":"<s>","add_generation_prompt":true})");
  codecllm::ChatTemplateLimits limits;
  limits.steps = 20'000;
  limits.bytes = 1 << 20;
  limits.now = 0;
  try {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    if (!codecllm::is_utf8(codecllm::apply_chat_template(source, variables, limits))) __builtin_trap();
  } catch (const codecllm::Error&) {
  }
  return 0;
}
