// SPDX-License-Identifier: Apache-2.0
#include "quant/gptq.h"

#include <algorithm>
#include <eigen3/Eigen/Cholesky>
#include <numeric>

#include "codecllm/error.h"
#include "quant/gptq_factor.h"

namespace codecllm {

std::vector<int64_t> column_order(const std::vector<float>& gram, int64_t n, bool by_size) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  if (by_size)
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return gram[a * n + a] > gram[b * n + b]; });
  return order;
}

RowMajor inverse_factor(const std::vector<float>& gram, const std::vector<int64_t>& order, double damping,
                        const std::string& layer) {
  const auto n = static_cast<int64_t>(order.size());
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(gram[i * n + i]) / static_cast<double>(n);
  const double damp = mean > 0 ? damping * mean : 1;
  RowMajor reversed(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) reversed(n - 1 - i, n - 1 - j) = static_cast<double>(gram[order[i] * n + order[j]]);
  for (int64_t i = 0; i < n; ++i) reversed(i, i) = reversed(i, i) > 0 ? reversed(i, i) + damp : 1;  // an input never seen
  Eigen::LLT<Eigen::Ref<RowMajor>, Eigen::Lower> factor(reversed);
  if (factor.info() != Eigen::Success)
    throw Error(ErrorCode::bad_input, "gptq", "the Hessian is not positive definite; give more text or raise the damping",
                {.tensor = layer});
  RowMajor inverse = RowMajor::Identity(n, n);
  reversed.triangularView<Eigen::Lower>().solveInPlace(inverse);
  return inverse.reverse();
}

namespace {

class RowRounder {
 public:
  RowRounder(LayerTask& task, std::vector<Grid>& grids, const RowMajor& factor, const std::vector<int64_t>& order,
             const std::vector<bool>& dead, const GptqOptions& options)
      : task_(task),
        grids_(grids),
        factor_(factor),
        order_(order),
        dead_(dead),
        options_(options),
        map_(task.args, task.linear.rows, task.linear.columns),
        n_(task.linear.columns),
        // A group lies within one block.
        block_(task.args.strategy == Strategy::group ? task.args.group_size : 128) {}

  void run(int64_t row) {
    std::vector<double> w(static_cast<size_t>(n_));
    float* weights = &task_.weights[row * n_];
    for (int64_t j = 0; j < n_; ++j) w[j] = dead_[order_[j]] ? 0.0 : static_cast<double>(weights[order_[j]]);
    const bool late_scales = task_.args.strategy == Strategy::group && !options_.act_order && task_.kept.empty();
    round_with_feedback(
        factor_, w, block_,
        [&](int64_t begin, int64_t end) {
          if (late_scales) fit_group(row, begin, std::span(w).subspan(begin, end - begin));
        },
        [&](int64_t j, double value) {
          const int64_t column = order_[j];
          weights[column] = nearest(static_cast<float>(value), grids_[map_.index(row, column)], task_);
          return static_cast<double>(weights[column]);
        });
  }

 private:
  void fit_group(int64_t row, int64_t begin, std::span<const double> now) {
    const std::vector<float> values(now.begin(), now.end());
    const Range range = options_.clip ? mse_clipped(values, task_) : finite_range(values);
    grids_[map_.index(row, begin)] = fit_grid(range, task_.args, task_.rule, task_.scale_type);
  }

  LayerTask& task_;
  std::vector<Grid>& grids_;
  const RowMajor& factor_;
  const std::vector<int64_t>& order_;
  const std::vector<bool>& dead_;
  const GptqOptions& options_;
  const GridMap map_;
  const int64_t n_, block_;
};

}  // namespace

std::vector<Grid> gptq(const Context& context, LayerTask& task, const std::vector<float>& gram, const GptqOptions& options) {
  const int64_t n = task.linear.columns;
  std::vector<int64_t> order = column_order(gram, n, options.act_order);
  // Kept columns come first: they have no error, and take none of the others'.
  std::stable_partition(order.begin(), order.end(), [&](int64_t column) { return std::binary_search(task.kept.begin(), task.kept.end(), column); });
  const RowMajor factor = inverse_factor(gram, order, options.damping, task.linear.name);
  std::vector<bool> dead(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) dead[j] = !(gram[j * n + j] > 0);
  std::vector<Grid> grids = fit_grids(context, task, options.clip);
  context.impl().pool.parallel_for(static_cast<size_t>(task.linear.rows), 4, [&](size_t begin, size_t end, int) {
    RowRounder rounder(task, grids, factor, order, dead, options);
    for (size_t row = begin; row < end; ++row) rounder.run(static_cast<int64_t>(row));
  });
  return grids;
}

}  // namespace codecllm
