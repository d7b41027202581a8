// SPDX-License-Identifier: Apache-2.0
// Targets that are directories in Hugging Face's layout.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/plain_float.h"
#include "quant/companions.h"
#include "quant/convert_job.h"

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
    job.tell(tensor.name, std::string(dtype_name(tensor.dtype)), true, 0);
  });
}

void DirectoryWriter::finish(OrderedJson config) {
  ShardPlan shards = plan_shards(std::move(decls_), uint64_t{5} << 30);
  for (const Shard& shard : shards.shards) job_.result.bytes += shard.layout.file_bytes();
  PartialOutput output(job_.output, planned_files(std::move(shards)), "");
  try {
    for_companions(job_.checkpoint, [&](const std::string& name, const std::string& text) { output.write_file(name, text); });
    output.write_file("config.json", dump_json(config, 2) + "\n");
    for (size_t i = 0; i < writes_.size(); ++i) {
      job_.report(static_cast<double>(i) / static_cast<double>(writes_.size()));
      writes_[i].write(output);
      for (TensorDecl& decl : writes_[i].decls) output.added(std::move(decl));
    }
    output.finish_weights();
  } catch (...) {
    output.discard();
    throw;
  }
  output.commit();
}

namespace {

// All tensors as they are, told as compressed-tensors tells them.
void copy_all(ConvertJob& job, const std::string& method) {
  DirectoryWriter writer(job);
  for (const TensorInfo* tensor : job.checkpoint.tensors()) writer.add_copy(*tensor);
  OrderedJson config = config_without_quantization(job.checkpoint);
  if (const auto it = job.checkpoint.config().find("quantization_config"); it != job.checkpoint.config().end() && it->is_object()) {
    OrderedJson quantization = OrderedJson(*it);
    quantization["quant_method"] = method;
    if (method == "codecllm") quantization["version"] = kCodecllmQuantVersion;
    config["quantization_config"] = std::move(quantization);
    std::set<std::string> refused;
    for (const QuantGroup& group : job.config.groups())
      if (const auto sentence = refused_by(group.scheme); sentence && method != "codecllm" && refused.insert(*sentence).second)
        job.result.notes.push_back(*sentence);
  }
  writer.finish(std::move(config));
}

}  // namespace

namespace convert_target {

void to_compressed_tensors(ConvertJob& job) { copy_all(job, "compressed-tensors"); }
void to_codecllm(ConvertJob& job) { copy_all(job, "codecllm"); }

void to_bf16(ConvertJob& job) {
  DirectoryWriter writer(job);
  std::set<std::string> modules;
  const auto rounded = [&job](const std::string& name, int64_t rows, int64_t columns, PartialOutput& output,
                              const std::function<void(int64_t, std::span<float>)>& read) {
    std::vector<float> values(static_cast<size_t>(columns));
    std::vector<std::byte> stored(values.size() * 2);
    bool exact = true;
    double worst = 0;
    for (int64_t row = 0; row < rows; ++row) {
      read(row, values);
      for (int64_t k = 0; k < columns; ++k) {
        const float value = values[static_cast<size_t>(k)];
        store_float(stored.data(), k, DType::bf16, value);
        const float now = load_float(stored.data(), k, DType::bf16);
        exact = exact && (now == value || std::isnan(value));
        worst = std::max(worst, now == value ? 0 : std::fabs(static_cast<double>(now) - value));
      }
      output.write(name, static_cast<uint64_t>(row) * stored.size(), stored);
    }
    job.tell(name, "BF16", exact, worst);
  };
  for (const LinearSpec& linear : job.linears()) {
    const SourceLinear source(job.checkpoint, job.config, linear);
    if (source.args() == nullptr) continue;
    modules.insert(linear.name);
    writer.add({{linear.name + ".weight", DType::bf16, {linear.rows, linear.columns}}}, [source, rounded](PartialOutput& output) {
      rounded(source.linear().name + ".weight", source.linear().rows, source.linear().columns, output,
              [&](int64_t row, std::span<float> values) { source.values(row, values); });
    });
  }
  for (const TensorInfo* tensor : job.checkpoint.tensors()) {
    const size_t dot = tensor->name.rfind('.');
    if (dot != std::string::npos && modules.contains(tensor->name.substr(0, dot)) && !tensor->name.ends_with(".bias")) continue;
    if (!is_plain_float(tensor->dtype) || tensor->dtype == DType::bf16 || tensor->shape.empty()) {
      writer.add_copy(*tensor);
      continue;
    }
    writer.add({{tensor->name, DType::bf16, tensor->shape}}, [tensor, rounded](PartialOutput& output) {
      const int64_t columns = tensor->shape.back(), rows = columns == 0 ? 0 : tensor->elements() / columns;
      rounded(tensor->name, rows, columns, output,
              [&](int64_t row, std::span<float> values) { load_floats(tensor->data.data(), row * columns, tensor->dtype, values); });
    });
  }
  OrderedJson config = config_without_quantization(job.checkpoint);
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = "bfloat16";
  writer.finish(std::move(config));
}

}  // namespace convert_target

}  // namespace codecllm
