// SPDX-License-Identifier: Apache-2.0
#include "quant/quantize.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "codecllm/version.h"
#include "format/coded_scheme.h"
#include "format/plain_float.h"
#include "io/coded_tensors.h"
#include "model/weights.h"
#include "quant/block_by_block.h"
#include "quant/coded.h"
#include "quant/companions.h"
#include "quant/output.h"
#include "quant/provenance.h"
#include "quant/rtn.h"

namespace codecllm {

namespace {

// The steps' algorithms with their options, and the text they calibrate with.
OrderedJson algorithms_text(const QuantizeJob& job, Isa isa) {
  OrderedJson json = OrderedJson::array();
  for (const RecipeStep& step : job.steps) {
    const AlgorithmOptions& options = step.algorithm;
    json.push_back({options.name, options.clip, options.alpha, options.damping, options.act_order});
  }
  for (const TensorJob& tensor : job.tensors)
    if (tensor.kind == TensorJob::Kind::quantize) json.push_back(tensor.step);
  const CalibrationOptions& calibration = job.steps.front().algorithm.calibration;
  if (!calibration.text.empty()) json.push_back(isa_name(isa));  // activations have other last bits on other tiers
  json.push_back({calibration.samples, calibration.tokens, calibration.observer.name, calibration.observer.percentile});
  if (!calibration.text.empty())
    for (const std::string& piece : calibration_text(calibration)) json.push_back(std::hash<std::string>()(piece));
  return json;
}

// What is made from what: when any of this differs, a partial output is of no use.
std::string fingerprint_of(const Context& context, const Checkpoint& checkpoint, const QuantizeJob& job, const QuantizeOptions& options) {
  OrderedJson json;
  json["codecllm"] = CODECLLM_VERSION;
  json["algorithms"] = algorithms_text(job, context.impl().isa);
  json["rule"] = options.scale_rule == ScaleRule::restricted ? "restricted" : "full";
  json["config"] = dump_json(job.config);
  for (const TensorInfo* tensor : checkpoint.tensors()) {
    const std::string& file = checkpoint.file_of(*tensor);
    if (json["files"].contains(file)) continue;
    struct stat info = {};
    ::stat(file.c_str(), &info);
    json["files"][file] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }
  json["shard_bytes"] = options.shard_bytes;
  for (const TensorJob& tensor : job.tensors)
    for (const TensorDecl& decl : tensor.decls) json["tensors"].push_back({tensor.source->name, decl.name, dtype_name(decl.dtype), decl.shape});
  return dump_json(json);
}

std::unique_ptr<WeightFiles> files_for(const QuantizeJob& job, const QuantizeOptions& options) {
  std::vector<TensorDecl> decls;
  bool grows = false;
  for (const TensorJob& tensor : job.tensors) {
    decls.insert(decls.end(), tensor.decls.begin(), tensor.decls.end());
    grows = grows || tensor.kind == TensorJob::Kind::code;
  }
  return grows ? growing_files(std::move(decls), options.shard_bytes) : planned_files(plan_shards(std::move(decls), options.shard_bytes));
}

// Shares of the progress that are reached when what is made is known, where that takes a look at the weights or at
// activations; when all blocks, and when all tensors are written; the rest is verification.
constexpr double kPlannedShare = 0.1, kBlocksShare = 0.6, kWrittenShare = 0.7;

constexpr const char* kInterrupted = "interrupted; the same command goes on from here";

class Worker : BlockSink {
 public:
  Worker(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options,
         const Progress& progress, const QuantizeJob& job, PartialOutput& output, double first_share, std::vector<std::string>& notes)
      : context_(context),
        checkpoint_(checkpoint),
        spec_(spec),
        options_(options),
        progress_(progress),
        job_(job),
        output_(output),
        notes_(notes),
        smoothed_(checkpoint, spec),
        first_share_(first_share) {}

  // What the algorithm has a say in; needs the other files.
  double write_blocks() {
    smoothed_.add_all(read_provenance(output_.partial_directory()).factors, output_.partial_directory());
    factors_changed();
    blocks_share_ = first_share_;
    const double seconds = quantize_blocks(context_, checkpoint_, spec_, job_.steps.front().algorithm.calibration, options_.scale_rule, job_, smoothed_,
                                           *this, [&](double done, std::string_view) {
                                             blocks_share_ = first_share_ + (kBlocksShare - first_share_) * done;
                                             return !progress_ || progress_(*blocks_share_, "calibrating");
                                           });
    blocks_share_.reset();
    first_share_ = kBlocksShare;
    done_ = 0;
    return seconds;
  }

