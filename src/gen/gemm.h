// SPDX-License-Identifier: Apache-2.0
// Speed and exactness of one matrix product.
#pragma once

#include <string>

#include "format/scheme.h"
#include "gen/machine.h"

namespace codecllm {

struct GemmSize {
  int64_t m, n, k;  // y [m, n] = x [m, k] . w [n, k]
  int64_t outliers = 0;  // columns of x that are 20 times as large, as trained models have
};

struct GemmResult {
  double seconds = 0;         // median of one product, its weights coming from memory
  double bf16_seconds = 0;    // the same size with BF16 weights, in turns with it
  double weight_bytes = 0;
  double operations = 0;      // multiply-adds count as two
  std::string compute;        // "a16" or "a8"
  bool memory_bound = false;  // reading the weights takes longer than the multiplier's own time
  double mse = 0, max_difference = 0;  // against the product of the f32 weights, of which the codes are made
};

// Made-up weights as in synthetic_model, standard normal x. a8: INT8 activations where the scheme has 16-bit ones.
GemmResult measure_gemm(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds,
                        const MachineState& machine);

}  // namespace codecllm
