// SPDX-License-Identifier: Apache-2.0
#include "gen/gemm.h"

#include <algorithm>
#include <cmath>

#include "gen/gemm_parts.h"
#include "gen/measure.h"
#include "model/synthetic.h"

namespace codecllm {

GemmResult measure_gemm(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds,
                        const MachineState& machine) {
  GemmProduct product(context, size);
  const std::vector<float> exact = product.run(synthetic_matrix(context, size.n, size.k, scheme_preset("f32")));
  GemmWeights weights(context, size, scheme, a8), plain(context, size, scheme_preset("bf16"), false);
  GemmResult result;
  const MatrixView& w = weights.first().view();
  const bool bytes = is_integer(w.element) && w.activation.mode != ActivationMode::a16;
  result.compute = weights.compute();
  result.weight_bytes = static_cast<double>(weights.first().bytes());
  result.operations = 2.0 * static_cast<double>(size.m) * static_cast<double>(size.n) * static_cast<double>(size.k);
  const std::vector<float>& y = product.run(weights.first());
  result.mse = mean_square(y, exact);
  for (size_t i = 0; i < y.size(); ++i) result.max_difference = std::max(result.max_difference, std::fabs(static_cast<double>(y[i]) - exact[i]));
  std::vector<double> own, bf16;
  for (int round = 0; round < rounds; ++round) {
    own.push_back(product.time(weights));
    bf16.push_back(product.time(plain));
  }
  result.seconds = median(own);
  result.bf16_seconds = median(bf16);
  const double rate = !is_integer(w.element) ? machine.bf16_flops_s : bytes ? machine.int8_ops_s : machine.int8_ops_s / 2;
  result.memory_bound = result.weight_bytes / machine.read_bytes_s > result.operations / rate;
  return result;
}

}  // namespace codecllm
