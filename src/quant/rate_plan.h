// SPDX-License-Identifier: Apache-2.0
// How many bits each layer gets: reverse water-filling (Shannon 1959; Cover and Thomas, Elements of Information Theory,
// section 10.3). An entropy-coded layer of n weights and variance v at r bits per weight has the squared error
// n v c 2^(-2 r). The sum over layers, each with its sensitivity s, is least at a given sum of n r where
//   s v 2^(-2 r) = theta   for all layers,   r = 1/2 log2(s v / theta),
// as far as the code reaches: within 2 and 8 bits. theta is found by bisection.
#pragma once

#include "quant/job.h"

namespace codecllm {

// One layer that a rate is chosen for.
struct PlannedRate {
  std::string name;
  int64_t weights = 0;
  double energy = 0;        // mean square of its weights
  double sensitivity = 1;   // what the square of a weight's error counts
  double bits = 0;          // per weight
};

// Fills in the bits, in steps of 1/64, so that all take at most `bits` together. Throws Error(bad_call) where the code does
// not reach so few.
void fill_water(std::vector<PlannedRate>& layers, double bits);

// The job's coded tensors that a rate is chosen for, without the rates. With a calibration text, the sensitivity is that of
// the layer's output, relative to its energy: with the diagonal h of X^T X, mean(h) / sum over weights (w^2 h). Without, h = 1
// and the square root of that. scratch_directory takes the hidden states of the calibration.
std::vector<PlannedRate> study_rates(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                                     const CalibrationOptions& calibration, const QuantizeJob& job,
                                     const std::string& scratch_directory, const Progress& progress);

// Chooses the rates of the job's coded tensors.
std::vector<PlannedRate> plan_rates(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec,
                                    const RateTarget& target, const CalibrationOptions& calibration, QuantizeJob& job,
                                    const std::string& scratch_directory, const Progress& progress);

}  // namespace codecllm
