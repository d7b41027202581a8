// SPDX-License-Identifier: Apache-2.0
#include "quant/job.h"

#include <algorithm>
#include <map>

#include "codec/container.h"
#include "io/coded_tensors.h"
#include "io/packed_tensors.h"
#include "io/quant_readers.h"
#include "quant/companions.h"

namespace codecllm {

namespace {

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options)
      : checkpoint_(checkpoint), spec_(spec), options_(options) {}

  QuantizeJob plan() {
    if (!QuantConfig::read(checkpoint_.config(), checkpoint_.config_path()).method().empty())
      throw Error(ErrorCode::bad_call, "quantize", "the model is quantized already; start from its 16-bit original",
                  {.file = checkpoint_.config_path()});
    job_.config = config_of_output(checkpoint_);
    coded_ = coded_scheme(options_.scheme.name);
    if (coded_) {
      add_coded();
    } else if (options_.scheme.weights) {
      for (const LinearSpec& linear : select_linears(spec_, options_.selection)) add_linear(linear);
      check_fused();
    }
    for (const TensorInfo* tensor : checkpoint_.tensors()) add_tensor(*tensor);
    coded_ ? make_coded_config() : make_config();
    return std::move(job_);
  }

 private:
  const TensorInfo& weight_of(const std::string& module, int64_t rows, int64_t columns) const {
    const TensorInfo& source = checkpoint_.need(module + ".weight");
    const ErrorPlace place = {.file = checkpoint_.file_of(source), .tensor = source.name};
    if (source.shape != std::vector<int64_t>{rows, columns})
      throw Error(ErrorCode::bad_input, "quantize", "the shape is not the one config.json says", place);
    if (!is_plain_float(source.dtype))
      throw Error(ErrorCode::unsupported, "quantize", "type " + std::string(dtype_name(source.dtype)) +
                                                          ", expected F32, BF16 or F16", place);
    return source;
  }

  // Coded presets take lm_head, too, unless it is the embedding, and the embedding's exact numbers.
  void add_coded() {
    Selection selection = options_.selection;
    if (selection.only.empty())
      for (const LinearSpec& linear : spec_.linears())
        if (linear.kind != LinearKind::lm_head || !spec_.tied_head) selection.only.push_back(linear.name);
    for (const LinearSpec& linear : select_linears(spec_, selection))
      coding_[weight_of(linear.name, linear.rows, linear.columns).name] = *coded_;
    const auto takes_embedding = [&](const std::string& pattern) { return matches_pattern(pattern, spec_.embedding); };
    const auto& ignore = options_.selection.ignore;
    if (options_.selection.only.empty() && std::none_of(ignore.begin(), ignore.end(), takes_embedding))
      coding_[weight_of(spec_.embedding, spec_.vocab, spec_.hidden).name] = {.lossless = true};
  }

  void add_linear(const LinearSpec& linear) {
    const TensorInfo& source = weight_of(linear.name, linear.rows, linear.columns);
    const QuantScheme fitted = fit_scheme(options_.scheme, linear.columns);
    if (fitted != options_.scheme)
      job_.notes.push_back(linear.name + ": rows of " + std::to_string(linear.columns) + " do not divide into groups of " +
                           std::to_string(options_.scheme.weights->group_size) + ", so " + describe(*fitted.weights) +
                           " is used");
    quantized_[source.name] = {linear, *fitted.weights};
  }

  static std::string describe(const QuantArgs& args) {
    if (args.strategy == Strategy::group) return "groups of " + std::to_string(args.group_size);
    return "one scale per " + std::string(strategy_name(args.strategy));
  }

  // Engines that fuse q, k and v (gate and up) need them alike.
  void check_fused() {
    std::map<int, int> left_out, taken;
    for (const LinearSpec& linear : spec_.linears())
      if (linear.fused_group >= 0) ++(quantized_.contains(linear.name + ".weight") ? taken : left_out)[linear.fused_group];
    for (const auto& [group, count] : taken) {
      if (!left_out.contains(group)) continue;
      job_.notes.push_back(
          "vLLM will refuse the result: it fuses q, k and v, and gate and up, and some of them are quantized and some "
          "not; select all of them or none");
      return;
    }
  }

  void add_tensor(const TensorInfo& tensor) {
    if (const auto it = coding_.find(tensor.name); it != coding_.end()) return add_coded(tensor, it->second);
    if (const auto it = quantized_.find(tensor.name); it != quantized_.end()) {
      const LinearSpec& linear = it->second.linear;
      const QuantArgs& args = it->second.args;
      const DType scales = args.scale_dtype.value_or(tensor.dtype);
      const bool bytes = stores_bytes({.weights = args, .activations = options_.scheme.activations});
      job_.tensors.push_back({.kind = TensorJob::Kind::quantize, .source = &tensor, .module = linear.name, .args = args, .dtype = scales,
                              .bytes = bytes, .decls = packed_decls(linear.name, linear.rows, linear.columns, args, scales, bytes)});
      return;
    }
    const bool convert = !coded_ && !options_.scheme.weights && is_plain_float(tensor.dtype) && tensor.dtype != options_.scheme.plain;
    const DType dtype = convert ? options_.scheme.plain : tensor.dtype;
    job_.tensors.push_back({.kind = convert ? TensorJob::Kind::convert : TensorJob::Kind::copy, .source = &tensor, .module = "", .args = {},
                            .dtype = dtype, .decls = {{tensor.name, dtype, tensor.shape}}});
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
    job_.notes.push_back("only codecllm loads entropy-coded weights");
  }

  void make_config() {
    if (!options_.scheme.weights) {
      const char* name = options_.scheme.plain == DType::f32   ? "float32"
                         : options_.scheme.plain == DType::f16 ? "float16"
                                                               : "bfloat16";
      job_.config[job_.config.contains("dtype") ? "dtype" : "torch_dtype"] = name;
      return;
    }
    std::vector<std::string> ignore;
    std::map<std::string, std::vector<std::string>> by_args;  // fitted args -> modules, when they differ
    std::map<std::string, QuantScheme> schemes;
    for (const LinearSpec& linear : spec_.linears()) {
      const auto it = quantized_.find(linear.name + ".weight");
      if (it == quantized_.end()) {
        ignore.push_back(linear.name);
        continue;
      }
      QuantScheme scheme = options_.scheme;
      scheme.weights = it->second.args;
      const std::string key = describe(it->second.args);
      by_args[key].push_back(linear.name);
      schemes[key] = scheme;
    }
    std::vector<QuantGroup> groups;
    for (const auto& [key, modules] : by_args) {
      QuantGroup group;
      group.name = "group_" + std::to_string(groups.size());
      if (by_args.size() > 1) group.targets = modules;
      group.scheme = schemes[key];
      for (std::string& sentence : readers_of(group))
        if (std::find(job_.notes.begin(), job_.notes.end(), sentence) == job_.notes.end()) job_.notes.push_back(std::move(sentence));
      groups.push_back(std::move(group));
    }
    job_.config["quantization_config"] = make_quant_config(groups, ignore);
  }

  struct Entry {
    LinearSpec linear;
    QuantArgs args;
  };

  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  const QuantizeOptions& options_;
  std::optional<CodedScheme> coded_;
  std::map<std::string, Entry> quantized_;      // by tensor name
  std::map<std::string, CodedScheme> coding_;   // by tensor name
  QuantizeJob job_;
};

}  // namespace

QuantizeJob plan_job(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options) {
  return Planner(checkpoint, spec, options).plan();
}

}  // namespace codecllm