  void write_tensors() {
    for (const TensorJob& tensor : job_.tensors) write_tensor(tensor);
  }

  void write_other_files() {
    for_companions(checkpoint_, [&](const std::string& name, const std::string& text) { output_.write_file(name, text); });
    output_.write_file("config.json", dump_json(job_.config, 2) + "\n");
    const bool quantizes = std::any_of(job_.tensors.begin(), job_.tensors.end(), [](const TensorJob& tensor) { return tensor.kind == TensorJob::Kind::quantize; });
    if (quantizes && !file_exists(output_.partial_directory() + "/" + kProvenanceFile)) factors_changed();  // an interrupted run may have left its factors
  }

 private:
  void write_tensor(const TensorJob& tensor) {
    if (!output_.is_done(tensor.source->name)) {
      write(tensor, {});
    } else {
      advance(*tensor.source, tensor.source->data);
    }
  }

  bool is_done(const std::string& name) const override { return output_.is_done(name); }
  std::string directory() const override {
    output_.make_readable();
    return output_.partial_directory();
  }
  void note(const std::string& sentence) override { notes_.push_back(sentence); }
  void factors_changed() override {
    output_.write_file(kProvenanceFile, provenance_text(job_, smoothed_.factors()));
  }

  void write_input_scale(const TensorJob& tensor, const Grid& grid) override {
    const std::string name = input_scale_name(tensor.module);
    output_.write(name, 0, std::as_bytes(std::span(&grid.scale, 1)));
    const auto zero = static_cast<int8_t>(grid.zero);
    if (!tensor.inputs->symmetric) output_.write(input_zero_name(tensor.module), 0, std::as_bytes(std::span(&zero, 1)));
    output_.mark_done(name);
  }

  void write(const TensorJob& tensor, const LayerValues& values) override {
    if (tensor.kind == TensorJob::Kind::quantize) {
      quantize_tensor(tensor, values);
    } else if (tensor.kind == TensorJob::Kind::code) {
      code(tensor, values);
    } else if (values.weights.empty()) {
      tensor.kind == TensorJob::Kind::copy ? copy(tensor) : convert(tensor);
    } else {
      std::vector<std::byte> data(tensor.source->data.size());
      for (size_t i = 0; i < values.weights.size(); ++i)
        store_float(data.data(), static_cast<int64_t>(i), tensor.source->dtype, values.weights[i]);
      output_.write(tensor.source->name, 0, data);
      output_.added(tensor.decls.front());
    }
    output_.mark_done(tensor.source->name);
  }

  // Counts source bytes as done, lets their pages go, and asks whether to go on.
  void advance(const TensorInfo& source, std::span<const std::byte> part) {
    done_ += part.size();
    checkpoint_.release(source, part);
    report();
  }

  // While blocks are calibrated and written, that is what is told.
  void report() const {
    if (!progress_) return;
    const double done = static_cast<double>(done_) / static_cast<double>(std::max<uint64_t>(1, checkpoint_.total_bytes()));
    const double share = blocks_share_ ? *blocks_share_ : first_share_ + (kWrittenShare - first_share_) * std::min(1.0, done);
    if (!progress_(share, blocks_share_ ? "calibrating" : "quantizing"))
      throw Error(ErrorCode::interrupted, "quantize", kInterrupted);
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
    output_.begin(tensor.source->data.size());
    for_pieces(tensor, [&](size_t offset, std::span<const std::byte> part) {
      output_.write(tensor.source->name, offset, part);
    });
    output_.added({tensor.source->name, tensor.source->dtype, tensor.source->shape});
  }

  void code(const TensorJob& tensor, const LayerValues& values) {
    const std::string name = tensor.module + kCodedSuffix, scale = tensor.module + ".weight_scale";
    output_.begin(tensor.source->data.size());
    const auto coded = code_matrix(context_, checkpoint_, tensor, options_.scale_rule, values, [&](uint64_t offset, std::span<const std::byte> part) {
      output_.write(name, offset, part);
      report();
    });
    if (!coded) return copy(tensor);
    output_.added({name, DType::u8, {static_cast<int64_t>(coded->bytes)}});
    if (!coded->scales.empty()) {
      output_.write(scale, 0, coded->scales);
      output_.added({scale, tensor.dtype, {tensor.source->shape[0], 1}});
    }
    advance(*tensor.source, tensor.source->data);
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
    output_.added(tensor.decls.front());
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
    if (tensor.stores_columns()) write_outliers(tensor);
    const int64_t shape[2] = {tensor.source->shape[0], tensor.source->shape[1]};
    if (!tensor.bytes) output_.write(tensor.module + ".weight_shape", 0, std::as_bytes(std::span(shape)));
    for (const TensorDecl& decl : tensor.decls) output_.added(decl);
  }

