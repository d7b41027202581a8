// SPDX-License-Identifier: Apache-2.0
#include "quant/block_by_block.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace codecllm {

namespace {

class BlockPipeline {
 public:
  BlockPipeline(const Context& context, const Checkpoint& source, const ModelSpec& spec, const AlgorithmOptions& options,
                ScaleRule rule, const QuantizeJob& job, SmoothedSource& smoothed, BlockSink& sink, const Progress& progress)
      : context_(context),
        source_(source),
        spec_(spec),
        options_(options),
        algorithm_(find_algorithm(options)),
        rule_(rule),
        smoothed_(smoothed),
        sink_(sink),
        progress_(progress) {
    for (const TensorJob& tensor : job.tensors) jobs_[tensor.source->name] = &tensor;
  }

  void run() {
    if (algorithm_.calibrates()) {
      samples_ = calibration_samples(source_.directory(), spec_, options_.calibration);
      if (static_cast<int64_t>(samples_.samples.size()) < options_.calibration.samples)
        sink_.note("the calibration text gives " + std::to_string(samples_.samples.size()) + " samples of " +
                   std::to_string(samples_.window) + " tokens, fewer than " + std::to_string(options_.calibration.samples));
      runner_.emplace(context_, source_, spec_, samples_, sink_.directory());
    }
    for (int64_t layer = 0; layer < spec_.layers; ++layer) {
      const std::vector<BlockInput> inputs = block_inputs(spec_, layer);
      const bool last = layer + 1 == spec_.layers, done = is_done(inputs);
      std::map<std::string, InputKnowledge, std::less<>> known;
      if (runner_ && !(done && algorithm_.sees_quantized)) known = study(inputs, layer, !done, !last && !algorithm_.sees_quantized);
      if (!done) quantize(inputs, known);
      if (runner_ && algorithm_.sees_quantized && !last) {
        const Checkpoint written(sink_.directory());
        runner_->run(load_block(context_, written, spec_, layer), layer, nullptr, true, pass(layer, 0.5));
      }
    }
  }

 private:
  // Whose codes the algorithm finds.
  static bool takes_codes(const TensorJob& job) {
    return job.kind == TensorJob::Kind::quantize || (job.kind == TensorJob::Kind::code && job.coded.rate > 0);
  }

  const TensorJob* quantized(const std::string& module) const {
    const auto it = jobs_.find(module + ".weight");
    return it != jobs_.end() && takes_codes(*it->second) ? it->second : nullptr;
  }

  // The tensors of a block that the algorithm may change.
  std::vector<const TensorJob*> tensors_of(const std::vector<BlockInput>& inputs) const {
    std::vector<const TensorJob*> list;
    for (const BlockInput& input : inputs) {
      for (const LinearSpec& reader : input.readers)
        if (const TensorJob* job = quantized(reader.name)) list.push_back(job);
      const std::string made = input.norm.empty() ? input.producer + ".bias" : input.norm + ".weight";
      if (const auto it = jobs_.find(made); it != jobs_.end() && algorithm_.smooth != nullptr) list.push_back(it->second);
    }
    return list;
  }

  bool is_done(const std::vector<BlockInput>& inputs) const {
    const auto list = tensors_of(inputs);
    return std::all_of(list.begin(), list.end(), [&](const TensorJob* job) { return sink_.is_done(*job); });
  }

  // The share of a block that a pass covers begins at `from` and is what is left of it, or half.
  std::function<bool(double)> pass(int64_t layer, double from) const {
    const double width = algorithm_.sees_quantized ? 0.5 : 1;
    return [this, layer, from, width](double done) {
      return !progress_ || progress_((static_cast<double>(layer) + from + width * done) / static_cast<double>(spec_.layers), "calibrating");
    };
  }

  std::map<std::string, InputKnowledge, std::less<>> study(const std::vector<BlockInput>& inputs, int64_t layer, bool wanted,
                                                           bool advance) {
    BlockStatistics statistics;
    if (wanted) statistics = runner_->statistics(layer, algorithm_.statistics);
    if (wanted || advance)
      runner_->run(load_block(context_, source_, spec_, layer), layer, wanted ? &statistics : nullptr, advance, pass(layer, 0));
    std::map<std::string, InputKnowledge, std::less<>> known;
    if (!wanted) return known;
    for (const BlockInput& input : inputs) {
      InputStatistics& seen = statistics.find(input.tap)->second;
      InputKnowledge& out = known[std::string(input.tap)];
      if ((algorithm_.statistics & kChannelStatistics) != 0) out.channel_amax = seen.channel_amax(), out.channel_mean = seen.channel_mean();
      if ((algorithm_.statistics & kGramStatistics) != 0) out.gram = seen.take_gram();
      const bool silent = std::all_of(out.channel_amax.begin(), out.channel_amax.end(), [](float v) { return v == 0; });
      if (!out.channel_amax.empty() && silent)
        sink_.note(input.readers.front().name + " saw nothing but zeros in calibration; give a longer text");
    }
    return known;
  }

