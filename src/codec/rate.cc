// SPDX-License-Identifier: Apache-2.0
#include "codec/rate.h"

#include <algorithm>
#include <cmath>

#include "codec/container.h"
#include "codec/shapes.h"

namespace codecllm {

namespace {

double rms_of(std::span<const float> values) {
  double squares = 0;
  for (const float w : values) squares += static_cast<double>(w) * w;
  return std::sqrt(squares / static_cast<double>(std::max<size_t>(1, values.size())));
}

struct Trial {
  double bits = 0, noise = 0;
  CodeShape shape = {};
};

// Rates tried on a sample of rows.
class RateSearch {
 public:
  // every: of each row, one value in so many counts.
  RateSearch(std::span<const std::vector<float>> panels, int64_t columns, size_t every) : every_(every) {
    double squares = 0;
    for (const std::vector<float>& panel : panels)
      for (size_t at = 0; at + static_cast<size_t>(columns) <= panel.size(); at += static_cast<size_t>(columns)) {
        rows_.push_back(std::span(panel).subspan(at, static_cast<size_t>(columns)));
        squares += std::pow(rms_of(rows_.back()), 2);
      }
    rms_ = std::sqrt(squares / static_cast<double>(std::max<size_t>(1, rows_.size())));
  }

  // Rounded so that a bit is worth lambda squared steps of the code that is best for plain rounding. In: the rate but for
  // its rounding, which is set here.
  Trial attempt(UniformRate& rate, double lambda) const {
    rate.rounding = RateRounding({.kind = rate.kind, .low_bits = 0, .digit_bits = {}, .table = {}}, 0);
    Trial trial = round_all(rate);
    rate.shape = trial.shape;
    if (lambda == 0) return trial;
    rate.rounding = RateRounding(trial.shape, lambda);
    return round_all(rate);
  }

  // The most steps that stay within the bits; nothing where no step does.
  bool finest(UniformRate& rate, double lambda, double bits, Trial& found) const {
    rate.rms = rms_;
    // One bit more for each doubling; a Gaussian has log2(steps) + 2.05 bits (Gish and Pierce), other shapes fewer.
    double low = std::exp2(bits - 4), high = std::exp2(bits - 0.5), steps = std::exp2(bits - 2.2);
    bool any = false;
    for (int i = 0; i < 9; ++i) {
      rate.steps_per_rms = steps;
      const Trial trial = attempt(rate, lambda);
      if (trial.bits <= bits) {
        low = steps;
        found = trial;
        any = true;
        if (bits - trial.bits < 0.002) return true;
      } else {
        high = steps;
      }
      const double next = steps * std::exp2(bits - 0.001 - trial.bits);  // bits grow with the steps' logarithm, about
      steps = next > low && next < high && i < 5 ? next : std::sqrt(low * high);
    }
    if (any) {
      rate.steps_per_rms = low;
      found = attempt(rate, lambda);
    }
    return any;
  }

 private:
  Trial round_all(const UniformRate& rate) const {
    ClassCounts histogram;
    Trial trial;
    for (const auto& row : rows_) {
      const float scale = rate_scale(rate, row);
      const double inverse = 1 / static_cast<double>(scale);
      for (size_t k = 0; k < row.size(); k += every_) {
        const int code = rate.rounding.code(row[k] * inverse);
        const double error = row[k] - static_cast<double>(scale) * code;
        trial.noise += error * error;
        ++codes_[code + 128];
      }
    }
    // Magnitudes are counted as the kind splits them.
    for (int u = 0; u < 256; ++u) {
      if (codes_[u] == 0) continue;
      histogram.count[split_element({.kind = rate.kind, .low_bits = 0, .digit_bits = {}, .table = {}}, static_cast<uint32_t>(u)).selector] += codes_[u];
      histogram.total += codes_[u];
      codes_[u] = 0;
    }
    trial.shape = best_shape(rate.kind, histogram, trial.bits);
    return trial;
  }

  std::vector<std::span<const float>> rows_;
  size_t every_;
  double rms_ = 0;
  mutable uint64_t codes_[256] = {};
};

}  // namespace

float rate_scale(const UniformRate& rate, std::span<const float> row) {
  float largest = 0;
  for (const float w : row) largest = std::max(largest, std::fabs(w));
  const double own = rms_of(row);
  const double step = (rate.row_power == 1 ? own : std::pow(rate.rms, 1 - rate.row_power) * std::pow(own, rate.row_power)) / rate.steps_per_rms;
  const double scale = std::max(rate.kind == CodeKind::odd ? step / 2 : step, static_cast<double>(largest) / 127);
  return scale > 0 && std::isfinite(scale) ? static_cast<float>(scale) : 1.0f;
}

void rate_codes(const UniformRate& rate, std::span<const float> row, float scale, int8_t* codes) {
  const double inverse = 1 / static_cast<double>(scale);
  for (size_t k = 0; k < row.size(); ++k) codes[k] = rate.rounding.code(row[k] * inverse);
}

double container_bits(int64_t rows, int64_t columns, int scale_bits) {
  const auto n = static_cast<double>(columns);
  const double header = 8.0 * static_cast<double>(kHeaderBytes + kCodedSlack) / (static_cast<double>(rows) * n);
  return scale_bits / n + 8.0 * sizeof(PanelRecord) / (16 * n) + header;
}

UniformRate choose_rate(std::span<const std::vector<float>> panels, int64_t columns, double bits, double container_bits) {
  uint64_t values = 0;
  for (const auto& panel : panels) values += panel.size();
  const RateSearch search(panels, columns, static_cast<size_t>(std::max<uint64_t>(1, values >> 15)) | 1);
  const double room = bits - container_bits;
  // At a high rate the slope of the rate-distortion curve is dD/dR = -2 ln 2 D, with D = step^2 / 12.
  constexpr double kSlope = 0.1155;
  UniformRate best;
  double least = INFINITY;
  double best_lambda = 0;
  const auto consider = [&](CodeKind kind, double row_power, double lambda) {
    UniformRate rate = {.kind = kind, .row_power = row_power};
    Trial trial;
    if (!search.finest(rate, lambda, room, trial) || trial.noise >= least) return;
    least = trial.noise;
    best = rate;
    best_lambda = lambda;
  };
  for (const CodeKind kind : {CodeKind::integer, CodeKind::odd, CodeKind::sparse})
    if (kind != CodeKind::sparse || bits < 4) consider(kind, 1, kSlope);
  if (least == INFINITY) {  // no step is coarse enough: the rows are too short for their scales
    best.steps_per_rms = std::exp2(room - 4);
    return best;
  }
  for (const double row_power : {0.5, 0.0}) consider(best.kind, row_power, kSlope);
  for (const double factor : {0.5, 1.5, 2.0}) consider(best.kind, best.row_power, kSlope * factor);
  // The sample was thinned for the search; all of it has the last word.
  Trial trial;
  const RateSearch whole(panels, columns, 1);
  whole.finest(best, best_lambda, room, trial);
  return best;
}

}  // namespace codecllm
