// SPDX-License-Identifier: Apache-2.0
// Running statistics of the value that some linear layers read: everything the algorithms know about activations.
#pragma once

#include <string>
#include <vector>

#include "base/context.h"
#include "quant/histogram.h"

namespace codecllm {

// What is to be gathered; sums of these.
enum StatisticsKind : unsigned {
  kRangeStatistics = 1,    // histogram, extremes
  kChannelStatistics = 2,  // per channel: largest and mean magnitude, mean square
  kGramStatistics = 4,     // X^T X
};

class InputStatistics {
 public:
  InputStatistics(const Context& context, int64_t columns, unsigned kinds);

  // Every channel is divided by its factor before it counts.
  void divide_by(std::vector<float> factors) { divisors_ = std::move(factors); }

  // One sample's rows, x [rows, stride]. Throws Error(bad_input) naming `what` where a value is not finite.
  void add(const float* x, int64_t rows, int64_t stride, const std::string& what);

  int64_t columns() const { return columns_; }
  int64_t rows() const { return rows_; }  // seen so far
  float largest() const { return largest_; }  // magnitude
  const Histogram& histogram() const { return histogram_; }
  const std::vector<float>& channel_amax() const { return amax_; }  // [columns]
  std::vector<float> channel_mean() const;                          // [columns], of magnitudes
  std::vector<double> channel_mean_square() const;                  // [columns]: the diagonal of X^T X / rows
  // X^T X / rows [columns, columns], symmetric. To be called once, when all samples are in.
  std::vector<float> take_gram();

 private:
  void add_gram();

  const Context& context_;
  int64_t columns_, rows_ = 0;
  float largest_ = 0;
  std::vector<float> divisors_;  // [columns], or empty
  unsigned kinds_;
  Histogram histogram_;
  std::vector<float> amax_;
  std::vector<double> sum_, squares_;
  std::vector<float> pending_;  // [pending rows, columns]: rows that gram_ lacks
  std::vector<float> gram_;     // [columns, columns], the upper triangle
};

}  // namespace codecllm
