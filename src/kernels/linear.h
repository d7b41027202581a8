// SPDX-License-Identifier: Apache-2.0
// y = x W^T for one or more weights that read the same x, over the threads of a pool.
#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/transient_panels.h"
#include "kernels/table.h"

namespace codecllm {

// Rows as IntActivations.
struct IntegerScratch {
  std::vector<uint8_t> codes;
  std::vector<float> scales;  // [rows]
  std::vector<int32_t> sums;  // [rows, groups, halves]
  std::vector<int32_t> zeros;  // [rows]
};

// Buffers that grow to the largest call and stay, so that the token loop allocates nothing.
struct LinearScratch {
  std::vector<float> reordered;  // [rows, padded columns]: inputs in the order of a weight's groups
  std::vector<float> tiles;    // rows in the order of matmul_float
  IntegerScratch integers;
  std::vector<float> rounded, group_scales;  // [rows, padded columns], [rows, groups]: inputs as 8-bit floats
  std::vector<float> float8_tiles;  // the same in the order of matmul_float8
  PanelScratch panels;         // of weights that are coded or in files
  // Outlier features: the largest input of each column, the columns found, inputs without them and alone.
  std::vector<float> tops, rest, picked, picked_tiles;
  std::vector<int32_t> outlier_columns;
  IntegerScratch picked_integers;
  size_t bytes() const;
  int64_t panels_per_task = 0;  // 0: as suits the matrix and the threads; measurements try others
};

// Inputs of a product with integers: 16-bit ones, or INT8 ones as the weight's activation scheme says.
IntActivations integer_inputs(ThreadPool& pool, const KernelTable& kernels, IntegerScratch& scratch, const float* x,
                              int64_t x_stride, int64_t rows, const MatrixView& w);

// Float rows as matmul_float reads them for such weights: in tiles, or the rows themselves.
struct FloatRows {
  const float* x;
  int64_t stride;
};
// Over the threads of `pool`, or on this thread without one. tiles: room for [rows, columns], grown if need be.
FloatRows interleave(ThreadPool* pool, const KernelTable& kernels, Element weight, const float* x, int64_t x_stride,
                     int64_t rows, int64_t columns, std::vector<float>& tiles);

struct LinearOut {
  const MatrixView* weight;  // [out, in]
  float* y;                  // [rows, y_stride], y_stride >= out
  int64_t y_stride;
};

// x [rows, x_stride], zero from in to round_up(in, 8). The result does not depend on the number of threads, and that of a
// row only with ActivationMode::a8_tensor, or outlier features found at run time, on the other rows.
void linear(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x, int64_t x_stride,
            int64_t rows, std::span<const LinearOut> outs);

}  // namespace codecllm
