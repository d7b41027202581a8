// SPDX-License-Identifier: Apache-2.0
#include "text/pattern.h"

namespace codecllm::text {

Pattern Pattern::literal(std::string_view text) {
  Pattern pattern;
  pattern.literal_ = text;
  return pattern;
}

Pattern Pattern::regex(std::string_view expression) {
  Pattern pattern;
  pattern.regex_.emplace(expression, "the library");
  return pattern;
}

Pattern Pattern::load(const ComponentSource& source, const char* key) {
  const auto json = source.json.find(key);
  if (json == source.json.end())
    fail_component(source, std::string("'") + key + "' is missing", ErrorCode::bad_input);
  Pattern pattern;
  if (json->is_string()) {  // old files
    pattern.literal_ = json->get<std::string>();
  } else if (auto text = json_find<std::string>(*json, "String", source.file)) {
    pattern.literal_ = *text;
  } else {
    pattern.regex_.emplace(json_need<std::string>(*json, "Regex", source.file), source.file);
  }
  return pattern;
}

void Pattern::find_all(std::string_view text, std::vector<Match>& matches) const {
  if (regex_) return regex_->find_all(text, matches);
  matches.clear();
  if (literal_.empty()) return;
  for (size_t at = 0; (at = text.find(literal_, at)) != std::string_view::npos; at += literal_.size()) {
    matches.push_back({at, at + literal_.size()});
  }
}

std::string Pattern::replace_all(std::string_view text, std::string_view content, size_t limit) const {
  std::vector<Match> matches;
  find_all(text, matches);
  if (content.size() > 1 && matches.size() > limit / content.size()) fail_growth();
  std::string out;
  out.reserve(text.size() + matches.size() * content.size());
  size_t at = 0;
  for (const Match& match : matches) {
    out.append(text.substr(at, match.begin - at)).append(content);
    at = match.end;
  }
  out.append(text.substr(at));
  if (out.size() > limit) fail_growth();
  return out;
}

void fail_growth() {
  throw Error(ErrorCode::bad_input, "tokenizer", "the components grow this text beyond 64 times its size");
}

}  // namespace codecllm::text
