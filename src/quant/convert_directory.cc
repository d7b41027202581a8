// SPDX-License-Identifier: Apache-2.0
// Targets that are directories in Hugging Face's layout.
#include <algorithm>

#include "format/plain_float.h"
#include "io/quant_readers.h"
#include "io/tensor_name.h"
#include "quant/companions.h"
#include "quant/convert_job.h"
#include "quant/provenance.h"

namespace codecllm {

std::vector<LinearSpec> ConvertJob::linears() const {
  std::vector<LinearSpec> list;
  for (LinearSpec& linear : spec.linears())
    if (linear.kind != LinearKind::lm_head || !spec.tied_head) list.push_back(std::move(linear));
  return list;
}

void ConvertJob::report(double done) const {
  if (progress && !progress(done, "converting")) throw Error(ErrorCode::interrupted, "convert", "interrupted; nothing was written");
}

void ConvertJob::note_activations() {
  const auto& groups = config.groups();
  if (std::any_of(groups.begin(), groups.end(), [](const QuantGroup& group) { return group.scheme.activations.has_value(); }))
    note("this layout has no quantized activations: they stay in 16 bits");
}

void ConvertJob::note_coarser(int bits) {
  int64_t layers = 0;
  std::string first;
  for (const LinearSpec& linear : linears()) {
    if (config.groups().empty() || linear.kind == LinearKind::lm_head) continue;
    const SourceLinear source(checkpoint, config, linear);
    if (source.args() != nullptr && source.args()->num_bits <= bits && !source.keeps_columns()) continue;
    if (++layers == 1) first = linear.name;
  }
  if (layers > 0)
    note(std::to_string(layers) + " layers (" + first + " is the first) had more bits, and have " + std::to_string(bits) +
         " now, as this layout has one type for all; compressed-tensors keeps what it has words for");
}

OrderedJson config_without_quantization(const Checkpoint& checkpoint) {
  OrderedJson config = config_of_output(checkpoint);
  config.erase("quantization_config");
  config.erase("compression_config");
  return config;
}

void DirectoryWriter::add(std::vector<TensorDecl> decls, std::function<void(PartialOutput&)> write) {
  decls_.insert(decls_.end(), decls.begin(), decls.end());
  writes_.push_back({std::move(decls), std::move(write)});
}

void DirectoryWriter::add_copy(const TensorInfo& tensor) {
  add({{tensor.name, tensor.dtype, tensor.shape}}, [&job = job_, &tensor](PartialOutput& output) {
    output.write(tensor.name, 0, tensor.data);
    job.checkpoint.release(tensor);
    job.tell(tensor.name, std::string(dtype_name(tensor.dtype)), {});
  });
}

void DirectoryWriter::add_floats(const std::string& name, DType dtype, int64_t rows, int64_t columns, std::vector<int64_t> shape,
                                 std::function<void(int64_t row, std::span<float> values)> read) {
  add({{name, dtype, std::move(shape)}}, [&job = job_, name, dtype, rows, columns, read = std::move(read)](PartialOutput& output) {
    std::vector<float> values(static_cast<size_t>(columns));
    std::vector<std::byte> stored(values.size() * static_cast<size_t>(dtype_bits(dtype)) / 8);
    Change change;
    for (int64_t row = 0; row < rows; ++row) {
      read(row, values);
      store_floats(values, dtype, stored.data(), change);
      output.write(name, static_cast<uint64_t>(row) * stored.size(), stored);
    }
    job.tell(name, std::string(dtype_name(dtype)), change);
  });
}

void DirectoryWriter::add_floats(const SourceLinear& source, DType dtype) {
  const LinearSpec& linear = source.linear();
  add_floats(linear.name + ".weight", dtype, linear.rows, linear.columns, {linear.rows, linear.columns},
             [source](int64_t row, std::span<float> values) { source.values(row, values); });
}

void DirectoryWriter::add_others(const std::set<std::string, std::less<>>& modules) {
  for (const TensorInfo* tensor : job_.checkpoint.tensors())
    if (const auto [module, part] = split_tensor_name(tensor->name); part == ".bias" || !modules.contains(module)) add_copy(*tensor);
}

void DirectoryWriter::finish(OrderedJson config, bool copied) {
  ShardPlan shards = plan_shards(std::move(decls_), uint64_t{5} << 30);
  for (const Shard& shard : shards.shards) job_.result.bytes += shard.layout.file_bytes();
  PartialOutput output(job_.output, planned_files(std::move(shards)), "");
  try {
    for_companions(job_.checkpoint, [&](const std::string& name, const std::string& text) { output.write_file(name, text); });
    output.write_file("config.json", dump_json(config, 2) + "\n");
    for (size_t i = 0; i < writes_.size(); ++i) {
      job_.report(static_cast<double>(i) / static_cast<double>(writes_.size()));
      writes_[i].write(output);
      for (const TensorDecl& decl : writes_[i].decls) output.added(decl);
    }
    if (config.contains("quantization_config"))
      if (const std::string text = passed_provenance(job_.checkpoint.directory(), copied, job_.result.requantized() > 0); !text.empty()) output.write_file(kProvenanceFile, text);
    output.finish_weights();
  } catch (...) {
    output.discard();
    throw;
  }
  output.commit();
}

namespace {

// What the source's config.json says of quantization, null where nothing.
OrderedJson quantization_of(const ConvertJob& job) {
  const Json* quantization = find_quantization(job.checkpoint.config());
  return quantization != nullptr && quantization->is_object() ? OrderedJson(*quantization) : nullptr;
}

// All tensors as they are, with these words about them.
void copy_all(ConvertJob& job, OrderedJson quantization) {
  DirectoryWriter writer(job);
  for (const TensorInfo* tensor : job.checkpoint.tensors()) writer.add_copy(*tensor);
  OrderedJson config = config_without_quantization(job.checkpoint);
  if (quantization.is_object()) {
    for (std::string& sentence : readers_of(quantization["quant_method"].get<std::string>(), job.config.groups())) job.note(std::move(sentence));
    config["quantization_config"] = std::move(quantization);
  }
  writer.finish(std::move(config), true);
}

// Throws Error(unsupported) for codes that compressed-tensors has no words for.
void check_expressible(const ConvertJob& job) {
  for (const LinearSpec& linear : job.linears()) {
    const SourceLinear source(job.checkpoint, job.config, linear);
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorCode::unsupported, "convert", what + " no place in compressed-tensors; convert to bf16, gptq or gguf",
                  {.file = job.checkpoint.file_of(source.tensor()), .tensor = source.tensor().name});
    };
    if (source.keeps_columns()) refuse("columns in 16 bits beside INT8 ones have");
    if (source.args() != nullptr && source.args()->type == NumberType::float_e5m2) refuse("8-bit floats of type E5M2 have");
  }
}

}  // namespace

