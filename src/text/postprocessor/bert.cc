// SPDX-License-Identifier: Apache-2.0
#include "text/postprocessor/postprocessor.h"

namespace codecllm::text {

// "cls" and "sep" are pairs [token, id].
static int32_t pair_id(const ComponentSource& source, const char* key) {
  const auto pair = source.json.find(key);
  if (pair == source.json.end() || !pair->is_array() || pair->size() != 2 || !json_is<int32_t>((*pair)[1])) {
    fail_component(source, std::string("'") + key + "' is not a pair of token and id", ErrorCode::bad_input);
  }
  return (*pair)[1].get<int32_t>();
}

PostProcessor bert_postprocessor(const ComponentSource& source) {
  return [cls = pair_id(source, "cls"), sep = pair_id(source, "sep")](std::vector<int32_t>& ids) {
    ids.insert(ids.begin(), cls);
    ids.push_back(sep);
  };
}

}  // namespace codecllm::text
