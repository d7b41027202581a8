// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear.h"

#include <algorithm>

namespace codecllm {

namespace {

IntActivations quantize(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                        int64_t x_stride, int64_t rows, const MatrixView& w) {
  const int64_t stride = 2 * round_up(w.columns, kColumnPadding), groups = w.groups();
  scratch.codes.resize(std::max(scratch.codes.size(), static_cast<size_t>(rows * stride)));
  scratch.scales.resize(std::max(scratch.scales.size(), static_cast<size_t>(rows)));
  scratch.sums.resize(std::max(scratch.sums.size(), static_cast<size_t>(rows * groups * 2)));
  pool.parallel_for(static_cast<size_t>(rows), 8, [&](size_t begin, size_t end, int) {
    for (auto m = static_cast<int64_t>(begin); m < static_cast<int64_t>(end); ++m)
      scratch.scales[m] = kernels.quantize_row(x + m * x_stride, w.columns, w.group, scratch.codes.data() + m * stride,
                                               scratch.sums.data() + m * groups * 2);
  });
  return {rows, stride, scratch.codes.data(), scratch.scales.data(), scratch.sums.data()};
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

void linear(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x, int64_t x_stride,
            int64_t rows, std::span<const LinearOut> outs) {
  IntActivations codes = {};
  int64_t codes_group = -1;  // the activations are quantized once for weights with the same groups
  const int32_t* codes_order = nullptr;
  for (const LinearOut& out : outs) {
    const MatrixView& w = *out.weight;
    if (is_integer(w.element) && (codes_group != w.group || codes_order != w.order)) {
      const float* inputs = w.order == nullptr ? x : reorder(pool, scratch, x, x_stride, rows, w);
      const int64_t stride = w.order == nullptr ? x_stride : round_up(w.columns, kColumnPadding);
      codes = quantize(pool, kernels, scratch, inputs, stride, rows, w);
      codes_group = w.group;
      codes_order = w.order;
    }
    pool.parallel_for(static_cast<size_t>(w.panels()), panel_grain(w.panels(), pool.threads()),
                      [&](size_t begin, size_t end, int) {
                        const auto first = static_cast<int64_t>(begin), last = static_cast<int64_t>(end);
                        if (is_integer(w.element)) {
                          kernels.matmul_int(w, codes, out.y, out.y_stride, first, last);
                        } else {
                          kernels.matmul_float(w, x, x_stride, rows, out.y, out.y_stride, first, last);
                        }
                      });
  }
}

}  // namespace codecllm
