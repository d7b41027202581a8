// SPDX-License-Identifier: Apache-2.0
// What measurements of products share: weights that come from memory, and a product of one of them.
#pragma once

#include <span>

#include "gen/gemm.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"

namespace codecllm {

// Copies of one weight, more of them than caches hold, so that a product reads its weight from memory. Of a tiny one
// there are not so many: in use it would stay in a cache. Their number is a multiple of `together`.
class GemmWeights {
 public:
  GemmWeights(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, size_t together = 1);

  const Matrix& first() const { return copies_[0]; }
  const Matrix& next() { return copies_[at_++ % copies_.size()]; }
  size_t count() const { return copies_.size(); }
  // Of the products: "a16" or "a8".
  std::string compute() const { return first().view().activation.mode != ActivationMode::a16 ? "a8" : "a16"; }

 private:
  std::vector<Matrix> copies_;
  size_t at_ = 0;
};

// Seconds of one run, over some tens of milliseconds; run is called `times` in a row between looks at the clock.
double time_of(size_t times, FunctionRef<void()> run);

// Standard normal x [rows, stride], zero behind the last column; `outliers` columns, evenly spread, 20 times as large.
std::vector<float> gemm_inputs(int64_t rows, int64_t columns, int64_t outliers = 0);

// Mean squared difference.
double mean_square(std::span<const float> a, std::span<const float> b);

class GemmProduct {
 public:
  // rows_per_pass: rows of x that go through all of the weight together; 0: all of them. panels_per_task: as LinearScratch.
  GemmProduct(const Context& context, const GemmSize& size, int64_t rows_per_pass = 0, int64_t panels_per_task = 0);

  const std::vector<float>& run(const Matrix& w);
  double time(GemmWeights& weights);

 private:
  ThreadPool& pool_;
  const KernelTable& kernels_;
  const GemmSize size_;
  int64_t stride_, pass_;
  std::vector<float> x_, y_;  // [m, stride], [m, n]
  LinearScratch scratch_;
};

}  // namespace codecllm
