// SPDX-License-Identifier: Apache-2.0
// LLM.int8() (Dettmers et al. 2022, section 3.2): a product is the INT8 product of most columns, and a second one, in 16
// bits, of the columns whose inputs are large:
//   y[m, n] = sx[m] sw[n] sum over k not in O (cx[m, k] cw[n, k])  +  sum over k in O (x[m, k] w[n, k])
// Columns that calibration found are in 16-bit floating point. Those found at run time are taken from the codes, sixteen
// rows at a time, and multiplied by 16-bit integers as exactly as weight-only products are, so that the result is the same
// bits on every tier.
#pragma once

#include "kernels/linear.h"

namespace codecllm {

inline bool has_outliers(const MatrixView& w) { return w.outliers != nullptr || w.activation.threshold > 0; }

// Inputs taken apart. Valid until the next call with the same scratch.
struct OutlierInputs {
  IntActivations rest;      // x without the columns of O
  std::span<const int32_t> columns;  // O, ascending
  FloatRows floats;         // x of O, for columns in floating point
  IntActivations integers;  // x of O, for columns that are taken from the codes
};

// O of `w`, or where it has none of its own, of these inputs: columns in which any row reaches the threshold. NaN does not,
// and stays in the rest.
OutlierInputs split_outliers(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                             int64_t x_stride, int64_t rows, const MatrixView& w);

// Whether both weights take the same columns out of the same inputs.
bool same_outliers(const MatrixView& a, const MatrixView& b);

// y += the product of O for the rows of panels [panel_begin, panel_end). On one thread.
void add_outliers(const KernelTable& kernels, const MatrixView& w, const OutlierInputs& x, int64_t rows, float* y,
                  int64_t y_stride, int64_t panel_begin, int64_t panel_end);

}  // namespace codecllm
