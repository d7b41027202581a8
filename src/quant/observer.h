// SPDX-License-Identifier: Apache-2.0
// Which range a static activation scale covers, chosen from what calibration saw.
#pragma once

#include <string>
#include <vector>

#include "quant/histogram.h"

namespace codecllm {

struct ObserverOptions {
  std::string name = "minmax";
  double percentile = 99.9;  // of magnitudes, with "percentile"
};

// The names of observer.def, in its order.
std::vector<std::string> observer_names();

// Throws Error(bad_call) that lists the observers, or for a percentile outside (0, 100].
void check_observer(const ObserverOptions& options);

// The range for `args`; {0, 0} where nothing was seen.
//   minmax          everything seen
//   moving-average  the moving average of the samples' extremes
//   percentile      the smallest magnitude that holds the share of all values
//   mse             the magnitude whose quantization has the smallest mean squared error over the histogram
//   entropy         the magnitude whose quantized histogram diverges least from the histogram (Migacz 2017)
// Those that choose a magnitude m give the seen range cut to [-m, m].
Range observed_range(const Histogram& seen, const QuantArgs& args, const ObserverOptions& options);

}  // namespace codecllm
