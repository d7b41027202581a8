// SPDX-License-Identifier: Apache-2.0
// The smallest coded-B whose divergence from the 16-bit model stays within a budget.
#pragma once

#include "base/function_ref.h"
#include "quant/quantize.h"

namespace codecllm {

// An average rate that was tried, in bits per weight, and the KL divergence in nats per token that it gave.
struct RateTrial {
  double bits = 0, kl = 0;
};

// The least rate, in steps of 1/32 from 2 to 8 bits, at which kl(bits) is at most `most`, as far as kl falls with the bits;
// every rate that was tried goes to `trials`, that one last among those within the budget. Since KL falls by a factor of
// four with each bit where rounding errors are small, three to five rates are enough. Throws Error(bad_call) where 8 bits
// give more.
double least_rate(double most, FunctionRef<double(double bits)> kl, std::vector<RateTrial>& trials);

struct KlBudgetResult {
  QuantizeResult made;
  double bits = 0, kl = 0;  // that were chosen
  int64_t tokens = 0;       // that KL is the mean of
  std::vector<RateTrial> trials;
};

// quantize_checkpoint with a rated coded scheme whose rates are chosen so that the mean KL divergence from `model` on
// windows of the calibration text (up to 32, spread evenly) is at most `most`. The layers' rates differ as with a target of
// bits; one whose verification fails counts as infinite divergence. Trials lie beside the output while they last.
KlBudgetResult quantize_within_kl(const Context& context, const std::string& model, const std::string& output,
                                  QuantizeOptions options, double most, const Progress& progress = {});

}  // namespace codecllm
