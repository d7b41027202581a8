// SPDX-License-Identifier: Apache-2.0
#include "quant/awq.h"

#include <algorithm>
#include <cmath>

#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"

namespace codecllm {

double output_error(const Context& context, const std::vector<float>& error, int64_t rows, const std::vector<float>& gram,
                    int64_t columns) {
  ThreadPool& pool = context.impl().pool;
  Matrix matrix(Element::f32, columns, columns, columns, ScaleType::f32);
  for (int64_t panel = 0; panel < matrix.view().panels(); ++panel) {
    const void* lines[kPanelRows];
    const int64_t first = panel * kPanelRows, n = std::min(kPanelRows, columns - first);
    for (int64_t i = 0; i < n; ++i) lines[i] = &gram[(first + i) * columns];
    matrix.set_panel(panel, Matrix::FloatRows(lines, static_cast<size_t>(n)), DType::f32);
  }
  const int64_t stride = round_up(columns, kColumnPadding);
  constexpr int64_t kPiece = 256;
  std::vector<float> x(static_cast<size_t>(kPiece * stride)), product(static_cast<size_t>(kPiece * columns));
  LinearScratch scratch;
  double total = 0;
  for (int64_t first = 0; first < rows; first += kPiece) {
    const int64_t n = std::min(kPiece, rows - first);
    for (int64_t r = 0; r < n; ++r) std::copy_n(&error[(first + r) * columns], columns, &x[r * stride]);
    const LinearOut out = {&matrix.view(), product.data(), columns};
    linear(pool, kernels_for(context.impl().isa), scratch, x.data(), stride, n, {&out, 1});
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < columns; ++c) total += static_cast<double>(x[r * stride + c]) * product[r * columns + c];
  }
  return total;
}

// Columns multiplied by s, rounded, and divided again: Q(W diag(s)) diag(s)^-1 - W.
static std::vector<float> scaled_error(const Context& context, const LayerTask& task, const std::vector<float>& s) {
  LayerTask scaled = task;
  const int64_t columns = task.linear.columns;
  for (size_t i = 0; i < scaled.weights.size(); ++i) scaled.weights[i] *= s[i % columns];
  std::vector<float> error = round_layer(context, scaled, fit_grids(context, scaled, false));
  for (size_t i = 0; i < error.size(); ++i) error[i] = error[i] / s[i % columns] - task.weights[i];
  return error;
}

std::vector<float> awq_scales(const Context& context, const std::vector<LayerTask>& readers,
                              const std::vector<float>& channel_mean, const std::vector<float>& gram) {
  constexpr int kPowers = 20;
  const auto columns = static_cast<int64_t>(channel_mean.size());
  std::vector<float> best(channel_mean.size(), 1.0f);
  double smallest = HUGE_VAL;
  for (int power = 0; power < kPowers; ++power) {
    std::vector<float> s(channel_mean.size());
    for (size_t c = 0; c < s.size(); ++c)
      s[c] = std::max(1e-4f, std::pow(channel_mean[c], static_cast<float>(power) / kPowers));  // eq. 5
    const auto [low, high] = std::minmax_element(s.begin(), s.end());
    const float middle = std::sqrt(*low * *high);
    for (float& v : s) v /= middle;
    double loss = 0;
    for (const LayerTask& task : readers)
      loss += output_error(context, scaled_error(context, task, s), task.linear.rows, gram, columns);  // eq. 4
    if (loss < smallest) smallest = loss, best = s;
  }
  return best;
}

std::vector<Grid> awq_clip(const Context& context, const LayerTask& task, const std::vector<float>& gram) {
  constexpr int kSteps = 20;
  constexpr int64_t kWide = 256;
  const GridMap map(task.args, task.linear.rows, task.linear.columns);
  std::vector<Grid> grids = fit_grids(context, task, false);
  if (map.row_span != 1) return grids;
  const int64_t n = task.linear.columns;
  context.impl().pool.parallel_for(grids.size(), 8, [&](size_t begin, size_t end, int) {
    std::vector<float> error;
    for (size_t cell = begin; cell < end; ++cell) {
      const int64_t row = static_cast<int64_t>(cell) / map.across, first = static_cast<int64_t>(cell) % map.across * map.column_span,
                    width = std::min(map.column_span, n - first);
      const auto values = std::span(task.weights).subspan(row * n + first, width);
      const Range whole = finite_range(values);
      error.resize(static_cast<size_t>(width));
      double smallest = HUGE_VAL;
      for (int step = 0; step < kSteps / 2; ++step) {
        const float keep = 1 - static_cast<float>(step) / kSteps;
        const Grid grid = fit_grid({keep * whole.low, keep * whole.high}, task.args, task.rule, task.scale_type);
        for (int64_t c = 0; c < width; ++c) error[c] = values[c] - nearest(values[c], grid, task);
        double loss = 0;
        for (int64_t i = 0; i < width; ++i) {
          const float* line = &gram[(first + i) * n + first];
          double sum = static_cast<double>(line[i]) * error[i];
          if (width <= kWide)
            for (int64_t j = 0; j < i; ++j) sum += 2.0 * line[j] * error[j];
          loss += sum * error[i];
        }
        if (loss < smallest) smallest = loss, grids[cell] = grid;
      }
    }
  });
  return grids;
}

}  // namespace codecllm
