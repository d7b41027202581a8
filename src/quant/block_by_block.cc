// SPDX-License-Identifier: Apache-2.0
#include "quant/block_by_block.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/clock.h"
#include "quant/smoothing_plan.h"

namespace codecllm {

namespace {

// Whose codes an algorithm may find.
bool takes_codes(const TensorJob& job) {
  return job.kind == TensorJob::Kind::quantize || job.rated();
}

using Knowledge = std::map<std::string, InputKnowledge, std::less<>>;  // by tap

class BlockPipeline {
 public:
  BlockPipeline(const Context& context, const Checkpoint& source, const ModelSpec& spec, const CalibrationOptions& calibration,
                ScaleRule rule, const QuantizeJob& job, SmoothedSource& smoothed, BlockSink& sink, const Progress& progress)
      : context_(context),
        source_(source),
        spec_(spec),
        calibration_(calibration),
        rule_(rule),
        steps_(job.steps),
        smoothed_(smoothed),
        sink_(sink),
        progress_(progress) {
    for (const RecipeStep& step : job.steps) algorithms_.push_back(find_algorithm(step.algorithm));
    for (const TensorJob& tensor : job.tensors) {
      jobs_[tensor.source->name] = &tensor;
      if (!takes_codes(tensor)) continue;
      sees_quantized_ |= algorithm_of(tensor).sees_quantized;
      calibrates_ |= algorithm_of(tensor).calibrates() || tensor.calibrated_inputs();
    }
  }

  // The seconds that samples took through blocks.
  double run() {
    if (calibrates_) {
      samples_ = calibration_samples(source_.directory(), spec_, calibration_);
      if (static_cast<int64_t>(samples_.samples.size()) < calibration_.samples)
        sink_.note("the calibration text gives " + std::to_string(samples_.samples.size()) + " samples of " +
                   std::to_string(samples_.window) + " tokens, fewer than " + std::to_string(calibration_.samples));
      runner_.emplace(context_, source_, spec_, samples_, sink_.directory());
    }
    for (layer_ = 0; layer_ < spec_.layers; ++layer_) {
      inputs_ = block_inputs(spec_, layer_);
      passes_ = 0;
      const bool last = layer_ + 1 == spec_.layers, done = is_done(), wanted = !done && kinds() != 0;
      // Static scales are of inputs as they are after smoothing: a second pass.
      const bool ranges_later = wanted && smooths() && calibrates_inputs();
      const bool advance = !last && !sees_quantized_;
      Knowledge known;
      if (runner_ && (wanted || advance)) known = study(wanted, ranges_later, advance && !ranges_later);
      if (!done) {
        smooth(known);
        if (ranges_later) study_ranges(advance, known);
        write_input_scales(known);
        quantize(known);
      }
      if (runner_ && sees_quantized_ && !last) run_written();
    }
    return seconds_;
  }

 private:
  const TensorJob* quantized(const std::string& module) const {
    const auto it = jobs_.find(module + ".weight");
    return it != jobs_.end() && takes_codes(*it->second) ? it->second : nullptr;
  }
  const Algorithm& algorithm_of(const TensorJob& tensor) const { return algorithms_[tensor.step]; }
  const AlgorithmOptions& options_of(const TensorJob& tensor) const { return steps_[tensor.step].algorithm; }
  // Not what rounding to the nearest does, which needs no second look.
  bool concerned(const TensorJob& tensor) const { return algorithm_of(tensor).calibrates() || options_of(tensor).clip; }

  // body(input, job) for the quantized layers of the block.
  template <class Body>
  void for_layers(const Body& body) const {
    for (const BlockInput& input : inputs_)
      for (const LinearSpec& reader : input.readers)
        if (const TensorJob* job = quantized(reader.name)) body(input, *job);
  }
  template <class Test>
  bool any_layer(const Test& test) const {
    bool found = false;
    for_layers([&](const BlockInput&, const TensorJob& job) { found = found || test(job); });
    return found;
  }
  bool smooths() const {
    return any_layer([&](const TensorJob& job) { return algorithm_of(job).smooth != nullptr; });
  }
  bool calibrates_inputs() const {
    return any_layer([](const TensorJob& job) { return job.calibrated_inputs(); });
  }
  // Statistics that the block's layers ask for.
  unsigned kinds() const {
    unsigned kinds = calibrates_inputs() ? unsigned{kRangeStatistics} : 0u;
    for_layers([&](const BlockInput&, const TensorJob& job) { kinds |= algorithm_of(job).statistics; });
    return kinds;
  }

