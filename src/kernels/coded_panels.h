// SPDX-License-Identifier: Apache-2.0
// Products with entropy-coded weights, but for those that decode on their way (linear.cc): a panel or two at a time are decoded
// into a thread's own buffer, which stays in its cache, and multiplied there by the kernels of the plain matrix; so the sums are
// the plain ones bit for bit, and no decoded copy of the matrix is ever in memory. The rows of a batch share one decoding.
#pragma once

#include "base/function_ref.h"
#include "base/memory.h"
#include "kernels/table.h"

namespace codecllm {

// One buffer per thread, as large as the largest call needs.
class PanelScratch {
 public:
  void fit(const MatrixView& w, int threads);  // before the threads start
  uint8_t* of(int worker) const { return data_ + worker * stride_; }

 private:
  Buffer buffer_;
  uint8_t* data_ = nullptr;
  int64_t stride_ = 0;
};

// Most panels that are decoded and multiplied together: the tiles of several rows take two, and one row one, so that as
// little as can be waits in the cache.
constexpr int64_t kDecodedPanels = 2;

// body(w, first row, begin, end) for the panels [begin, end) of w as it is where it is plain; where it is coded, for parts of
// it, for products of `rows` rows: matrices of their own, decoded, that begin at `first row` of w.
using PanelBody = FunctionRef<void(const MatrixView& part, int64_t first_row, int64_t begin, int64_t end)>;
void for_decoded_panels(const KernelTable& kernels, const MatrixView& w, int64_t rows, uint8_t* scratch, int64_t begin, int64_t end, PanelBody body);

}  // namespace codecllm
