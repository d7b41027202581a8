// SPDX-License-Identifier: Apache-2.0
// What is remembered of the values of one activation: never the values.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "format/grid.h"

namespace codecllm {

// Counts of values in kBins bins over [-limit, limit), limit a power of two that doubles when a larger value comes: bins
// then merge in pairs, so that the result does not depend on the order of the values.
class Histogram {
 public:
  static constexpr int kBins = 4096;

  // One sample's values, finite: their extremes enter the moving averages as one step.
  void add(std::span<const float> values);
  // The same, from the counts of one sample's parts.
  void add(const Histogram& sample);

  int64_t count() const { return count_; }
  Range range() const { return range_; }
  // Exponential moving average of the samples' extremes, new = old + kMomentum (sample - old).
  Range moving_range() const { return moving_; }
  static constexpr float kMomentum = 0.01f;

  double limit() const { return limit_; }
  const std::array<int64_t, kBins>& bins() const { return bins_; }
  double bin_width() const { return 2 * limit_ / kBins; }
  double bin_centre(int bin) const { return (bin + 0.5) * bin_width() - limit_; }

  // Values whose magnitude lies in [i, i + 1) * bin_width(), i < kBins / 2.
  int64_t magnitude_count(int i) const { return bins_[kBins / 2 + i] + bins_[kBins / 2 - 1 - i]; }

 private:
  void grow_to(double limit);

  std::array<int64_t, kBins> bins_ = {};
  double limit_ = 0x1p-40;
  int64_t count_ = 0;
  bool sampled_ = false;
  Range range_, moving_;
};

}  // namespace codecllm
