// SPDX-License-Identifier: Apache-2.0
// What products with 8-bit floats read, and what is shared with those of integers.
#pragma once

#include "kernels/linear.h"

namespace codecllm {

// The one scale of all rows: their largest magnitude over `limit`, 0 when every row is (nearly) zero. A row that is not
// finite has no say: it will be NaN. room: for a number per row, grown if need be.
float common_scale(ThreadPool& pool, const KernelTable& kernels, std::vector<float>& room, const float* x, int64_t x_stride,
                   int64_t rows, int64_t columns, float limit);

// Inputs of a product with `w`: as they are, or rounded to its element as its activation scheme says (then in `scratch`).
ScaledActivations float8_inputs(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                                int64_t x_stride, int64_t rows, const MatrixView& w);

}  // namespace codecllm
