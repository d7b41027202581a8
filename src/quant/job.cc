// SPDX-License-Identifier: Apache-2.0
#include "quant/job.h"

#include <algorithm>
#include <map>

#include "codec/container.h"
#include "io/coded_tensors.h"
#include "io/packed_tensors.h"
#include "io/quant_readers.h"
#include "model/vllm_shapes.h"
#include "quant/companions.h"
#include "quant/smoothing_plan.h"

namespace codecllm {

std::string input_scale_name(const std::string& module) { return module + ".input_scale"; }
std::string input_zero_name(const std::string& module) { return module + ".input_zero_point"; }

namespace {

std::string describe(const QuantArgs& args) {
  if (args.strategy == Strategy::group) return "groups of " + std::to_string(args.group_size);
  return "one scale per " + std::string(strategy_name(args.strategy));
}

// The same about one layer or many.
struct LayersFallback {
  std::string what, remedy, first;
  int64_t more = 0;  // layers besides the first

  std::string sentence() const {
    const std::string others = more == 0 ? "" : " and " + std::to_string(more) + " more layer" + (more > 1 ? "s" : "");
    return first + others + ": " + what;
  }
};

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options, const OutlierColumns& outliers)
      : checkpoint_(checkpoint), spec_(spec), options_(options), outliers_(outliers) {}

  QuantizeJob plan() {
    if (!QuantConfig::read(checkpoint_.config(), checkpoint_.config_path()).method().empty())
      throw Error(ErrorCode::bad_call, "quantize", "the model is quantized already; start from its 16-bit original",
                  {.file = checkpoint_.config_path()});
    check_tensors(spec_, checkpoint_);
    check_companions(checkpoint_);
    job_.config = config_of_output(checkpoint_);
    job_.steps = recipe_of(options_);
    for (const RecipeStep& step : job_.steps) find_algorithm(step.algorithm);
    if (options_.recipe.empty()) coded_ = coded_scheme(options_.scheme.name);
    if (coded_) {
      add_coded();
    } else if (quantizes()) {
      for (const LayerChoice& choice : choose_layers(spec_, job_.steps)) add_linear(choice);
      check_smoothing();
      for (const LayersFallback& fallback : fallbacks_) fall_back(fallback.sentence(), fallback.remedy);
      check_fused();
      check_shapes();
    }
    for (const TensorInfo* tensor : checkpoint_.tensors()) add_tensor(*tensor);
    coded_ ? make_coded_config() : make_config();
    return std::move(job_);
  }

 private:
  struct Entry {
    LinearSpec linear;
    QuantScheme scheme;  // fitted
    size_t step;
    bool unsmoothed = false;
  };

  // Otherwise all weights become another plain type.
  bool quantizes() const { return !options_.recipe.empty() || options_.scheme.weights.has_value(); }

  // Something is done otherwise than asked for.
  void fall_back(const std::string& sentence, const std::string& remedy) {
    if (options_.strict) throw Error(ErrorCode::bad_call, "quantize", sentence + "; " + remedy);
    job_.notes.push_back(sentence + "; " + remedy);
  }

  void fall_back_for(const std::string& module, const std::string& what, const std::string& remedy) {
    const auto same = std::find_if(fallbacks_.begin(), fallbacks_.end(), [&](const LayersFallback& other) { return other.what == what; });
    if (same != fallbacks_.end()) {
      ++same->more;
    } else {
      fallbacks_.push_back({.what = what, .remedy = remedy, .first = module});
    }
  }

  // Coded presets take lm_head, too, unless it is the embedding, and the embedding's exact numbers.
  void add_coded() {
    Selection selection = options_.selection;
    if (selection.only.empty())
      for (const LinearSpec& linear : spec_.linears())
        if (linear.kind != LinearKind::lm_head || !spec_.tied_head) selection.only.push_back(linear.name);
    for (const LinearSpec& linear : select_linears(spec_, selection))
      coding_[linear.name + ".weight"] = *coded_;
    const auto takes_embedding = [&](const std::string& pattern) { return matches_pattern(pattern, spec_.embedding); };
    const auto& ignore = options_.selection.ignore;
    if (options_.selection.only.empty() && std::none_of(ignore.begin(), ignore.end(), takes_embedding))
      coding_[spec_.embedding + ".weight"] = {.lossless = true};
  }

