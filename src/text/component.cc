// SPDX-License-Identifier: Apache-2.0
#include "text/component.h"

namespace codecllm::text {

void fail_component(const ComponentSource& source, const std::string& what, ErrorCode code) {
  throw Error(code, "tokenizer", std::string("key '") + source.key + "': " + what, {.file = source.file});
}

std::string component_type(const ComponentSource& source) {
  if (!source.json.is_object()) throw_json_type(source.key, "an object or null", source.json, source.file);
  return json_need<std::string>(source.json, "type", source.file);
}

}  // namespace codecllm::text
