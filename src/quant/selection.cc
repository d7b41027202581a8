// SPDX-License-Identifier: Apache-2.0
#include "quant/selection.h"

#include <fnmatch.h>

#include <algorithm>

#include "io/name_pattern.h"

namespace codecllm {

bool matches_pattern(const std::string& pattern, const std::string& name) {
  if (pattern.starts_with("re:"))
    return NamePattern(pattern, "").match(name) == NamePattern::Match::regex;
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

static void check_used(const std::vector<std::string>& patterns, const std::vector<LinearSpec>& linears, const char* what) {
  for (const std::string& pattern : patterns) {
    const bool used = std::any_of(linears.begin(), linears.end(),
                                  [&](const LinearSpec& l) { return matches_pattern(pattern, l.name); });
    if (!used)
      throw Error(ErrorCode::bad_call, "quantize",
                  std::string(what) + " '" + pattern + "' matches no layer; names look like " + linears.front().name);
  }
}

std::vector<LinearSpec> select_linears(const ModelSpec& spec, const Selection& selection) {
  const std::vector<LinearSpec> linears = spec.linears();
  check_used(selection.only, linears, "--only");
  check_used(selection.ignore, linears, "--ignore");
  const auto any = [](const std::vector<std::string>& patterns, const std::string& name) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return matches_pattern(p, name); });
  };
  std::vector<LinearSpec> selected;
  for (const LinearSpec& linear : linears) {
    const bool wanted = selection.only.empty() ? linear.kind != LinearKind::lm_head : any(selection.only, linear.name);
    if (!wanted || any(selection.ignore, linear.name)) continue;
    if (linear.kind == LinearKind::lm_head && spec.tied_head)
      throw Error(ErrorCode::unsupported, "quantize",
                  "lm_head shares its weights with the embedding, which stays in 16 bits; leave it out of --only");
    selected.push_back(linear);
  }
  if (selected.empty()) throw Error(ErrorCode::bad_call, "quantize", "no layer is left to quantize");
  return selected;
}

}  // namespace codecllm
