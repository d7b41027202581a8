// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear.h"

#include <algorithm>

#include "kernels/linear_float8.h"
#include "kernels/linear_outliers.h"

namespace codecllm {

IntActivations integer_inputs(ThreadPool& pool, const KernelTable& kernels, IntegerScratch& scratch, const float* x,
                              int64_t x_stride, int64_t rows, const MatrixView& w) {
  const int64_t halves = w.activation.mode == ActivationMode::a16 ? 2 : 1, groups = w.groups();
  const int64_t row_bytes = halves * round_up(w.columns, kColumnPadding);
  scratch.codes.resize(std::max(scratch.codes.size(), static_cast<size_t>(rows * row_bytes)));
  scratch.scales.resize(std::max(scratch.scales.size(), static_cast<size_t>(rows)));
  scratch.sums.resize(std::max(scratch.sums.size(), static_cast<size_t>(rows * groups * halves)));
  const bool asymmetric = w.activation.asymmetric;
  if (asymmetric) scratch.zeros.resize(std::max(scratch.zeros.size(), static_cast<size_t>(rows)));
  const IntActivations out = {rows, halves, row_bytes, scratch.codes.data(), scratch.scales.data(), scratch.sums.data(),
                              asymmetric ? scratch.zeros.data() : nullptr};
  const float given = w.activation.mode == ActivationMode::a8_fixed    ? w.activation.scale
                      : w.activation.mode == ActivationMode::a8_tensor ? common_scale(pool, kernels, scratch.scales, x, x_stride, rows, w.columns, kByteLimit)
                                                                       : 0.0f;
  if (asymmetric) std::fill_n(scratch.zeros.begin(), rows, w.activation.zero);
  const int64_t most = kernels.tile_rows(halves);
  pool.parallel_for(static_cast<size_t>(tile_count(rows, most)), 1, [&](size_t begin, size_t end, int) {
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      const int64_t m = tile.first;
      kernels.quantize_rows({x + m * x_stride, x_stride, tile.rows, w.columns, w.group, halves, given},
                            {scratch.codes.data() + m * row_bytes, scratch.scales.data() + m, scratch.sums.data() + m * groups * halves,
                             asymmetric ? scratch.zeros.data() + m : nullptr});
    }
  });
  return out;
}

namespace {

// Inputs are rounded once for weights that take them alike.
bool same_inputs(const MatrixView* last, const MatrixView& w) {
  return last != nullptr && last->element == w.element && last->group == w.group && last->order == w.order &&
         last->activation == w.activation && same_outliers(*last, w);
}

// Inputs in the order in which the weight holds its columns.
const float* reorder(ThreadPool& pool, LinearScratch& scratch, const float* x, int64_t x_stride, int64_t rows,
                     const MatrixView& w) {
  const int64_t stride = round_up(w.columns, kColumnPadding);
  scratch.reordered.resize(std::max(scratch.reordered.size(), static_cast<size_t>(rows * stride)));
  pool.parallel_for(static_cast<size_t>(rows), 8, [&](size_t begin, size_t end, int) {
    for (auto m = static_cast<int64_t>(begin); m < static_cast<int64_t>(end); ++m) {
      float* out = scratch.reordered.data() + m * stride;
      for (int64_t k = 0; k < w.columns; ++k) out[k] = x[m * x_stride + w.order[k]];
      for (int64_t k = w.columns; k < stride; ++k) out[k] = 0;
    }
  });
  return scratch.reordered.data();
}

// Pieces small enough to share evenly, large enough that a piece's cost hides the counter's.
size_t panel_grain(int64_t panels, int threads) {
  const int64_t even = panels / (threads * 8) / 2 * 2;  // an even number of panels keeps the two-panel tiles
  return static_cast<size_t>(std::clamp<int64_t>(even, 2, 64));
}

}  // namespace

FloatRows interleave(ThreadPool* pool, const KernelTable& kernels, const float* x, int64_t x_stride, int64_t rows,
                     int64_t columns, std::vector<float>& tiles) {
  const int64_t most = kernels.float_tile_rows();
  if (rows == 1 || most == 1) return {x, x_stride};
  tiles.resize(std::max(tiles.size(), static_cast<size_t>(rows * columns)));
  const auto put_tiles = [&](size_t begin, size_t end, int) {
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      float* out = tiles.data() + tile.first * columns;
      for (int64_t i = 0; i < tile.rows; ++i)
        for (int64_t k = 0; k < columns; ++k) out[k * tile.rows + i] = x[(tile.first + i) * x_stride + k];
    }
  };
  const auto count = static_cast<size_t>(tile_count(rows, most));
  if (pool != nullptr) {
    pool->parallel_for(count, 1, put_tiles);
  } else {
    put_tiles(0, count, 0);
  }
  return {tiles.data(), columns};
}

void linear(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x, int64_t x_stride,
            int64_t rows, std::span<const LinearOut> outs) {
  if (rows == 0) return;
  IntActivations codes = {};
  OutlierInputs outliers = {};
  FloatRows floats = {};
  ScaledActivations scaled = {};
  const MatrixView *quantized_for = nullptr, *scaled_for = nullptr;  // whose inputs these are
  for (const LinearOut& out : outs) {
    const MatrixView& w = *out.weight;
    if (is_float8(w.element) && !same_inputs(scaled_for, w)) {
      scaled = float8_inputs(pool, kernels, scratch, x, x_stride, rows, w);
      scaled_for = &w;
    }
    if (is_integer(w.element) && !same_inputs(quantized_for, w)) {
      const float* inputs = w.order == nullptr ? x : reorder(pool, scratch, x, x_stride, rows, w);
      int64_t stride = w.order == nullptr ? x_stride : round_up(w.columns, kColumnPadding);
      if (has_outliers(w)) {
        outliers = split_outliers(pool, kernels, scratch, inputs, stride, rows, w);
        inputs = outliers.rest;
        stride = outliers.stride;
      }
      codes = integer_inputs(pool, kernels, scratch.integers, inputs, stride, rows, w);
      quantized_for = &w;
    }
    if (!is_integer(w.element) && !is_float8(w.element) && floats.x == nullptr)
      floats = interleave(&pool, kernels, x, x_stride, rows, w.columns, scratch.tiles);
    scratch.panels.fit(w, pool.threads());
    pool.parallel_for(static_cast<size_t>(w.panels()), panel_grain(w.panels(), pool.threads()),
                      [&](size_t begin, size_t end, int worker) {
                        for_decoded_panels(kernels, w, scratch.panels.of(worker), static_cast<int64_t>(begin), static_cast<int64_t>(end),
                                           [&](const MatrixView& part, int64_t row, int64_t first, int64_t last) {
                                             if (is_integer(w.element)) {
                                               kernels.matmul_int(part, codes, out.y + row, out.y_stride, first, last);
                                               if (has_outliers(w)) add_outliers(kernels, w, outliers, rows, out.y, out.y_stride, first, last);
                                             } else if (is_float8(w.element)) {
                                               kernels.matmul_float8(part, scaled, out.y + row, out.y_stride, first, last);
                                             } else {
                                               kernels.matmul_float(part, floats.x, floats.stride, rows, out.y + row, out.y_stride, first, last);
                                             }
                                           });
                      });
  }
}

}  // namespace codecllm
