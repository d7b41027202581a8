// SPDX-License-Identifier: Apache-2.0
#include "plan/kl_budget.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "eval/perplexity.h"

namespace codecllm {

namespace {

namespace fs = std::filesystem;

constexpr int kStepsPerBit = 32, kLeast = 2 * kStepsPerBit, kMost = 8 * kStepsPerBit;
constexpr int64_t kWindows = 32;
constexpr double kStudied = 0.05;  // share of the progress

// A folder beside the output for what trials write, gone with its owner. The mark tells what a killed call left from
// somebody else's folder.
class TrialFolder {
 public:
  explicit TrialFolder(const std::string& path) : path_(path) {
    if (fs::exists(path_) && !fs::exists(mark()) && !fs::is_empty(path_))
      throw Error(ErrorCode::bad_call, "rates", "trials would be written here, but there is a folder of other content; move it away", {.file = path_});
    make_directories(path_);
    lock_.emplace(path_);
    write_file_atomically(mark(), "");
    for (const auto& entry : fs::directory_iterator(path_))
      if (entry.path() != mark()) fs::remove_all(entry.path());
  }
  ~TrialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;

  // Where the next trial is written; what was there is gone.
  std::string next() {
    const std::string out = path_ + "/model";
    fs::remove_all(out);
    fs::remove_all(out + ".partial");
    return out;
  }
  // What was written there is the best so far.
  void keep() {
    fs::remove_all(kept());
    fs::rename(path_ + "/model", kept());
  }
  void publish(const std::string& output) {
    refuse_existing(output);
    std::error_code error;
    fs::rename(kept(), output, error);
    if (error) throw Error(ErrorCode::io, "write", error.message(), {.file = output});
  }

 private:
  std::string mark() const { return path_ + "/.codecllm-trials"; }
  std::string kept() const { return path_ + "/kept"; }
  const std::string path_;
  std::optional<DirectoryLock> lock_;
};

class KlSearch {
 public:
  KlSearch(const Context& context, const std::string& model, const std::string& output, const QuantizeOptions& options, const Progress& progress)
      : context_(context), directory_(model), output_(not_there(output)), trials_(output_ + ".trial"), options_(options), progress_(progress),
        source_(load_model(context, model)) {
    const Checkpoint checkpoint(model);
    const ModelSpec spec = read_spec(checkpoint);
    const QuantizeJob job = plan_job(checkpoint, spec, options);
    plan_ = study_rates(context, checkpoint, spec, options.algorithm.calibration, job, fs::absolute(output_).parent_path(), part(0, kStudied));
    if (plan_.empty()) throw Error(ErrorCode::bad_call, "rates", "no layer is left that a rate could be chosen for");
    CalibrationOptions scored = options.algorithm.calibration;
    scored.samples = std::min(scored.samples, kWindows);
    const CalibrationSamples samples = calibration_samples(model, spec, scored);
    window_ = samples.window;
    for (const std::vector<int32_t>& sample : samples.samples) tokens_.insert(tokens_.end(), sample.begin(), sample.end());
  }

  KlBudgetResult run(double most) {
    KlBudgetResult result;
    result.bits = least_rate(most, [&](double bits) { return try_rate(bits, most, result); }, result.trials);
    set_rates(result.bits);
    trials_.publish(output_);
    if (progress_) progress_(1, "writing");
    result.made.plan = std::move(plan_);
    result.made.seconds = clock_.seconds();
    return result;
  }

 private:
  static std::string not_there(const std::string& output) {
    refuse_existing(output);
    return without_trailing_slashes(output);
  }

  Progress part(double from, double to) const {
    return [this, from, to](double done, std::string_view what) { return !progress_ || progress_(from + (to - from) * done, what); };
  }

  void set_rates(double bits) {
    double weights = 0;
    for (const PlannedRate& layer : plan_) weights += static_cast<double>(layer.weights);
    fill_water(plan_, bits * weights);
    options_.target = {};
    for (const PlannedRate& layer : plan_) options_.target.layers[layer.name] = layer.bits;
    options_.scheme = scheme_preset(fmt::format("coded-{:g}", bits));
  }

