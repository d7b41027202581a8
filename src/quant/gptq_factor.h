// SPDX-License-Identifier: Apache-2.0
// What GPTQ makes of a layer's Hessian.
#pragma once

#include <cstdint>
#include <eigen3/Eigen/Core>
#include <string>
#include <vector>

namespace codecllm {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// The order in which columns are rounded.
std::vector<int64_t> column_order(const std::vector<float>& gram, int64_t n, bool by_size);

// The upper U with H^-1 = U^T U, Algorithm 1's "Cholesky(H^-1)^T", of the damped and reordered Hessian. With J the
// reversal of rows and columns and J H J = L L^T it is U = J L^-1 J, so that H^-1 itself is never formed.
RowMajor inverse_factor(const std::vector<float>& gram, const std::vector<int64_t>& order, double damping, const std::string& layer);

}  // namespace codecllm
