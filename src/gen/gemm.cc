// SPDX-License-Identifier: Apache-2.0
#include "gen/gemm.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/rng.h"
#include "gen/measure.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "model/synthetic.h"

namespace codecllm {

namespace {

// Copies of one weight, more of them than caches hold, so that a product reads its weight from memory. Of a tiny one
// there are not so many: in use it would stay in a cache.
class Weights {
 public:
  Weights(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8) {
    constexpr size_t kMoreThanCaches = size_t{128} << 20, kMostCopies = 64;
    do {
      copies_.push_back(synthetic_matrix(context, size.n, size.k, scheme));
      if (a8 && copies_.back().view().activation.mode == ActivationMode::a16)
        copies_.back().set_activation({.mode = ActivationMode::a8_token});
    } while (copies_.size() < kMostCopies && copies_.size() * copies_[0].bytes() < kMoreThanCaches);
  }

  const Matrix& first() const { return copies_[0]; }
  const Matrix& next() { return copies_[at_++ % copies_.size()]; }
  size_t count() const { return copies_.size(); }

 private:
  std::vector<Matrix> copies_;
  size_t at_ = 0;
};

class Product {
 public:
  Product(const Context& context, const GemmSize& size)
      : pool_(context.impl().pool), kernels_(kernels_for(context.impl().isa)), size_(size), stride_(round_up(size.k, kColumnPadding)),
        x_(static_cast<size_t>(size.m * stride_)), y_(static_cast<size_t>(size.m * size.n)) {
    Rng rng(3);
    for (int64_t m = 0; m < size.m; ++m)
      for (int64_t k = 0; k < size.k; ++k) x_[m * stride_ + k] = static_cast<float>(rng.normal());
  }

  const std::vector<float>& run(const Matrix& w) {
    const LinearOut out = {&w.view(), y_.data(), size_.n};
    linear(pool_, kernels_, scratch_, x_.data(), stride_, size_.m, {&out, 1});
    return y_;
  }

  // Seconds of one product, over some tens of milliseconds.
  double time(Weights& weights) {
    Stopwatch clock;
    size_t runs = 0;
    do {
      for (size_t i = 0; i < std::min<size_t>(weights.count(), 4); ++i, ++runs) run(weights.next());
    } while (clock.seconds() < 0.02);
    return clock.seconds() / static_cast<double>(runs);
  }

 private:
  ThreadPool& pool_;
  const KernelTable& kernels_;
  const GemmSize size_;
  int64_t stride_;
  std::vector<float> x_, y_;  // [m, stride], [m, n]
  LinearScratch scratch_;
};

}  // namespace

GemmResult measure_gemm(const Context& context, const GemmSize& size, const QuantScheme& scheme, bool a8, int rounds,
                        const MachineState& machine) {
  Product product(context, size);
  const std::vector<float> exact = product.run(synthetic_matrix(context, size.n, size.k, scheme_preset("f32")));
  Weights weights(context, size, scheme, a8), plain(context, size, scheme_preset("bf16"), false);
  GemmResult result;
  const MatrixView& w = weights.first().view();
  const bool bytes = is_integer(w.element) && w.activation.mode != ActivationMode::a16;
  result.compute = bytes ? "a8" : "a16";
  result.weight_bytes = static_cast<double>(weights.first().bytes());
  result.operations = 2.0 * static_cast<double>(size.m) * static_cast<double>(size.n) * static_cast<double>(size.k);
  const std::vector<float>& y = product.run(weights.first());
  for (size_t i = 0; i < y.size(); ++i) {
    const double difference = static_cast<double>(y[i]) - exact[i];
    result.mse += difference * difference / static_cast<double>(y.size());
    result.max_difference = std::max(result.max_difference, std::fabs(difference));
  }
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
