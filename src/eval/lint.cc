// SPDX-License-Identifier: Apache-2.0
#include "eval/lint.h"

#include <map>

#include "base/file.h"
#include "io/gguf_model.h"

namespace codecllm {

namespace {

// vLLM's Marlin kernels, the fast ones for integer weights with 16-bit activations.
constexpr int64_t kMarlinOutputs = 64, kMarlinInputs = 128;

bool is_quantized(const Checkpoint& checkpoint, const LinearSpec& linear) {
  const TensorInfo* plain = checkpoint.find(linear.name + ".weight");
  return plain == nullptr || !is_plain_float(plain->dtype);
}

std::string scheme_of(const Checkpoint& checkpoint, const QuantConfig& config, const LinearSpec& linear) {
  if (!is_quantized(checkpoint, linear)) return "plain";
  const QuantGroup* group = config.group_for(linear.name);
  if (group == nullptr || !group->scheme.weights) return "unknown";
  const QuantArgs& args = *group->scheme.weights;
  return std::to_string(args.num_bits) + (args.type == NumberType::integer ? " bits, " : "-bit floats, ") + std::string(strategy_name(args.strategy)) +
         (args.group_size > 0 ? " " + std::to_string(args.group_size) : "") + (args.symmetric ? "" : ", asymmetric");
}

void lint_fused(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantConfig& config, std::vector<Problem>& out) {
  std::map<int, std::map<std::string, std::string>> schemes;  // fused group -> scheme -> a layer that has it
  for (const LinearSpec& linear : spec.linears())
    if (linear.fused_group >= 0) schemes[linear.fused_group].emplace(scheme_of(checkpoint, config, linear), linear.name);
  for (const auto& [group, found] : schemes) {
    if (found.size() < 2) continue;
    const auto &first = *found.begin(), &second = *std::next(found.begin());
    out.push_back({false, first.second + " (" + first.first + ") and " + second.second + " (" + second.first +
                              ") are stored differently; vLLM fuses them and will refuse the model",
                   "give q, k and v one scheme, and gate and up one: quantize again with all of them selected or none"});
    return;
  }
}

void lint_shapes(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantConfig& config, std::vector<Problem>& out) {
  int count = 0;
  std::string example;
  for (const LinearSpec& linear : spec.linears()) {
    const QuantGroup* group = config.group_for(linear.name);
    if (group == nullptr || !group->scheme.weights || group->scheme.activations || group->scheme.weights->type != NumberType::integer) continue;
    if (!is_quantized(checkpoint, linear) || (linear.rows % kMarlinOutputs == 0 && linear.columns % kMarlinInputs == 0)) continue;
    if (++count == 1) example = linear.name + " is " + std::to_string(linear.rows) + " x " + std::to_string(linear.columns);
  }
  if (count > 0)
    out.push_back({false, std::to_string(count) + " quantized layers have shapes that vLLM's fast kernels do not take: " + example +
                              ", expected multiples of 64 x 128",
                   "leave these layers in 16 bits (--ignore) for vLLM; other engines, and this one, take them"});
}

void lint_files(const Checkpoint& checkpoint, std::vector<Problem>& out) {
  const std::string& directory = checkpoint.directory();
  if (checkpoint.gguf() != nullptr) {
    try {
      gguf_tokenizer(checkpoint.gguf()->metadata(), directory);
    } catch (const Error& error) {
      out.push_back({true, error.what(), "convert the model again with today's tools, or take its .safetensors files"});
    }
    return;
  }
  if (!file_exists(directory + "/tokenizer.json"))
    out.push_back({false, "tokenizer.json is missing", "copy it from the original model; without it no text goes in or out"});
}

}  // namespace

std::vector<Problem> lint(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantConfig& config) {
  std::vector<Problem> out;
  for (const TranslationNote& note : checkpoint.notes()) out.push_back({false, note.text, note.remedy});
  lint_files(checkpoint, out);
  if (config.method().empty()) return out;
  lint_fused(checkpoint, spec, config, out);
  if (checkpoint.gguf() == nullptr) lint_shapes(checkpoint, spec, config, out);
  return out;
}

}  // namespace codecllm