  // Vectors of the block that smoothing may change.
  std::vector<const TensorJob*> vectors() const {
    std::vector<const TensorJob*> list;
    for (const BlockInput& input : inputs_)
      if (const auto it = jobs_.find(input.norm.empty() ? input.producer + ".bias" : input.norm + ".weight"); it != jobs_.end() && smooths())
        list.push_back(it->second);
    return list;
  }

  bool is_done() const {
    const auto open = [&](const TensorJob* job) { return !sink_.is_done(job->source->name); };
    const std::vector<const TensorJob*> others = vectors();
    return std::none_of(others.begin(), others.end(), open) && !any_layer([&](const TensorJob& job) {
      return (concerned(job) && open(&job)) || (job.calibrated_inputs() && !sink_.is_done(input_scale_name(job.module)));
    });
  }

  // The passes of a block share its part of the progress: one, or two halves.
  std::function<bool(double)> pass(bool two) {
    const double from = 0.5 * passes_++, width = two ? 0.5 : 1;
    return [this, from, width](double done) {
      const double share = (static_cast<double>(layer_) + std::min(1.0, from + width * done)) / static_cast<double>(spec_.layers);
      return !progress_ || progress_(share, "calibrating");
    };
  }

  void run_samples(const Checkpoint& checkpoint, BlockStatistics* statistics, bool advance, BlockRunner::Pass progress) {
    const Stopwatch clock;
    runner_->run(load_block(context_, checkpoint, spec_, layer_), layer_, statistics, advance, progress);
    seconds_ += clock.seconds();
  }

  Knowledge study(bool wanted, bool ranges_later, bool advance) {
    const unsigned gathered = ranges_later ? kinds() & ~static_cast<unsigned>(kRangeStatistics) : kinds();
    BlockStatistics statistics;
    if (wanted) statistics = runner_->statistics(layer_, gathered);
    run_samples(source_, wanted ? &statistics : nullptr, advance, pass(sees_quantized_ || ranges_later));
    Knowledge known;
    if (!wanted) return known;
    for (const BlockInput& input : inputs_) {
      InputStatistics& seen = statistics.find(input.tap)->second;
      InputKnowledge& out = known[std::string(input.tap)];
      out.largest = seen.largest();
      if ((gathered & kChannelStatistics) != 0) out.channel_amax = seen.channel_amax(), out.channel_mean = seen.channel_mean();
      if ((gathered & kGramStatistics) != 0) out.gram = seen.take_gram();
      if ((gathered & kRangeStatistics) != 0) out.seen = seen.histogram();
      if (out.largest == 0)
        sink_.note(input.readers.front().name + " saw nothing but zeros in calibration; give a longer text");
    }
    return known;
  }

  // What the readers read once their channels are divided by the factors.
  void study_ranges(bool advance, Knowledge& known) {
    BlockStatistics statistics = runner_->statistics(layer_, kRangeStatistics);
    for (const BlockInput& input : inputs_) {
      const std::string weight = input.readers.front().name + ".weight";
      if (smoothed_.scales_columns(weight)) statistics.find(input.tap)->second.divide_by(smoothed_.column_factors(weight));
    }
    run_samples(source_, &statistics, advance, pass(true));
    for (const BlockInput& input : inputs_) known[std::string(input.tap)].seen = statistics.find(input.tap)->second.histogram();
  }

  void write_input_scales(const Knowledge& known) {
    for_layers([&](const BlockInput& input, const TensorJob& job) {
      if (!job.calibrated_inputs() || sink_.is_done(input_scale_name(job.module))) return;
      const Range range = observed_range(known.find(input.tap)->second.seen, *job.inputs, calibration_.observer);
      sink_.write_input_scale(job, fit_grid(range, *job.inputs, rule_, DType::f32));
    });
  }

