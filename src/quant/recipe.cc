// SPDX-License-Identifier: Apache-2.0
#include "quant/recipe.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "format/coded_scheme.h"
#include "io/quant_args.h"

namespace codecllm {

namespace {

constexpr int kRecipeVersion = 1;

class RecipeReader {
 public:
  RecipeReader(const std::string& file, const CalibrationOptions& calibration) : file_(file), calibration_(calibration) {}

  std::vector<RecipeStep> read() {
    const Json json = read_json_file(file_);
    check_keys(json, {"version", "steps"}, "the recipe");
    if (json_need<int>(json, "version", file_) != kRecipeVersion)
      throw Error(ErrorCode::unsupported, "recipe", "version " + std::to_string(json_need<int>(json, "version", file_)) + ", expected " +
                                                        std::to_string(kRecipeVersion) + "; update codecllm or write the recipe for this version",
                  {.file = file_});
    const auto steps = json.find("steps");
    if (steps == json.end() || !steps->is_array() || steps->empty()) fail("'steps' is not a list of at least one step");
    std::vector<RecipeStep> out;
    for (size_t i = 0; i < steps->size(); ++i) out.push_back(read_step((*steps)[i], "step " + std::to_string(i + 1)));
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::bad_call, "recipe", what, {.file = file_}); }

  void check_keys(const Json& object, const std::vector<std::string>& known, const std::string& where) const {
    if (!object.is_object()) fail(where + " is not an object");
    for (const auto& [key, value] : object.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      std::string list;
      for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
      fail(where + " has the key '" + key + "'; there are: " + list);
    }
  }

  RecipeStep read_step(const Json& json, const std::string& where) const {
    check_keys(json, {"targets", "ignore", "scheme", "algorithm", "parameters"}, where);
    RecipeStep step;
    step.selection = {patterns(json, "targets", where), patterns(json, "ignore", where)};
    step.scheme = read_scheme(json, where);
    step.file = file_;
    step.algorithm.calibration = calibration_;
    if (!step.scheme.weights && (json.contains("algorithm") || json.contains("parameters")))
      fail(where + ": layers that stay in 16 bits have no algorithm and no parameters");
    step.algorithm.name = json_or<std::string>(json, "algorithm", "rtn", file_);
    if (const auto it = json.find("parameters"); it != json.end()) read_parameters(*it, where, step.algorithm);
    return step;
  }

