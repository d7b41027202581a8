// SPDX-License-Identifier: Apache-2.0
#include "quant/quantize.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "base/clock.h"
#include "base/file.h"
#include "format/coded_scheme.h"
#include "format/plain_float.h"
#include "model/model_tokenizer.h"
#include "model/weights.h"
#include "quant/block_by_block.h"
#include "quant/coded.h"
#include "quant/output.h"
#include "quant/provenance.h"
#include "quant/rtn.h"

namespace codecllm {

namespace fs = std::filesystem;

namespace {

// An algorithm with its options and the text it calibrates with.
OrderedJson algorithm_text(const AlgorithmOptions& options) {
  const CalibrationOptions& calibration = options.calibration;
  OrderedJson json = {options.name, options.clip, options.alpha, options.damping, options.act_order, calibration.samples, calibration.tokens};
  if (!calibration.text.empty()) json.push_back(std::hash<std::string>()(read_file(calibration.text)));
  return json;
}

// What is made from what: when any of this differs, a partial output is of no use.
std::string fingerprint_of(const Checkpoint& checkpoint, const QuantizeJob& job, const QuantizeOptions& options) {
  OrderedJson json;
  json["codecllm"] = 1;
  json["algorithm"] = algorithm_text(options.algorithm);
  json["rule"] = options.scale_rule == ScaleRule::restricted ? "restricted" : "full";
  json["config"] = dump_json(job.config);
  for (const TensorInfo* tensor : checkpoint.tensors()) {
    const std::string& file = checkpoint.file_of(*tensor);
    if (json["files"].contains(file)) continue;
    struct stat info = {};
    ::stat(file.c_str(), &info);
    json["files"][file] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }
  for (const Shard& shard : job.shards.shards) json["shards"].push_back(shard.layout.header());
  return dump_json(json);
}

class Worker : BlockSink {
 public:
  Worker(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options,
         const Progress& progress, const QuantizeJob& job, PartialOutput& output, std::vector<std::string>& notes)
      : context_(context),
        checkpoint_(checkpoint),
        spec_(spec),
        options_(options),
        progress_(progress),
        job_(job),
        output_(output),
        notes_(notes),
        smoothed_(checkpoint, spec) {}

  // What the algorithm has a say in; needs the other files.
  void write_blocks() {
    smoothed_.add_all(read_provenance(output_.partial_directory()).factors, output_.partial_directory());
    factors_changed();
    quantize_blocks(context_, checkpoint_, spec_, options_.algorithm, options_.scale_rule, job_, smoothed_, *this,
                    [&](double done, std::string_view what) { return !progress_ || progress_(0.7 * done, what); });
  }

  void write_tensors() {
    for (const TensorJob& tensor : job_.tensors) {
      if (!output_.is_done(tensor.source->name)) {
        switch (tensor.kind) {
          case TensorJob::Kind::copy: copy(tensor); break;
          case TensorJob::Kind::convert: convert(tensor); break;
          case TensorJob::Kind::quantize: quantize_tensor(tensor, {}); break;
        }
        output_.mark_done(tensor.source->name);
      } else {
        advance(*tensor.source, tensor.source->data);
      }
    }
  }

  void write_other_files() {
    if (checkpoint_.gguf() != nullptr)
      for (const auto& [name, text] : gguf_companions(*checkpoint_.gguf())) output_.write_file(name, text);
    else
      for (const std::string& name : other_files(checkpoint_.directory())) output_.copy_file(checkpoint_.directory() + "/" + name, name);
    output_.write_file("config.json", dump_json(job_.config, 2) + "\n");
    if (!job_.shards.index.empty()) output_.write_file("model.safetensors.index.json", job_.shards.index);
  }

 private:
  bool is_done(const TensorJob& tensor) const override { return output_.is_done(tensor.source->name); }
  std::string directory() const override { return output_.partial_directory(); }
  void note(const std::string& sentence) override { notes_.push_back(sentence); }
  void factors_changed() override {
    output_.write_file(kProvenanceFile, provenance_text(options_.algorithm, smoothed_.factors()));
  }

  void write(const TensorJob& tensor, const LayerValues& values) override {
    if (tensor.kind == TensorJob::Kind::quantize) {
      quantize_tensor(tensor, values);
    } else {
      std::vector<std::byte> data(tensor.source->data.size());
      for (size_t i = 0; i < values.weights.size(); ++i)
        store_float(data.data(), static_cast<int64_t>(i), tensor.source->dtype, values.weights[i]);
      output_.write(tensor.source->name, 0, data);
    }
    output_.mark_done(tensor.source->name);
  }

  // Counts source bytes as done, lets their pages go, and asks whether to go on.
  void advance(const TensorInfo& source, std::span<const std::byte> part) {
    done_ += part.size();
    checkpoint_.release(source, part);
    const double share = static_cast<double>(done_) / static_cast<double>(std::max<uint64_t>(1, checkpoint_.total_bytes()));
    if (progress_ && !progress_(0.7 * share, "quantizing"))
      throw Error(ErrorCode::interrupted, "quantize", "interrupted; the same command goes on from here");
  }

  // body(offset, bytes) over pieces of a tensor's data.
  void for_pieces(const TensorJob& tensor, const std::function<void(size_t offset, std::span<const std::byte>)>& body) {
    constexpr size_t kPiece = size_t{8} << 20;
    const auto data = tensor.source->data;
    for (size_t at = 0; at < data.size(); at += kPiece) {
      const auto part = data.subspan(at, std::min(kPiece, data.size() - at));
      body(at, part);
      advance(*tensor.source, part);
    }
  }

  void copy(const TensorJob& tensor) {
    for_pieces(tensor, [&](size_t offset, std::span<const std::byte> part) {
      output_.write(tensor.source->name, offset, part);
    });
  }