namespace convert_target {

void to_compressed_tensors(ConvertJob& job) {
  check_expressible(job);
  OrderedJson quantization = quantization_of(job);
  if (quantization.is_object()) {
    quantization["quant_method"] = "compressed-tensors";
    if (quantization.contains("version") && quantization["version"].is_number()) quantization.erase("version");  // codecllm's
    bool rule = false;
    for (OrderedJson& group : quantization["config_groups"])
      if (OrderedJson& inputs = group["input_activations"]; inputs.is_object()) rule = inputs.erase("outliers") > 0 || rule;
    if (rule) job.note("compressed-tensors has no words for LLM.int8()'s rule that large features stay in 16 bits: as plain W8A8, which this is now, they are rounded too");
  }
  copy_all(job, std::move(quantization));
}

void to_codecllm(ConvertJob& job) {
  for (const LinearSpec& linear : job.linears()) SourceLinear(job.checkpoint, job.config, linear);  // refuses what cannot be told so
  OrderedJson quantization = quantization_of(job);
  if (quantization.is_object()) {
    quantization["quant_method"] = "codecllm";
    quantization["version"] = codecllm_quant_version(job.config.groups());
  }
  copy_all(job, std::move(quantization));
}

void to_bf16(ConvertJob& job) {
  DirectoryWriter writer(job);
  job.note_activations();
  std::set<std::string, std::less<>> modules;
  for (const LinearSpec& linear : job.linears()) {
    const SourceLinear source(job.checkpoint, job.config, linear);
    if (source.args() == nullptr) continue;
    modules.insert(linear.name);
    writer.add_floats(source, DType::bf16);
  }
  for (const TensorInfo* tensor : job.checkpoint.tensors()) {
    const auto [module, part] = split_tensor_name(tensor->name);
    if (modules.contains(module) && part != ".bias") continue;
    if (!is_plain_float(tensor->dtype) || tensor->dtype == DType::bf16 || tensor->shape.empty()) {
      writer.add_copy(*tensor);
      continue;
    }
    const int64_t columns = tensor->shape.back(), rows = columns == 0 ? 0 : tensor->elements() / columns;
    writer.add_floats(tensor->name, DType::bf16, rows, columns, tensor->shape, [tensor, columns](int64_t row, std::span<float> values) {
      load_floats(tensor->data.data(), row * columns, tensor->dtype, values);
    });
  }
  OrderedJson config = config_without_quantization(job.checkpoint);
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = "bfloat16";
  writer.finish(std::move(config));
}

}  // namespace convert_target

}  // namespace codecllm