  void add_linear(const LayerChoice& choice) {
    const LinearSpec& linear = choice.linear;
    const RecipeStep& step = job_.steps[choice.step];
    const TensorInfo& source = checkpoint_.need(linear.name + ".weight");
    const ErrorPlace place = {.file = checkpoint_.file_of(source), .tensor = source.name};
    const std::optional<QuantArgs>& inputs = step.scheme.activations;
    if (inputs && !inputs->dynamic && linear.kind == LinearKind::lm_head)
      throw Error(ErrorCode::unsupported, "quantize", "the inputs of lm_head are not calibrated in this version; leave it out, or take a "
                                                      "scheme whose activations are scaled at run time", place);
    if (inputs && !inputs->dynamic && step.algorithm.calibration.text.empty())
      throw Error(ErrorCode::bad_call, "quantize", "static scales of activations need a calibration text; give one with --calibrate");
    if (inputs && inputs->outliers && find_algorithm(step.algorithm).smooth != nullptr)
      throw Error(ErrorCode::bad_call, "quantize", "llm-int8 keeps large channels apart and " + step.algorithm.name +
                                                       " scales them away, two remedies for one ill; take --algorithm rtn or gptq, or another scheme");
    const QuantScheme fitted = fit_scheme(step.scheme, linear.columns);
    if (fitted != step.scheme)
      fall_back_for(linear.name, "rows of " + std::to_string(linear.columns) + " do not divide into groups of " +
                                     std::to_string(step.scheme.weights->group_size) + ", so " + describe(*fitted.weights) +
                                     (fitted.weights->strategy == Strategy::group ? " are used" : " is used"),
                    "to choose yourself, leave layers out (--ignore) or give them a scheme of their own (--recipe)");
    quantized_[source.name] = {linear, fitted, choice.step};
  }

  void check_smoothing() {
    const auto algorithm_of = [&](const std::string& module) -> const AlgorithmOptions* {
      const auto it = quantized_.find(module + ".weight");
      return it != quantized_.end() ? &job_.steps[it->second.step].algorithm : nullptr;
    };
    for (const Unsmoothed& layer : unsmoothed_layers(spec_, algorithm_of)) {
      quantized_.at(layer.module + ".weight").unsmoothed = true;
      if (!layer.what.empty()) fall_back_for(layer.module, layer.what, layer.remedy);
    }
  }

  std::string stored_as(const LinearSpec& linear) const {
    const auto it = quantized_.find(linear.name + ".weight");
    if (it == quantized_.end()) return "not quantized";
    const std::string name = scheme_name(it->second.scheme);
    return name != "custom" ? name : std::to_string(it->second.scheme.weights->num_bits) + " bits, " + describe(*it->second.scheme.weights);
  }

  // Engines that fuse q, k and v (gate and up) need them alike.
  void check_fused() {
    std::map<int, const LinearSpec*> first;
    const std::vector<LinearSpec> linears = spec_.linears();
    for (const LinearSpec& linear : linears) {
      if (linear.fused_group < 0) continue;
      const LinearSpec& other = *first.try_emplace(linear.fused_group, &linear).first->second;
      const auto a = quantized_.find(other.name + ".weight"), b = quantized_.find(linear.name + ".weight");
      const bool both = a != quantized_.end() && b != quantized_.end();
      if (both ? a->second.scheme == b->second.scheme : a == b) continue;
      return fall_back("vLLM will refuse the result: it fuses q, k and v, and gate and up, but " + other.name + " (" + stored_as(other) +
                           ") and " + linear.name + " (" + stored_as(linear) + ") differ",
                       "give all of them one scheme, or none");
    }
  }

  void check_shapes() {
    std::vector<QuantizedLinear> layers;
    for (const auto& [name, entry] : quantized_) layers.push_back({entry.linear, entry.scheme});
    for (const ShapeProblem& problem : shapes_for_vllm(layers))
      problem.refused ? fall_back(problem.text, problem.remedy) : job_.notes.push_back(problem.text + "; " + problem.remedy);
  }

  void add_tensor(const TensorInfo& tensor) {
    if (const auto it = coding_.find(tensor.name); it != coding_.end()) return add_coded(tensor, it->second);
    if (const auto it = quantized_.find(tensor.name); it != quantized_.end()) return add_quantized(tensor, it->second);
    const bool convert = !coded_ && !quantizes() && is_plain_float(tensor.dtype) && tensor.dtype != options_.scheme.plain;
    const DType dtype = convert ? options_.scheme.plain : tensor.dtype;
    job_.tensors.push_back({.kind = convert ? TensorJob::Kind::convert : TensorJob::Kind::copy, .source = &tensor, .module = "", .args = {},
                            .dtype = dtype, .decls = {{tensor.name, dtype, tensor.shape}}});
  }