  void convert(const TensorJob& tensor) {
    const auto from = static_cast<size_t>(dtype_bits(tensor.source->dtype) / 8);
    const auto to = static_cast<size_t>(dtype_bits(tensor.dtype) / 8);
    for_pieces(tensor, [&](size_t offset, std::span<const std::byte> part) {
      const auto count = static_cast<int64_t>(part.size() / from);
      std::vector<std::byte> converted(static_cast<size_t>(count) * to);
      for (int64_t i = 0; i < count; ++i)
        store_float(converted.data(), i, tensor.dtype, load_float(part.data(), i, tensor.source->dtype));
      output_.write(tensor.source->name, offset / from * to, converted);
    });
  }

  void quantize_tensor(const TensorJob& tensor, const LayerValues& values) {
    const std::string codes = tensor.module + (tensor.bytes ? ".weight" : ".weight_packed");
    const std::string scale = tensor.module + ".weight_scale", zero = tensor.module + ".weight_zero_point";
    uint64_t code_offset = 0, scale_offset = 0, zero_offset = 0;
    round_to_nearest(context_, tensor, options_.scale_rule, checkpoint_.file_of(*tensor.source), values,
                     [&](const QuantizedRows& rows) {
                       output_.write(codes, code_offset, rows.codes);
                       output_.write(scale, scale_offset, rows.scales);
                       if (!rows.zero_points.empty()) output_.write(zero, zero_offset, rows.zero_points);
                       code_offset += rows.codes.size();
                       scale_offset += rows.scales.size();
                       zero_offset += rows.zero_points.size();
                       advance(*tensor.source, rows.source);
                     });
    if (tensor.bytes) return;
    const int64_t shape[2] = {tensor.source->shape[0], tensor.source->shape[1]};
    output_.write(tensor.module + ".weight_shape", 0, std::as_bytes(std::span(shape)));
  }

  const Context& context_;
  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  const QuantizeOptions& options_;
  const Progress& progress_;
  const QuantizeJob& job_;
  PartialOutput& output_;
  std::vector<std::string>& notes_;
  SmoothedSource smoothed_;
  uint64_t done_ = 0;
};

void summarize(QuantizeResult& result, const QuantizeOptions& options) {
  double bits = 0, weights = 0;
  for (const LayerReport& layer : result.layers) {
    bits += 8.0 * static_cast<double>(layer.bytes);
    weights += static_cast<double>(layer.weights);
  }
  result.bits_per_weight = weights > 0 ? bits / weights : dtype_bits(options.scheme.plain);
  result.ratio = static_cast<double>(result.source_bytes) / static_cast<double>(std::max<uint64_t>(1, result.weight_bytes));
}

}  // namespace

std::vector<std::string> other_files(const std::string& directory) {
  static constexpr const char* kWeights[] = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"};
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    const auto is_weight = [&](const char* ending) { return name.ends_with(ending); };
    if (entry.is_regular_file() && name != "config.json" && name != kProvenanceFile && !name.ends_with(".index.json") &&
        std::none_of(std::begin(kWeights), std::end(kWeights), is_weight) && entry.file_size() <= (64u << 20))
      names.push_back(name);
  }
  return names;
}

QuantizeResult quantize_checkpoint(const Context& context, const std::string& model, const std::string& output_path,
                                   const QuantizeOptions& options, const Progress& progress) {
  Stopwatch clock;
  refuse_existing(output_path);
  const Checkpoint checkpoint(model);
  const ModelSpec spec = read_spec(checkpoint);
  if (coded_scheme(options.scheme.name)) {
    if (options.algorithm.name != "rtn" || options.algorithm.clip)
      throw Error(ErrorCode::unsupported, "quantize", "coded schemes round to the nearest in this version; leave --algorithm and --clip out");
    QuantizeResult coded = code_checkpoint(context, checkpoint, spec, output_path, options, progress);
    summarize(coded, options);
    coded.seconds = clock.seconds();
    return coded;
  }
  const Algorithm& algorithm = find_algorithm(options.algorithm);
  const QuantizeJob job = plan_job(checkpoint, spec, options);
  PartialOutput output(output_path, job.shards, fingerprint_of(checkpoint, job, options));
  QuantizeResult result;
  result.resumed = output.resumed();
  if (result.resumed) log_line(context, output.partial_directory() + " is taken up again");
  result.notes = job.notes;
  try {
    Worker worker(context, checkpoint, spec, options, progress, job, output, result.notes);
    worker.write_other_files();  // first: should one be unreadable, no work is lost
    if (options.scheme.weights && (algorithm.calibrates() || options.algorithm.clip)) worker.write_blocks();
    worker.write_tensors();
    const Checkpoint written(output.partial_directory());
    VerifyResult verified = verify(context, written, &checkpoint, [&](double done, std::string_view what) {
      return !progress || progress(0.7 + 0.3 * done, what);
    });
    result.layers = std::move(verified.layers);
    result.bad = std::move(verified.bad);
    result.source_bytes = checkpoint.total_bytes();
    result.weight_bytes = written.total_bytes();
  } catch (const Error& error) {
    // Only an interruption is worth taking up again.
    if (error.code() != ErrorCode::interrupted) output.discard();
    throw;
  }
  if (!result.bad.empty() && !options.force) {
    output.discard();
    std::string message = result.bad.front();
    if (result.bad.size() > 1) message += ", and " + std::to_string(result.bad.size() - 1) + " more layers like it";
    throw Error(ErrorCode::bad_input, "quantize", message + "; no output was left (--force keeps it all the same)");
  }
  output.commit();
  summarize(result, options);
  result.seconds = clock.seconds();
  return result;
}

}  // namespace codecllm