  void write_outliers(const TensorJob& tensor) {
    if (tensor.outliers.empty()) return;  // a tensor of no bytes
    output_.write(tensor.module + ".outlier_columns", 0, std::as_bytes(std::span(tensor.outliers)));
    const auto bytes = static_cast<size_t>(dtype_bits(tensor.source->dtype) / 8), columns = static_cast<size_t>(tensor.source->shape[1]);
    std::vector<std::byte> row(tensor.outliers.size() * bytes);
    for (size_t r = 0; r < static_cast<size_t>(tensor.source->shape[0]); ++r) {
      for (size_t i = 0; i < tensor.outliers.size(); ++i)
        std::memcpy(&row[i * bytes], tensor.source->data.data() + (r * columns + static_cast<size_t>(tensor.outliers[i])) * bytes, bytes);
      output_.write(tensor.module + ".outlier_weight", r * row.size(), row);
    }
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
  uint64_t done_ = 0;                    // source bytes
  std::optional<double> blocks_share_;  // while write_blocks runs
  double first_share_;                   // that the next phase begins with
};

// Bits per weight are those of the linear layers, as `inspect` counts them: an embedding may be coded, too, without loss.
void summarize(QuantizeResult& result, const QuantizeOptions& options, const ModelSpec& spec) {
  double bits = 0, weights = 0;
  for (const LayerReport& layer : result.layers) {
    if (layer.name == spec.embedding) continue;
    bits += 8.0 * static_cast<double>(layer.bytes);
    weights += static_cast<double>(layer.weights);
  }
  result.bits_per_weight = weights > 0 ? bits / weights : dtype_bits(options.scheme.plain);
  result.ratio = static_cast<double>(result.source_bytes) / static_cast<double>(std::max<uint64_t>(1, result.weight_bytes));
}

// What coded schemes go with.
void check_coded(const QuantizeOptions& options) {
  const auto coded = coded_scheme(options.scheme.name);
  const bool rated = coded && coded->rate > 0;
  const auto refuse = [](const std::string& what) { throw Error(ErrorCode::bad_call, "quantize", what); };
  if (options.target && !rated) refuse("a target of bits or bytes goes with coded-B (such as coded-4.5)");
  if (int{options.target.bits.has_value()} + int{options.target.bytes.has_value()} + int{!options.target.layers.empty()} > 1)
    refuse("give a target of bits, or one of bytes, or the rates of the layers");
  if (!coded) return;
  if (options.algorithm.clip || (options.algorithm.name != "rtn" && !(rated && options.algorithm.name == "gptq")))
    throw Error(ErrorCode::unsupported, "quantize", "coded-B takes --algorithm rtn or gptq, other coded schemes rtn alone, all without --clip");
}

// The rates go into the job and, since they are part of what is made from what, into its config.
std::vector<PlannedRate> plan_target(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const QuantizeOptions& options,
                                     const std::string& output_path, QuantizeJob& job, const Progress& progress) {
  if (!options.target) return {};
  const std::map<std::string, double>& given = options.target.layers;
  std::vector<PlannedRate> plan;
  if (given.empty()) {
    const std::string parent = std::filesystem::absolute(output_path).parent_path();
    plan = plan_rates(context, checkpoint, spec, options.target, options.algorithm.calibration, job, parent,
                      [&](double done, std::string_view what) { return !progress || progress(kPlannedShare * done, what); });
  }
  for (TensorJob& tensor : job.tensors) {
    if (!tensor.rated()) continue;
    if (!given.empty()) {
      const auto rate = given.find(tensor.module);
      if (rate == given.end()) throw Error(ErrorCode::bad_call, "quantize", "no rate is given for " + tensor.module);
      tensor.coded.rate = rate->second;
    }
    job.config["quantization_config"]["rates"][tensor.module] = tensor.coded.rate;
  }
  return plan;
}

}  // namespace

// What calibration tells of LLM.int8()'s columns has a say in the size of everything, so it comes before the final plan.
static OutlierColumns outlier_columns(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, const std::string& output,
                                      const QuantizeJob& job, const Progress& progress) {
  std::map<std::string, float> thresholds;
  for (const TensorJob& tensor : job.tensors)
    if (tensor.stores_columns()) thresholds[tensor.module] = tensor.inputs->outliers->threshold;
  if (thresholds.empty()) return {};
  const std::filesystem::path beside = std::filesystem::absolute(output).parent_path();
  make_directories(beside);
  return calibrate_outliers(context, checkpoint, spec, job.steps.front().algorithm.calibration, thresholds, beside,
                            [&](double done, std::string_view what) { return !progress || progress(kPlannedShare * done, what); });
}

// Layers that are too small for their rate: scales, records and the container's ends take bits, too.
static std::string missed_rates(const QuantizeJob& job, const QuantizeResult& result) {
  constexpr double kSlack = 0.05;
  int missed = 0;
  double most = 0;
  std::string which;
  for (const TensorJob& tensor : job.tensors) {
    if (!tensor.rated()) continue;
    const auto layer = std::ranges::find(result.layers, tensor.module, &LayerReport::name);
    if (layer == result.layers.end() || layer->weights == 0) continue;
    const double bits = 8 * static_cast<double>(layer->bytes) / static_cast<double>(layer->weights);
    if (bits <= tensor.coded.rate + kSlack) continue;
    ++missed;
    if (bits > most) most = bits, which = layer->name;
  }
  if (missed == 0) return "";
  char text[512];
  std::snprintf(text, sizeof text, "%d of the layers take more bits than asked for, up to %.2f (", missed, most);
  return text + which + "): too small for their scales and container";
}

QuantizeResult quantize_checkpoint(const Context& context, const std::string& model, const std::string& output_path,
                                   const QuantizeOptions& options, const Progress& progress) {
  Stopwatch clock;
  refuse_existing_output(output_path);
  const Checkpoint checkpoint(model);
  const ModelSpec spec = read_spec(checkpoint);
  if (options.recipe.empty()) check_coded(options);
  QuantizeJob job = plan_job(checkpoint, spec, options);  // what it refuses is refused before any calibration
  const Stopwatch search;
  const OutlierColumns outliers = outlier_columns(context, checkpoint, spec, output_path, job, progress);
  const double searched = search.seconds();
  if (!outliers.empty()) job = plan_job(checkpoint, spec, options, outliers);
  std::vector<PlannedRate> plan = plan_target(context, checkpoint, spec, options, output_path, job, progress);
  const bool blocks = needs_blocks(job);
  PartialOutput output(output_path, files_for(job, options), fingerprint_of(context, checkpoint, job, options));
  QuantizeResult result;
  result.calibration_seconds = searched;
  result.resumed = output.resumed();
  if (result.resumed) log_line(context, output.partial_directory() + " is taken up again");
  result.notes = job.notes;
  const double first_share = outliers.empty() && plan.empty() ? 0 : kPlannedShare;
  result.plan = std::move(plan);
  try {
    Worker worker(context, checkpoint, spec, options, progress, job, output, first_share, result.notes);
    worker.write_other_files();
    if (blocks) result.calibration_seconds += worker.write_blocks();
    worker.write_tensors();
    output.finish_weights();
    const Checkpoint written(output.partial_directory());
    VerifyResult verified = verify(context, written, &checkpoint, [&](double done, std::string_view what) {
      return !progress || progress(kWrittenShare + (1 - kWrittenShare) * done, what);
    });
    result.layers = std::move(verified.layers);
    result.bad = std::move(verified.bad);
    result.source_bytes = checkpoint.total_bytes();
    result.weight_bytes = written.total_bytes();
  } catch (const Error& error) {
    // Only an interruption is worth taking up again.
    if (error.code() == ErrorCode::interrupted) throw Error(ErrorCode::interrupted, "quantize", kInterrupted);
    output.discard();
    throw;
  }
  const std::string missed = missed_rates(job, result);
  if (!result.bad.empty() && !options.force) {
    output.discard();
    std::string message = result.bad.front();
    if (result.bad.size() > 1) message += ", and " + std::to_string(result.bad.size() - 1) + " more layers like it";
    if (!missed.empty()) message += "; " + missed;
    throw Error(ErrorCode::bad_input, "quantize", message + "; no output was left (--force keeps it all the same)");
  }
  output.commit();
  if (!missed.empty()) result.notes.push_back(missed);
  summarize(result, options, spec);
  result.seconds = clock.seconds();
  return result;
}

}  // namespace codecllm
