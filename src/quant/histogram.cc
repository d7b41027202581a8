// SPDX-License-Identifier: Apache-2.0
#include "quant/histogram.h"

#include <algorithm>
#include <cmath>

namespace codecllm {

void Histogram::grow_to(double limit) {
  while (limit_ < limit) {
    // Bins i and i + 1, i even, become bin kBins / 4 + i / 2 of twice the width.
    for (int i = kBins / 2; i < kBins; i += 2) bins_[kBins / 2 + (i - kBins / 2) / 2] = bins_[i] + bins_[i + 1];
    for (int i = kBins / 2 - 2; i >= 0; i -= 2) bins_[kBins / 2 - 1 - (kBins / 2 - 2 - i) / 2] = bins_[i] + bins_[i + 1];
    std::fill_n(bins_.begin(), kBins / 4, 0);
    std::fill_n(bins_.end() - kBins / 4, kBins / 4, 0);
    limit_ *= 2;
  }
}

void Histogram::add(std::span<const float> values) {
  if (values.empty()) return;
  Histogram sample;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  sample.range_ = {std::min(0.0f, *low), std::max(0.0f, *high)};
  sample.grow_to(std::nextafter(sample.range_.amax(), HUGE_VALF));
  const double scale = kBins / (2 * sample.limit_);
  for (float v : values) ++sample.bins_[static_cast<int>(std::floor(v * scale)) + kBins / 2];
  sample.count_ = static_cast<int64_t>(values.size());
  add(sample);
}

void Histogram::add(const Histogram& sample) {
  Histogram other = sample;
  const double limit = std::max(limit_, other.limit_);
  grow_to(limit);
  other.grow_to(limit);
  for (int i = 0; i < kBins; ++i) bins_[i] += other.bins_[i];
  count_ += other.count_;
  range_.include(other.range_);
  if (!sampled_) {
    moving_ = other.range_;
  } else {
    moving_.low += kMomentum * (other.range_.low - moving_.low);
    moving_.high += kMomentum * (other.range_.high - moving_.high);
  }
  sampled_ = true;
}

}  // namespace codecllm
