// SPDX-License-Identifier: Apache-2.0
#include "text/postprocessor/postprocessor.h"

namespace codecllm::text {

// The ids that "special_tokens" gives to the name of one special token.
static void append_special(const ComponentSource& source, const std::string& name,
                           std::vector<int32_t>& out) {
  const auto table = source.json.find("special_tokens");
  const auto entry = table == source.json.end() || !table->is_object() ? table : table->find(name);
  if (table == source.json.end() || !table->is_object() || entry == table->end()) {
    fail_component(source, "special_tokens has no '" + name + "'", ErrorCode::bad_input);
  }
  const auto ids = entry->find("ids");
  if (ids == entry->end() || !ids->is_array()) {
    fail_component(source, "special token '" + name + "' has no list 'ids'", ErrorCode::bad_input);
  }
  for (const Json& id : *ids) {
    if (!json_is<int32_t>(id)) throw_json_type("ids", "a whole number in range", id, source.file);
    out.push_back(id.get<int32_t>());
  }
}

PostProcessor template_postprocessor(const ComponentSource& source) {
  const auto single = source.json.find("single");
  if (single == source.json.end() || !single->is_array()) {
    fail_component(source, "TemplateProcessing has no list 'single'", ErrorCode::bad_input);
  }
  std::vector<int32_t> before, after;
  bool seen = false;
  for (const Json& part : *single) {
    const auto special = part.find("SpecialToken");
    if (special != part.end()) {
      append_special(source, json_need<std::string>(*special, "id", source.file), seen ? after : before);
    } else if (part.contains("Sequence") && !seen) {
      seen = true;
    } else {
      fail_component(source, "'single' wants special tokens and the text once", ErrorCode::unsupported);
    }
  }
  if (!seen) fail_component(source, "'single' leaves out the text", ErrorCode::unsupported);
  return [before, after](std::vector<int32_t>& ids) {
    ids.insert(ids.begin(), before.begin(), before.end());
    ids.insert(ids.end(), after.begin(), after.end());
  };
}

}  // namespace codecllm::text
