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

namespace {

// The linear layers of a model, and what the words of patterns mean there.
class Layers {
 public:
  explicit Layers(const ModelSpec& spec) : linears_(spec.linears()), blocks_(spec.layers) {}

  const std::vector<LinearSpec>& all() const { return linears_; }

  bool named(size_t index, const std::string& pattern) const {
    const LinearSpec& linear = linears_[index];
    if (pattern == "attention") return linear.kind == LinearKind::attention;
    if (pattern == "mlp") return linear.kind == LinearKind::mlp;
    if (pattern == "first-block") return block_of(index) == 0;
    if (pattern == "last-block") return block_of(index) == blocks_ - 1;
    return matches_pattern(pattern, linear.name);
  }

  bool named(size_t index, const std::vector<std::string>& patterns) const {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return named(index, p); });
  }

  void check_used(const std::vector<std::string>& patterns, const std::string& where) const {
    for (const std::string& pattern : patterns) {
      bool used = false;
      for (size_t i = 0; i < linears_.size() && !used; ++i) used = named(i, pattern);
      if (!used)
        throw Error(ErrorCode::bad_call, "quantize",
                    where + " '" + pattern + "' matches no layer; names look like " + linears_.front().name +
                        ", and attention, mlp, first-block and last-block are known");
    }
  }

 private:
  // All blocks have the same layers, and lm_head stands behind them.
  int64_t block_of(size_t index) const { return static_cast<int64_t>(index) / (static_cast<int64_t>(linears_.size() - 1) / blocks_); }

  std::vector<LinearSpec> linears_;
  int64_t blocks_;
};

}  // namespace

std::vector<LinearSpec> select_linears(const ModelSpec& spec, const Selection& selection, const std::string& only_name,
                                       const std::string& ignore_name) {
  const Layers layers(spec);
  layers.check_used(selection.only, only_name);
  layers.check_used(selection.ignore, ignore_name);
  std::vector<LinearSpec> selected;
  for (size_t i = 0; i < layers.all().size(); ++i) {
    const LinearSpec& linear = layers.all()[i];
    const bool wanted = selection.only.empty() ? linear.kind != LinearKind::lm_head : layers.named(i, selection.only);
    if (!wanted || layers.named(i, selection.ignore)) continue;
    if (linear.kind == LinearKind::lm_head && spec.tied_head)
      throw Error(ErrorCode::unsupported, "quantize",
                  "lm_head shares its weights with the embedding, which stays in 16 bits; leave it out of " + only_name);
    selected.push_back(linear);
  }
  if (selected.empty()) throw Error(ErrorCode::bad_call, "quantize", "no layer is left to quantize");
  return selected;
}

}  // namespace codecllm
