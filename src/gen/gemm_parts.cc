// SPDX-License-Identifier: Apache-2.0
#include "gen/gemm_parts.h"

#include <algorithm>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/dispatch.h"
#include "model/synthetic.h"

namespace codecllm {

GemmWeights::GemmWeights(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, size_t together) {
  constexpr size_t kMoreThanCaches = size_t{128} << 20, kMostCopies = 64;
  const size_t bytes = synthetic_matrix(context, size.n, size.k, scheme).bytes();
  const size_t count = std::clamp<size_t>(kMoreThanCaches / bytes + 1, 1, kMostCopies);
  copies_ = synthetic_matrices(context, size.n, size.k, scheme, (count + together - 1) / together * together);
  for (Matrix& w : copies_)
    if (a8 && w.view().activation.mode == ActivationMode::a16) w.set_activation({.mode = ActivationMode::a8_token});
}

double time_of(size_t times, FunctionRef<void()> run) {
  Stopwatch clock;
  size_t runs = 0;
  do {
    for (size_t i = 0; i < times; ++i, ++runs) run();
  } while (clock.seconds() < 0.02);
  return clock.seconds() / static_cast<double>(runs);
}

std::vector<float> gemm_inputs(int64_t rows, int64_t columns, int64_t outliers) {
  const int64_t stride = round_up(columns, kColumnPadding);
  std::vector<float> x(static_cast<size_t>(rows * stride), 0.0f);
  Rng rng(3);
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t k = 0; k < columns; ++k) x[m * stride + k] = static_cast<float>(rng.normal());
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t i = 0; i < outliers; ++i) x[m * stride + i * columns / outliers] *= 20;
  return x;
}

double mean_square(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum / static_cast<double>(a.size());
}

GemmProduct::GemmProduct(const Context& context, const GemmSize& size, int64_t rows_per_pass, int64_t panels_per_task)
    : pool_(context.impl().pool), kernels_(kernels_for(context.impl().isa)), size_(size), stride_(round_up(size.k, kColumnPadding)),
      pass_(rows_per_pass > 0 ? rows_per_pass : size.m), x_(gemm_inputs(size.m, size.k, size.outliers)), y_(static_cast<size_t>(size.m * size.n)) {
  scratch_.panels_per_task = panels_per_task;
}

const std::vector<float>& GemmProduct::run(const Matrix& w) {
  for (int64_t m = 0; m < size_.m; m += pass_) {
    const LinearOut out = {&w.view(), y_.data() + m * size_.n, size_.n};
    linear(pool_, kernels_, scratch_, x_.data() + m * stride_, stride_, std::min(pass_, size_.m - m), {&out, 1});
  }
  return y_;
}

double GemmProduct::time(GemmWeights& weights) {
  return time_of(std::min<size_t>(weights.count(), 4), [&] { run(weights.next()); });
}

}  // namespace codecllm
