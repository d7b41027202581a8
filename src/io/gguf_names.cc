// SPDX-License-Identifier: Apache-2.0
#include "io/gguf_names.h"

#include <iterator>

#include "io/tensor_name.h"

namespace codecllm {

namespace {

constexpr GgufArch kGgufArchs[] = {
#define GGUF_ARCH(gguf, hf_class, model_type, neighbours) {gguf, hf_class, model_type, neighbours},
#include "io/gguf_arch.def"
#undef GGUF_ARCH
};

struct NamePair {
  std::string_view gguf, hf;
};

constexpr NamePair kGgufNames[] = {
#define GGUF_NAME(gguf, hf) {gguf, hf},
#include "io/gguf_name.def"
#undef GGUF_NAME
};

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 8 && text.find_first_not_of("0123456789") == text.npos &&
         (text == "0" || text[0] != '0');
}

// The text that "#" of `pattern` stands for ("" where it has none), if `name` fits the pattern.
std::optional<std::string_view> fit(std::string_view pattern, std::string_view name) {
  const size_t mark = pattern.find('#');
  if (mark == pattern.npos) return name == pattern ? std::optional<std::string_view>("") : std::nullopt;
  const std::string_view before = pattern.substr(0, mark), after = pattern.substr(mark + 1);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after)) return std::nullopt;
  const std::string_view number = name.substr(before.size(), name.size() - before.size() - after.size());
  return is_number(number) ? std::optional(number) : std::nullopt;
}

std::optional<std::string> renamed(std::string_view name, std::string_view NamePair::*from, std::string_view NamePair::*to) {
  const auto [module, suffix] = split_tensor_name(name);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  for (const NamePair& pair : kGgufNames) {
    const auto number = fit(pair.*from, module);
    if (!number) continue;
    std::string out(pair.*to);
    if (const size_t mark = out.find('#'); mark != out.npos) out.replace(mark, 1, *number);
    return out.append(suffix);
  }
  return std::nullopt;
}

}  // namespace

const GgufArch* gguf_arch(std::string_view name) {
  for (const GgufArch& arch : kGgufArchs)
    if (arch.gguf == name) return &arch;
  return nullptr;
}

const GgufArch* gguf_arch_of_class(std::string_view hf_class) {
  if (hf_class == "MistralForCausalLM") return gguf_arch("llama");  // differs by its window alone, which is a key
  for (const GgufArch& arch : kGgufArchs)
    if (arch.hf_class == hf_class) return &arch;
  return nullptr;
}

std::string gguf_arch_list() {
  std::string list;
  for (const GgufArch& arch : kGgufArchs) list += (list.empty() ? "" : ", ") + std::string(arch.gguf);
  return list;
}

std::optional<std::string> hf_name_of(std::string_view gguf_name) { return renamed(gguf_name, &NamePair::gguf, &NamePair::hf); }
std::optional<std::string> gguf_name_of(std::string_view hf_name) { return renamed(hf_name, &NamePair::hf, &NamePair::gguf); }

}  // namespace codecllm
