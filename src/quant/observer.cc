// SPDX-License-Identifier: Apache-2.0
#include "quant/observer.h"

#include <algorithm>
#include <cmath>

#include "codecllm/error.h"

namespace codecllm {

namespace {

constexpr int kHalf = Histogram::kBins / 2;

Range cut(const Range& range, double magnitude) {
  const auto m = static_cast<float>(magnitude);
  return {std::max(range.low, -m), std::min(range.high, m)};
}

Range observe_minmax(const Histogram& seen, const QuantArgs&, const ObserverOptions&) { return seen.range(); }

Range observe_moving_average(const Histogram& seen, const QuantArgs&, const ObserverOptions&) { return seen.moving_range(); }

Range observe_percentile(const Histogram& seen, const QuantArgs&, const ObserverOptions& options) {
  const double wanted = options.percentile / 100 * static_cast<double>(seen.count());
  int64_t below = 0;
  for (int i = 0; i < kHalf; ++i) {
    const int64_t here = seen.magnitude_count(i);
    // Within a bin the values count as spread evenly.
    if (here > 0 && static_cast<double>(below + here) >= wanted)
      return cut(seen.range(), (i + (wanted - static_cast<double>(below)) / static_cast<double>(here)) * seen.bin_width());
    below += here;
  }
  return seen.range();
}

// Sum over the histogram of (x - Q(x))^2, a bin's values counted at its centre.
double squared_error(const Histogram& seen, const Range& range, const QuantArgs& args) {
  std::vector<float> centres, counts;
  for (int i = 0; i < Histogram::kBins; ++i) {
    if (seen.bins()[i] == 0) continue;
    centres.push_back(static_cast<float>(seen.bin_centre(i)));
    counts.push_back(static_cast<float>(seen.bins()[i]));
  }
  std::vector<int8_t> codes(centres.size());
  std::vector<float> values(centres.size());
  const Grid grid = fit_grid(range, args, ScaleRule::restricted, DType::f32);
  encode(centres, grid, args, ScaleRule::restricted, codes.data());
  decode(codes, grid, args, values.data());
  double error = 0;
  for (size_t i = 0; i < centres.size(); ++i) {
    const double e = static_cast<double>(values[i]) - centres[i];
    error += counts[i] * e * e;
  }
  return error;
}

Range observe_mse(const Histogram& seen, const QuantArgs& args, const ObserverOptions&) {
  constexpr int kSteps = 200;
  Range best = seen.range();
  double smallest = HUGE_VAL;
  for (int step = kSteps; step >= 1; --step) {
    const Range range = cut(seen.range(), static_cast<double>(seen.range().amax()) * step / kSteps);
    const double error = squared_error(seen, range, args);
    if (error < smallest) smallest = error, best = range;
  }
  return best;
}

// KL(P || Q) of the first n magnitude bins: P has everything above in its last bin, Q is P's unclipped part in `levels`
// steps, each spread over those of its bins that are not empty.
double divergence(const std::vector<double>& counts, int n, int levels, double total) {
  double beyond = 0, q_total = 0, kl = 0;
  for (size_t i = static_cast<size_t>(n); i < counts.size(); ++i) beyond += counts[i];
  std::vector<double> q(static_cast<size_t>(n), 0.0);
  for (int level = 0; level < levels; ++level) {
    const int begin = static_cast<int>(static_cast<int64_t>(level) * n / levels),
              end = static_cast<int>(static_cast<int64_t>(level + 1) * n / levels);
    double sum = 0;
    int filled = 0;
    for (int i = begin; i < end; ++i) sum += counts[i], filled += counts[i] > 0 ? 1 : 0;
    for (int i = begin; i < end; ++i)
      if (counts[i] > 0) q[i] = sum / filled;
    q_total += sum;
  }
  if (q_total == 0) return HUGE_VAL;
  constexpr double kLeast = 1e-10;  // what Q gives to a bin it leaves empty
  for (int i = 0; i < n; ++i) {
    const double p = (counts[i] + (i + 1 == n ? beyond : 0)) / total;
    if (p > 0) kl += p * std::log(p / std::max(q[i] / q_total, kLeast));
  }
  return kl;
}

Range observe_entropy(const Histogram& seen, const QuantArgs& args, const ObserverOptions&) {
  const int levels = 1 << (args.num_bits - 1);
  std::vector<double> counts;
  for (int i = 0; i < kHalf; ++i) counts.push_back(static_cast<double>(seen.magnitude_count(i)));
  // Exact zeros (padding, gates that are shut) are representable at any scale and would hide the rest.
  counts[0] = counts[1];
  double total = 0;
  for (double c : counts) total += c;
  const int last = std::min(kHalf, static_cast<int>(seen.range().amax() / seen.bin_width()) + 1);
  double smallest = HUGE_VAL, best = seen.range().amax();
  for (int n = last; n >= levels; n -= 16) {
    const double kl = divergence(counts, n, levels, total);
    if (kl < smallest) smallest = kl, best = n * seen.bin_width();
  }
  return cut(seen.range(), best);
}

struct Observer {
  const char* name;
  Range (*choose)(const Histogram& seen, const QuantArgs& args, const ObserverOptions& options);
};

constexpr Observer kObservers[] = {
#define OBSERVER(name, function) {name, function},
#include "quant/observer.def"
#undef OBSERVER
};

const Observer& find_observer(const std::string& name) {
  std::string list;
  for (const Observer& observer : kObservers) {
    if (name == observer.name) return observer;
    list += (list.empty() ? "" : ", ") + std::string(observer.name);
  }
  throw Error(ErrorCode::bad_call, "calibrate", "no observer '" + name + "'; there are: " + list);
}

}  // namespace

std::vector<std::string> observer_names() {
  std::vector<std::string> names;
  for (const Observer& observer : kObservers) names.emplace_back(observer.name);
  return names;
}

void check_observer(const ObserverOptions& options) {
  find_observer(options.name);
  if (!(options.percentile > 0 && options.percentile <= 100))
    throw Error(ErrorCode::bad_call, "calibrate", "the percentile must be above 0 and at most 100");
}

Range observed_range(const Histogram& seen, const QuantArgs& args, const ObserverOptions& options) {
  check_observer(options);
  if (seen.count() == 0) return {};
  return find_observer(options.name).choose(seen, args, options);
}

}  // namespace codecllm