  // Nobody knows how many trials there will be: each takes a quarter of what is left of their share.
  double try_rate(double bits, double most, KlBudgetResult& result) {
    const double step = (1 - from_) / 4, from = from_;
    from_ += step;
    set_rates(bits);
    const std::string out = trials_.next();
    QuantizeOptions options = options_;
    options.force = true;
    QuantizeResult made;
    try {
      made = quantize_checkpoint(context_, directory_, out, options, part(from, from + step / 2));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::interrupted) throw;
      throw Error(ErrorCode::interrupted, "quantize", "interrupted while rates were tried; the same command starts over");
    }
    if (!made.bad.empty() && !options_.force) {  // as the output it would be refused
      if (bits * kStepsPerBit >= kMost) throw Error(ErrorCode::bad_input, "rates", fmt::format("even {:g} bits per weight do not pass verification: {}", bits, made.bad.front()));
      return HUGE_VAL;
    }
    const DecoderModel model = load_model(context_, out);
    const PerplexityResult scored = perplexity(model, tokens_, {.context = window_, .stride = window_}, &source_, part(from + step / 2, from + step));
    if (!std::isfinite(scored.kl_mean))
      throw Error(ErrorCode::bad_input, "rates", "the model computes values that are not finite; `codecllm inspect` looks for damaged weights", {.file = directory_});
    result.tokens = scored.tokens;
    log_line(context_, fmt::format("{:.3f} bits per weight: KL {:.5f}", bits, scored.kl_mean));
    if (scored.kl_mean <= most) {  // the last of these is the one that is chosen
      trials_.keep();
      result.kl = scored.kl_mean;
      result.made = std::move(made);
    }
    return scored.kl_mean;
  }

  const Stopwatch clock_;
  const Context& context_;
  const std::string directory_;
  const std::string output_;
  TrialFolder trials_;  // before the model is loaded: whether it may be written is known at once
  QuantizeOptions options_;
  const Progress& progress_;
  const DecoderModel source_;
  std::vector<PlannedRate> plan_;
  int64_t window_ = 0;
  std::vector<int32_t> tokens_;
  double from_ = kStudied;
};

}  // namespace

double least_rate(double most, FunctionRef<double(double bits)> kl, std::vector<RateTrial>& trials) {
  int low = kLeast - 1, high = kMost + 1;  // in steps: too much divergence at low, not too much at high
  int next = 4 * kStepsPerBit;
  while (high - low > 1) {
    trials.push_back({static_cast<double>(next) / kStepsPerBit, 0});
    trials.back().kl = kl(trials.back().bits);
    // A KL that is not a number is no good one.
    const double excess = std::log2(trials.back().kl / most);
    (trials.back().kl <= most ? high : low) = next;
    if (low == kMost)
      throw Error(ErrorCode::bad_call, "rates", fmt::format("even 8 bits per weight diverge by {:.2g} nats per token; ask for more", trials.back().kl));
    // The rate at which it would be just right, were it to fall by four with each bit; should that mislead, the middle.
    const double away = (excess < HUGE_VAL ? std::clamp(0.5 * excess, -6.0, 6.0) : 1) * kStepsPerBit;
    next = trials.size() < 4 ? next + static_cast<int>(std::ceil(away)) : (low + high) / 2;
    next = std::clamp(next, low + 1, std::max(low + 1, high - 1));
  }
  return static_cast<double>(high) / kStepsPerBit;
}

KlBudgetResult quantize_within_kl(const Context& context, const std::string& model, const std::string& output,
                                  QuantizeOptions options, double most, const Progress& progress) {
  const auto coded = coded_scheme(options.scheme.name);
  if (!coded || coded->rate == 0 || !options.recipe.empty() || options.target)
    throw Error(ErrorCode::bad_call, "quantize", "a budget of divergence goes with coded-B, without targets of bits or bytes");
  if (!(most > 0)) throw Error(ErrorCode::bad_call, "quantize", "a budget of divergence must be above 0");
  if (options.algorithm.calibration.text.empty())
    throw Error(ErrorCode::bad_call, "quantize", "a budget of divergence needs a text to measure on; give one with --calibrate");
  return KlSearch(context, model, output, options, progress).run(most);
}

}  // namespace codecllm
