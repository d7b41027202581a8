// SPDX-License-Identifier: Apache-2.0
#include "eval/lint.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "format/plain_float.h"
#include "io/gguf_model.h"
#include "io/packed_tensors.h"
#include "io/tensor_name.h"
#include "model/vllm_shapes.h"

namespace codecllm {

namespace {

bool is_quantized(const Checkpoint& checkpoint, const LinearSpec& linear) {
  const TensorInfo* plain = checkpoint.find(linear.name + ".weight");
  return plain == nullptr || !is_plain_float(plain->dtype);
}

std::string activations_of(const QuantArgs& args) {
  return std::string(args.dynamic ? "dynamic" : "static") + " per " + std::string(strategy_name(args.strategy)) + (args.symmetric ? "" : ", asymmetric");
}

std::string scheme_of(const Checkpoint& checkpoint, const QuantConfig& config, const LinearSpec& linear) {
  if (!is_quantized(checkpoint, linear)) return "plain";
  const QuantGroup* group = config.group_for(linear.name);
  if (group == nullptr || !group->scheme.weights) return "unknown";
  const QuantArgs& args = *group->scheme.weights;
  return std::to_string(args.num_bits) + (args.type == NumberType::integer ? " bits, " : "-bit floats, ") + std::string(strategy_name(args.strategy)) +
         (args.group_size > 0 ? " " + std::to_string(args.group_size) : "") + (args.symmetric ? "" : ", asymmetric") +
         (group->group_order ? ", activation order" : "") + (group->scheme.activations ? ", activations " + activations_of(*group->scheme.activations) : "");
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

// A layer that is stored as codes, and what config.json says of it; with a scheme for weights.
struct ToldLinear {
  LinearSpec linear;
  const QuantGroup& group;
};
using ToldLinears = std::vector<ToldLinear>;

ToldLinears told_linears(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantConfig& config) {
  ToldLinears layers;
  for (const LinearSpec& linear : spec.linears())
    if (const QuantGroup* group = config.group_for(linear.name); group != nullptr && group->scheme.weights && is_quantized(checkpoint, linear))
      layers.push_back({linear, *group});
  return layers;
}

void lint_shapes(const ToldLinears& told, std::vector<Problem>& out) {
  std::vector<QuantizedLinear> layers;
  for (const auto& [linear, group] : told) layers.push_back({linear, group.scheme});
  for (const ShapeProblem& problem : shapes_for_vllm(layers)) out.push_back({false, problem.text, problem.remedy});
}

// Scales that were found by calibration stand in the checkpoint.
void lint_inputs(const Checkpoint& checkpoint, const ToldLinears& told, std::vector<Problem>& out) {
  for (const auto& [linear, group] : told) {
    if (!group.scheme.activations || group.scheme.activations->dynamic) continue;
    try {
      fixed_input_scale(checkpoint, linear.name);
    } catch (const Error& error) {
      out.push_back({true, error.what(), "quantize again with a text that reaches this layer, or set \"dynamic\": true under input_activations"});
      return;
    }
  }
}

// Other programs look for the tensors that the format tells of; here their names decide.
void lint_formats(const Checkpoint& checkpoint, const ToldLinears& told, std::vector<Problem>& out) {
  for (const auto& [linear, group] : told) {
    if (!is_stored_quantized(checkpoint, linear.name)) continue;
    const bool words = checkpoint.find(linear.name + ".weight_packed") != nullptr;
    if (words == (group.format == "pack-quantized") && group.format != "dense") continue;
    const std::string stored = words ? "pack-quantized" : group.scheme.weights->type == NumberType::integer ? "int-quantized" : "float-quantized";
    out.push_back({false, linear.name + " is stored as " + stored + ", and quantization_config says \"" + group.format +
                              "\"; transformers and vLLM look for other tensors",
                   "set its \"format\" to \"" + stored + "\""});
    return;
  }
}

// Within the codes' range, as kernels need it that hold zero points in as many bits.
void lint_zero_points(const Checkpoint& checkpoint, const ToldLinears& told, std::vector<Problem>& out) {
  for (const auto& [linear, group] : told) {
    const TensorInfo* zeros = checkpoint.find(linear.name + ".weight_zero_point");
    if (zeros == nullptr || zeros->dtype != DType::i8) continue;
    const int bits = group.scheme.weights->num_bits, half = 1 << (bits - 1);
    const auto outside = std::find_if(zeros->data.begin(), zeros->data.end(), [&](std::byte b) { return static_cast<int8_t>(b) < -half || static_cast<int8_t>(b) >= half; });
    if (outside == zeros->data.end()) continue;
    out.push_back({false, zeros->name + " holds " + std::to_string(static_cast<int8_t>(*outside)) + ", which is no code of " +
                              std::to_string(bits) + " bits; other programs cut it off",
                   "see whether the zero points were stored with half of the range added, and compare the perplexity"});
    return;
  }
}

void lint_unpacked_zeros(const Checkpoint& checkpoint, const ToldLinears& told, std::vector<Problem>& out) {
  for (const auto& [linear, group] : told) {
    const TensorInfo* zeros = checkpoint.find(linear.name + ".weight_zero_point");
    if (zeros != nullptr && zeros->dtype == DType::i8 && zeros->shape.size() == 2 &&
        checkpoint.find(linear.name + ".weight_packed") != nullptr) {
      out.push_back({false, zeros->name + " and its like are not packed, as old versions of compressed-tensors left them; vLLM expects words",
                     "convert to gptq or awq, which pack them, or quantize again"});
      return;
    }
  }
}

// Every other engine leaves them out as well.
void lint_biases(const Checkpoint& checkpoint, const ModelSpec& spec, std::vector<Problem>& out) {
  for (const LinearSpec& linear : spec.linears()) {
    const TensorInfo* bias = linear.bias ? nullptr : checkpoint.find(linear.name + ".bias");
    if (bias == nullptr || !is_plain_float(bias->dtype)) continue;
    std::vector<float> values(static_cast<size_t>(bias->elements()));
    load_floats(bias->data.data(), 0, bias->dtype, values);
    if (std::all_of(values.begin(), values.end(), [](float v) { return v == 0; })) continue;  // as old GPTQ tools added
    out.push_back({true, bias->name + " is not zero, and config.json says that there is no bias", "set \"attention_bias\" or \"mlp_bias\" in config.json"});
    return;
  }
}

void lint_kv_scales(const Checkpoint& checkpoint, std::vector<Problem>& out) {
  for (const TensorInfo* tensor : checkpoint.tensors())
    if (is_kv_scale(tensor->name)) {
      out.push_back({false, tensor->name + " and its like are scales for an 8-bit KV cache, which are not used here",
                     "nothing to do: --kv int8 and --kv fp8 find their scales at run time"});
      return;
    }
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
  lint_biases(checkpoint, spec, out);
  if (config.method().empty()) return out;
  lint_fused(checkpoint, spec, config, out);
  if (checkpoint.gguf() != nullptr) return out;
  const ToldLinears told = told_linears(checkpoint, spec, config);
  lint_shapes(told, out);
  lint_formats(checkpoint, told, out);
  lint_inputs(checkpoint, told, out);
  lint_unpacked_zeros(checkpoint, told, out);
  lint_zero_points(checkpoint, told, out);
  lint_kv_scales(checkpoint, out);
  return out;
}

}  // namespace codecllm