  void quantize(Knowledge& known) {
    for (const BlockInput& input : inputs_) {
      InputKnowledge& knowledge = known[std::string(input.tap)];
      for (const LinearSpec& reader : input.readers) {
        const TensorJob* job = quantized(reader.name);
        if (job == nullptr || !concerned(*job) || sink_.is_done(job->source->name)) continue;
        const Algorithm& algorithm = algorithm_of(*job);
        LayerTask task = make_task(reader, *job);
        std::vector<Grid> grids;
        if (algorithm.solve != nullptr) grids = algorithm.solve(context_, input, task, knowledge, options_of(*job));
        if (grids.empty() && options_of(*job).clip) grids = fit_grids(context_, task, true);
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
    for (const TensorJob* job : vectors()) {
      if (takes_codes(*job) || sink_.is_done(job->source->name) || !smoothed_.changes(job->source->name)) continue;
      std::vector<float> values(static_cast<size_t>(job->source->elements()));
      smoothed_.read(*job->source, 0, values);
      sink_.write(*job, {.weights = values});
    }
  }

  // The next block reads what this one gives as it is on disk, with whatever no algorithm had a say in.
  void run_written() {
    const BlockNames names = spec_.block(layer_);
    for (const std::string& module : {names.input_norm, names.q, names.k, names.v, names.q_norm, names.k_norm, names.o, names.mlp_norm, names.gate, names.up, names.down})
      for (const char* part : {".weight", ".bias"})
        if (const auto it = jobs_.find(module + part); it != jobs_.end() && !sink_.is_done(it->second->source->name)) sink_.write(*it->second, {});
    run_samples(Checkpoint(sink_.directory()), nullptr, true, pass(true));
  }

  void smooth(Knowledge& known) {
    const auto options = [&](const std::string& module) -> const AlgorithmOptions* {
      const TensorJob* job = quantized(module);
      return job != nullptr ? &options_of(*job) : nullptr;
    };
    std::vector<std::pair<const BlockInput*, std::vector<float>>> found;
    for (const BlockInput& input : inputs_) {
      // Taken up again within a block: its factors are known, and the weights read through them already.
      if (smoothed_.factors().contains(input.norm.empty() ? input.producer : input.norm)) {
        scale_gram(input, known[std::string(input.tap)]);
        continue;
      }
      if (!is_smoothed(input, options)) continue;
      std::vector<LayerTask> readers;
      for (const LinearSpec& reader : input.readers) readers.push_back(make_task(reader, *quantized(reader.name)));
      const TensorJob& first = *quantized(input.readers.front().name);
      found.emplace_back(&input, algorithm_of(first).smooth(context_, input, readers, known[std::string(input.tap)], options_of(first)));
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
    task.kept = job.outliers;
    context_.impl().pool.parallel_for(static_cast<size_t>(linear.rows), 16, [&](size_t begin, size_t end, int) {
      for (size_t row = begin; row < end; ++row) {
        const auto out = std::span(task.weights).subspan(row * static_cast<size_t>(linear.columns), static_cast<size_t>(linear.columns));
        smoothed_.read(*job.source, static_cast<int64_t>(row), out);
        if (std::isnan(finite_range(out).low))
          throw Error(ErrorCode::bad_input, "quantize", "NaN or infinity in row " + std::to_string(row) + "; the weights are damaged",
                      {.file = source_.file_of(*job.source), .tensor = job.source->name});
        for (const int32_t column : job.outliers) out[column] = 0;
      }
    });
    return task;
  }

  const Context& context_;
  const Checkpoint& source_;
  const ModelSpec& spec_;
  const CalibrationOptions& calibration_;
  const ScaleRule rule_;
  const std::vector<RecipeStep>& steps_;
  SmoothedSource& smoothed_;
  BlockSink& sink_;
  const Progress& progress_;
  std::vector<Algorithm> algorithms_;             // of the steps
  std::map<std::string, const TensorJob*> jobs_;  // by tensor name
  bool sees_quantized_ = false, calibrates_ = false;
  CalibrationSamples samples_;
  std::optional<BlockRunner> runner_;
  int64_t layer_ = 0;
  int passes_ = 0;  // over the samples, of this block
  double seconds_ = 0;
  std::vector<BlockInput> inputs_;
};

}  // namespace

bool needs_blocks(const QuantizeJob& job) {
  return std::any_of(job.tensors.begin(), job.tensors.end(), [&](const TensorJob& tensor) {
    if (!takes_codes(tensor)) return false;
    const AlgorithmOptions& options = job.steps[tensor.step].algorithm;
    return tensor.calibrated_inputs() || options.clip || find_algorithm(options).calibrates();
  });
}

double quantize_blocks(const Context& context, const Checkpoint& source, const ModelSpec& spec, const CalibrationOptions& calibration,
                     ScaleRule rule, const QuantizeJob& job, SmoothedSource& smoothed, BlockSink& sink, const Progress& progress) {
  return BlockPipeline(context, source, spec, calibration, rule, job, smoothed, sink, progress).run();
}

}  // namespace codecllm