  void add_quantized(const TensorInfo& tensor, const Entry& entry) {
    const LinearSpec& linear = entry.linear;
    const QuantArgs& args = *entry.scheme.weights;
    TensorJob job = {.kind = TensorJob::Kind::quantize, .source = &tensor, .module = linear.name, .args = args,
                     .dtype = args.scale_dtype.value_or(tensor.dtype), .bytes = stores_bytes(entry.scheme),
                     .inputs = entry.scheme.activations, .step = entry.step, .unsmoothed = entry.unsmoothed};
    job.decls = packed_decls(linear.name, linear.rows, linear.columns, args, job.dtype, job.bytes);
    if (job.calibrated_inputs()) job.decls.push_back({input_scale_name(linear.name), DType::f32, {1}});
    if (job.calibrated_inputs() && !job.inputs->symmetric) job.decls.push_back({input_zero_name(linear.name), DType::i8, {1}});
    if (job.stores_columns()) {
      if (const auto found = outliers_.find(linear.name); found != outliers_.end()) job.outliers = found->second;
      const auto count = static_cast<int64_t>(job.outliers.size());
      job.decls.push_back({linear.name + ".outlier_columns", DType::i32, {count}});
      if (count > 0) job.decls.push_back({linear.name + ".outlier_weight", tensor.dtype, {linear.rows, count}});
    }
    job_.tensors.push_back(std::move(job));
  }

  void add_coded(const TensorInfo& tensor, const CodedScheme& coded) {
    // Scales in the weights' own type, but for F16, whose smallest number may be too large for them.
    const DType scales = tensor.dtype == DType::f16 && coded.rate > 0 ? DType::f32 : tensor.dtype;
    const std::string module = tensor.name.substr(0, tensor.name.size() - std::string_view(".weight").size());
    std::vector<TensorDecl> decls = {{module + kCodedSuffix, DType::u8, {static_cast<int64_t>(tensor.data.size())}}};
    if (!coded.lossless) decls.push_back({module + ".weight_scale", scales, {tensor.shape[0], 1}});
    decls.push_back({tensor.name, tensor.dtype, tensor.shape});
    job_.tensors.push_back({.kind = TensorJob::Kind::code, .source = &tensor, .module = module, .args = {}, .dtype = scales, .coded = coded,
                            .decls = std::move(decls)});
  }

  void make_coded_config() {
    job_.config["quantization_config"] = {{"quant_method", "codecllm"}, {"version", kCodecllmQuantVersion}, {"format", "coded"},
                                          {"scheme", options_.scheme.name}, {"container", kContainerVersion}};
    for (std::string& sentence : readers_of("codecllm", {})) job_.notes.push_back(std::move(sentence));
  }

  void make_config() {
    if (!quantizes()) {
      const char* name = options_.scheme.plain == DType::f32   ? "float32"
                         : options_.scheme.plain == DType::f16 ? "float16"
                                                               : "bfloat16";
      job_.config[job_.config.contains("dtype") ? "dtype" : "torch_dtype"] = name;
      return;
    }
    std::vector<std::string> ignore;
    std::vector<QuantGroup> groups;
    for (const LinearSpec& linear : spec_.linears()) {
      const auto it = quantized_.find(linear.name + ".weight");
      if (it == quantized_.end()) {
        ignore.push_back(linear.name);
        continue;
      }
      const QuantScheme& scheme = it->second.scheme;
      auto group = std::find_if(groups.begin(), groups.end(), [&](const QuantGroup& g) {
        return g.scheme.weights == scheme.weights && g.scheme.activations == scheme.activations;
      });
      if (group == groups.end()) group = groups.insert(group, {.name = "group_" + std::to_string(groups.size()), .targets = {}, .scheme = scheme});
      group->targets.push_back(linear.name);
    }
    if (groups.size() == 1) groups[0].targets = {"Linear"};
    OrderedJson config = make_quant_config(groups, ignore);
    for (std::string& sentence : readers_of(config["quant_method"].get<std::string>(), groups)) job_.notes.push_back(std::move(sentence));
    job_.config["quantization_config"] = std::move(config);
  }

  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  const QuantizeOptions& options_;
  const OutlierColumns& outliers_;
  std::optional<CodedScheme> coded_;
  std::map<std::string, Entry> quantized_;     // by tensor name
  std::map<std::string, CodedScheme> coding_;  // by tensor name
  std::vector<LayersFallback> fallbacks_;
  QuantizeJob job_;
};

}  // namespace

std::vector<RecipeStep> recipe_of(const QuantizeOptions& options) {
  std::vector<RecipeStep> steps = options.recipe;
  if (steps.empty()) steps.push_back({options.scheme, options.selection, options.algorithm});
  // Calibration is what tells the columns beforehand.
  for (RecipeStep& step : steps)
    if (step.scheme.activations && step.scheme.activations->outliers)
      step.scheme.activations->outliers->stored = !step.algorithm.calibration.text.empty();
  return steps;
}

QuantizeJob plan_job(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options, const OutlierColumns& outliers) {
  return Planner(checkpoint, spec, options, outliers).plan();
}

}  // namespace codecllm
