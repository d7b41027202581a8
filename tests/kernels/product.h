// SPDX-License-Identifier: Apache-2.0
// One linear layer on a tier.
#pragma once

#include <vector>

#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"

namespace codecllm {

// y [batch, rows of w]; x [batch, stride]
inline std::vector<float> product_of(Isa isa, const Matrix& w, const std::vector<float>& x, int64_t stride, int64_t batch, int threads) {
  ThreadPool pool(threads);
  LinearScratch scratch;
  std::vector<float> y(static_cast<size_t>(batch * w.rows()), -1.0f);
  const LinearOut out = {&w.view(), y.data(), w.rows()};
  linear(pool, kernels_for(isa), scratch, x.data(), stride, batch, {&out, 1});
  return y;
}

}  // namespace codecllm
