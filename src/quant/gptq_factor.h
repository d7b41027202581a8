// SPDX-License-Identifier: Apache-2.0
// What GPTQ makes of a layer's Hessian.
#pragma once

#include <algorithm>
#include <cstdint>
#include <eigen3/Eigen/Core>
#include <span>
#include <string>
#include <vector>

namespace codecllm {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// The order in which columns are rounded.
std::vector<int64_t> column_order(const std::vector<float>& gram, int64_t n, bool by_size);

// The upper U with H^-1 = U^T U, Algorithm 1's "Cholesky(H^-1)^T", of the damped and reordered Hessian. With J the
// reversal of rows and columns and J H J = L L^T it is U = J L^-1 J, so that H^-1 itself is never formed.
RowMajor inverse_factor(const std::vector<float>& gram, const std::vector<int64_t>& order, double damping, const std::string& layer);

// Rounds one row, `w` in the factor's order: round(j, value) gives what weight j becomes, and its error goes into the
// weights behind it, those beyond `block` columns at the block's end (section 3.3, step 2). begin_block(begin, end) comes
// before each block.
template <class BeginBlock, class Round>
void round_with_feedback(const RowMajor& factor, std::span<double> w, int64_t block, const BeginBlock& begin_block, const Round& round) {
  const auto n = static_cast<int64_t>(w.size());
  std::vector<double> error(static_cast<size_t>(block));
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(n, begin + block);
    begin_block(begin, end);
    for (int64_t j = begin; j < end; ++j) {
      error[j - begin] = (w[j] - round(j, w[j])) / factor(j, j);                                   // eq. 2
      for (int64_t k = j + 1; k < end; ++k) w[k] -= error[j - begin] * factor(j, k);               // eq. 2, delta_F
    }
    for (int64_t j = begin; j < end; ++j) {                                                        // eq. 4, lazy batch
      const double* u = &factor(j, 0);
      const double e = error[j - begin];
      for (int64_t k = end; k < n; ++k) w[k] -= e * u[k];
    }
  }
}

}  // namespace codecllm