  std::vector<std::string> patterns(const Json& json, const char* key, const std::string& where) const {
    const auto it = json.find(key);
    if (it == json.end()) return {};
    std::vector<std::string> out;
    if (!it->is_array() || it->empty()) fail(where + ": '" + key + "' is not a list of patterns");
    for (const Json& item : *it) {
      if (!item.is_string()) fail(where + ": '" + key + "' holds something that is not a text");
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  void read_parameters(const Json& json, const std::string& where, AlgorithmOptions& out) const {
    check_keys(json, {"clip", "alpha", "damping", "act_order"}, where + ": parameters");
    std::vector<std::string> used;
    std::istringstream words(algorithm_named(out.name).parameters);
    for (std::string word; words >> word;)
      if (std::find(used.begin(), used.end(), word) == used.end()) used.push_back(word);
    check_keys(json, used, where + ": parameters of " + out.name);
    out.clip = json_or<bool>(json, "clip", out.clip, file_);
    out.alpha = json_or<float>(json, "alpha", out.alpha, file_);
    out.damping = json_or<double>(json, "damping", out.damping, file_);
    out.act_order = json_or<bool>(json, "act_order", out.act_order, file_);
    if (!(out.alpha >= 0 && out.alpha <= 1)) fail(where + ": alpha is not in 0 to 1");
    if (!(out.damping >= 0 && out.damping <= 1)) fail(where + ": damping is not in 0 to 1");
  }

  // A preset's name, "none", or weights and input_activations in compressed-tensors' words.
  QuantScheme read_scheme(const Json& json, const std::string& where) const {
    const auto it = json.find("scheme");
    if (it == json.end()) fail(where + " has no scheme");
    QuantScheme scheme = {.name = "none"};
    if (it->is_string()) {
      const auto name = it->get<std::string>();
      if (name == "none") return scheme;
      scheme = scheme_preset(name);
      if (!scheme.weights || coded_scheme(name)) fail(where + ": scheme '" + name + "' is for whole models; give it with --scheme");
      return scheme;
    }
    check_keys(*it, {"weights", "input_activations"}, where + ": scheme");
    const std::vector<std::string> words = {"num_bits", "type", "strategy", "group_size", "block_structure", "symmetric", "dynamic", "scale_dtype", "outliers"};
    const auto args = [&](const char* key) -> std::optional<QuantArgs> {
      const auto value = it->find(key);
      if (value == it->end() || value->is_null()) return std::nullopt;
      const std::string place = where + ": scheme's " + key;
      check_keys(*value, words, place);
      const QuantArgs read = read_quant_args(*value, place, file_).args;
      if (const auto type = value->find("scale_dtype"); type != value->end() && !type->is_null() && !read.scale_dtype)
        fail(place + " has an unknown scale_dtype; there are: torch.float32, torch.bfloat16, torch.float16, torch.float8_e8m0fnu");
      return read;
    };
    scheme.weights = args("weights");
    scheme.activations = args("input_activations");
    if (!scheme.weights) fail(where + ": scheme has no weights");
    check_scheme(scheme, where);
    scheme.name = scheme_name(scheme);
    return scheme;
  }

  // What the kernels here do not multiply.
  void check_scheme(const QuantScheme& scheme, const std::string& where) const {
    const QuantArgs& weights = *scheme.weights;
    if (weights.dynamic || weights.strategy == Strategy::token) fail(where + ": weights have no scales at run time");
    if (weights.type == NumberType::integer && weights.num_bits < 2) fail(where + ": integers of 2 to 8 bits are in this version");
    if (weights.type != NumberType::integer && !weights.symmetric) fail(where + ": 8-bit floats are symmetric");
    const int columns = weights.strategy == Strategy::group ? weights.group_size : weights.strategy == Strategy::block ? weights.block[1] : 32;
    if (columns % 32 != 0) fail(where + ": groups of " + std::to_string(columns) + " weights, expected a multiple of 32");
    if (!scheme.activations) return;
    const QuantArgs& inputs = *scheme.activations;
    if (inputs.num_bits != 8 || inputs.type != weights.type) fail(where + ": input_activations have 8 bits of the weights' type");
    if (!inputs.symmetric && (inputs.type != NumberType::integer || (inputs.dynamic && inputs.strategy != Strategy::token)))
      fail(where + ": asymmetric input_activations are integers, with one scale per token, or one from calibration");
    const bool grouped = inputs.strategy == Strategy::group;
    if (grouped && (weights.strategy != Strategy::block || weights.block[1] != inputs.group_size))
      fail(where + ": input_activations in groups go with weights in blocks of as many columns");
    if (!inputs.dynamic && inputs.strategy != Strategy::tensor) fail(where + ": static input_activations have the strategy tensor");
  }

  const std::string& file_;
  const CalibrationOptions& calibration_;
};

}  // namespace

std::vector<RecipeStep> read_recipe(const std::string& file, const CalibrationOptions& calibration) {
  return RecipeReader(file, calibration).read();
}

std::vector<LayerChoice> choose_layers(const ModelSpec& spec, const std::vector<RecipeStep>& steps) {
  std::map<std::string, size_t> last;
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string of = " of step " + std::to_string(i + 1) + (steps[i].file.empty() ? "" : " of " + steps[i].file);
    const bool options = steps.size() == 1 && steps[i].file.empty();  // of the command line
    const auto selected = options ? select_linears(spec, steps[i].selection)
                                  : select_linears(spec, steps[i].selection, "targets" + of, "ignore" + of);
    for (const LinearSpec& linear : selected) last[linear.name] = i;
  }
  std::vector<LayerChoice> choices;
  for (const LinearSpec& linear : spec.linears())
    if (const auto it = last.find(linear.name); it != last.end() && steps[it->second].scheme.weights)
      choices.push_back({linear, it->second});
  if (choices.empty()) throw Error(ErrorCode::bad_call, "quantize", "no layer is left to quantize");
  return choices;
}

}  // namespace codecllm