  void quantize(const std::vector<BlockInput>& inputs, std::map<std::string, InputKnowledge, std::less<>>& known) {
    if (algorithm_.smooth != nullptr) smooth(inputs, known);
    for (const BlockInput& input : inputs) {
      InputKnowledge& knowledge = known[std::string(input.tap)];
      for (const LinearSpec& reader : input.readers) {
        const TensorJob* job = quantized(reader.name);
        if (job == nullptr || sink_.is_done(*job)) continue;
        LayerTask task = make_task(reader, *job);
        std::vector<Grid> grids;
        if (algorithm_.solve != nullptr) grids = algorithm_.solve(context_, input, task, knowledge, options_);
        if (grids.empty() && options_.clip) grids = fit_grids(context_, task, true);
        std::vector<float> scales;
        std::vector<int8_t> zeros;
        for (const Grid& grid : grids) {
          scales.push_back(grid.scale);
          if (!task.args.symmetric) zeros.push_back(static_cast<int8_t>(grid.zero));
        }
        sink_.write(*job, {.weights = task.weights, .scales = scales, .zeros = zeros, .kind = task.kind});
      }
      knowledge = {};
    }
    for (const TensorJob* job : tensors_of(inputs)) {
      if (takes_codes(*job) || sink_.is_done(*job) || !smoothed_.changes(job->source->name)) continue;
      std::vector<float> values(static_cast<size_t>(job->source->elements()));
      smoothed_.read(*job->source, 0, values);
      sink_.write(*job, {.weights = values});
    }
  }

  // Values whose readers, and what makes them, are all quantized here.
  void smooth(const std::vector<BlockInput>& inputs, std::map<std::string, InputKnowledge, std::less<>>& known) {
    std::vector<std::pair<const BlockInput*, std::vector<float>>> found;
    for (const BlockInput& input : inputs) {
      // Taken up again within a block: its factors are known, and the weights read through them already.
      if (smoothed_.factors().contains(input.norm.empty() ? input.producer : input.norm)) {
        scale_gram(input, known[std::string(input.tap)]);
        continue;
      }
      std::vector<LayerTask> readers;
      for (const LinearSpec& reader : input.readers)
        if (const TensorJob* job = quantized(reader.name)) readers.push_back(make_task(reader, *job));
      if (readers.size() != input.readers.size() || (input.norm.empty() && quantized(input.producer) == nullptr)) continue;
      InputKnowledge& knowledge = known[std::string(input.tap)];
      std::vector<float> factors = algorithm_.smooth(context_, input, readers, knowledge, options_);
      if (factors.empty()) continue;
      found.emplace_back(&input, std::move(factors));
    }
    // Only now, since the rows of one value's readers may be another value's producer.
    for (auto& [input, factors] : found) {
      smoothed_.add(*input, std::move(factors));
      scale_gram(*input, known[std::string(input->tap)]);
    }
    if (!found.empty()) sink_.factors_changed();
  }

  // X^T X of the value divided by its factors.
  void scale_gram(const BlockInput& input, InputKnowledge& knowledge) const {
    const std::vector<float>& s = smoothed_.column_factors(input.readers.front().name + ".weight");
    const auto n = static_cast<size_t>(input.columns);
    for (size_t i = 0; i < knowledge.gram.size(); ++i) knowledge.gram[i] /= s[i / n] * s[i % n];
  }

  LayerTask make_task(const LinearSpec& linear, const TensorJob& job) const {
    LayerTask task = {linear, job.args, rule_, job.dtype, std::vector<float>(static_cast<size_t>(linear.rows * linear.columns))};
    task.coded_bits = job.coded.rate;
    context_.impl().pool.parallel_for(static_cast<size_t>(linear.rows), 16, [&](size_t begin, size_t end, int) {
      for (size_t row = begin; row < end; ++row) {
        const auto out = std::span(task.weights).subspan(row * static_cast<size_t>(linear.columns), static_cast<size_t>(linear.columns));
        smoothed_.read(*job.source, static_cast<int64_t>(row), out);
        if (std::isnan(finite_range(out).low))
          throw Error(ErrorCode::bad_input, "quantize", "NaN or infinity in row " + std::to_string(row) + "; the weights are damaged",
                      {.file = source_.file_of(*job.source), .tensor = job.source->name});
      }
    });
    return task;
  }

  const Context& context_;
  const Checkpoint& source_;
  const ModelSpec& spec_;
  const AlgorithmOptions& options_;
  const Algorithm& algorithm_;
  const ScaleRule rule_;
  SmoothedSource& smoothed_;
  BlockSink& sink_;
  const Progress& progress_;
  std::map<std::string, const TensorJob*> jobs_;  // by tensor name
  CalibrationSamples samples_;
  std::optional<BlockRunner> runner_;
};

}  // namespace

void quantize_blocks(const Context& context, const Checkpoint& source, const ModelSpec& spec, const AlgorithmOptions& options,
                     ScaleRule rule, const QuantizeJob& job, SmoothedSource& smoothed, BlockSink& sink, const Progress& progress) {
  BlockPipeline(context, source, spec, options, rule, job, smoothed, sink, progress).run();
}

}  // namespace codecllm
