// SPDX-License-Identifier: Apache-2.0
#include "quant/job.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "io/packed_tensors.h"

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
    if (options_.scheme.weights) {
      for (const LinearSpec& linear : select_linears(spec_, options_.selection)) add_linear(linear);
      check_fused();
    }
    std::vector<TensorDecl> decls;
    for (const TensorInfo* tensor : checkpoint_.tensors()) add_tensor(*tensor, decls);
    job_.shards = plan_shards(std::move(decls), options_.shard_bytes);
    make_config();
    return std::move(job_);
  }

 private:
  void add_linear(const LinearSpec& linear) {
    const TensorInfo& source = checkpoint_.need(linear.name + ".weight");
    const ErrorPlace place = {.file = checkpoint_.file_of(source), .tensor = source.name};
    if (source.shape != std::vector<int64_t>{linear.rows, linear.columns})
      throw Error(ErrorCode::bad_input, "quantize", "the shape is not the one config.json says", place);
    if (!is_plain_float(source.dtype))
      throw Error(ErrorCode::unsupported, "quantize", "type " + std::string(dtype_name(source.dtype)) +
                                                          ", expected F32, BF16 or F16", place);
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

  void add_tensor(const TensorInfo& tensor, std::vector<TensorDecl>& decls) {
    if (const auto it = quantized_.find(tensor.name); it != quantized_.end()) {
      const LinearSpec& linear = it->second.linear;
      const QuantArgs& args = it->second.args;
      const DType scales = args.scale_dtype.value_or(tensor.dtype);
      const bool bytes = stores_bytes({.weights = args, .activations = options_.scheme.activations});
      job_.tensors.push_back({TensorJob::Kind::quantize, &tensor, linear.name, args, scales, bytes});
      for (TensorDecl& decl : packed_decls(linear.name, linear.rows, linear.columns, args, scales, bytes))
        decls.push_back(std::move(decl));
      return;
    }
    const bool convert = !options_.scheme.weights && is_plain_float(tensor.dtype) && tensor.dtype != options_.scheme.plain;
    const DType dtype = convert ? options_.scheme.plain : tensor.dtype;
    job_.tensors.push_back({convert ? TensorJob::Kind::convert : TensorJob::Kind::copy, &tensor, "", {}, dtype});
    decls.push_back({tensor.name, dtype, tensor.shape});
  }

  void make_config() {
    // Read again, in the file's own order of keys.
    job_.config = checkpoint_.gguf() != nullptr ? OrderedJson(checkpoint_.config())
                                                : OrderedJson::parse(read_file(checkpoint_.config_path()));
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
      if (const auto sentence = refused_by(group.scheme)) job_.notes.push_back(*sentence);
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
  std::map<std::string, Entry> quantized_;  // by tensor name
  QuantizeJob job_;
};

}  // namespace

QuantizeJob plan_job(const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options) {
  return Planner(checkpoint, spec, options).plan();
}

}  // namespace codecllm
