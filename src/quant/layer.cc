// SPDX-License-Identifier: Apache-2.0
#include "quant/layer.h"

#include <algorithm>
#include <cmath>

namespace codecllm {

namespace {

// body(cell, first row, rows, first column, columns) for every cell.
template <class Body>
void for_cells(const Context& context, const LayerTask& task, const Body& body) {
  const GridMap map(task.args, task.linear.rows, task.linear.columns);
  context.impl().pool.parallel_for(static_cast<size_t>(map.count), 16, [&](size_t begin, size_t end, int) {
    for (size_t cell = begin; cell < end; ++cell) {
      const int64_t row = static_cast<int64_t>(cell) / map.across * map.row_span,
                    column = static_cast<int64_t>(cell) % map.across * map.column_span;
      body(cell, row, std::min(map.row_span, task.linear.rows - row), column,
           std::min(map.column_span, task.linear.columns - column));
    }
  });
}

}  // namespace

Range mse_clipped(std::span<const float> values, const LayerTask& task) {
  constexpr int kSteps = 40;
  const Range whole = finite_range(values);
  Range best = whole;
  double smallest = HUGE_VAL;
  std::vector<int8_t> codes(values.size());
  std::vector<float> decoded(values.size());
  for (int step = 0; step <= kSteps / 2; ++step) {
    const float keep = 1 - static_cast<float>(step) / kSteps;
    const Range range = {keep * whole.low, keep * whole.high};
    const Grid grid = fit_grid(range, task.args, task.rule, task.scale_type);
    encode(values, grid, task.args, task.rule, codes.data());
    decode(codes, grid, task.args, decoded.data());
    double error = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double e = static_cast<double>(values[i]) - decoded[i];
      error += e * e;
    }
    if (error < smallest) smallest = error, best = range;
  }
  return best;
}

std::vector<Grid> fit_grids(const Context& context, const LayerTask& task, bool clip) {
  std::vector<Grid> grids(static_cast<size_t>(GridMap(task.args, task.linear.rows, task.linear.columns).count));
  for_cells(context, task, [&](size_t cell, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    std::vector<float> values;
    for (int64_t r = row; r < row + rows; ++r) {
      const float* first = &task.weights[r * task.linear.columns + column];
      values.insert(values.end(), first, first + columns);
    }
    grids[cell] = fit_grid(clip ? mse_clipped(values, task) : finite_range(values), task.args, task.rule, task.scale_type);
  });
  return grids;
}

float nearest(float value, const Grid& grid, const LayerTask& task) {
  int8_t code = 0;
  float decoded = 0;
  encode({&value, 1}, grid, task.args, task.rule, &code);
  decode({&code, 1}, grid, task.args, &decoded);
  return decoded;
}

std::vector<float> round_layer(const Context& context, const LayerTask& task, const std::vector<Grid>& grids) {
  std::vector<float> rounded(task.weights.size());
  for_cells(context, task, [&](size_t cell, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    std::vector<int8_t> codes(static_cast<size_t>(columns));
    for (int64_t r = row; r < row + rows; ++r) {
      const size_t at = static_cast<size_t>(r * task.linear.columns + column);
      encode(std::span(task.weights).subspan(at, codes.size()), grids[cell], task.args, task.rule, codes.data());
      decode(codes, grids[cell], task.args, &rounded[at]);
    }
  });
  return rounded;
}

}  // namespace codecllm
