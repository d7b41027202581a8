// SPDX-License-Identifier: Apache-2.0
// Products with weights that are not in memory in the kernels' order: entropy-coded, but for those that decode on their way
// (linear.cc), or rows of a mapped file. A panel or two at a time are decoded or laid out in a thread's own buffer, which stays
// in its cache, and multiplied there by the kernels of the plain matrix; so the sums are the plain ones bit for bit, and no
// plain copy of the matrix is ever in memory. The rows of a batch share one such panel.
#pragma once

#include "base/function_ref.h"
#include "base/memory.h"
#include "kernels/table.h"

namespace codecllm {

// One buffer per thread, as large as the largest call needs.
class PanelScratch {
 public:
  void fit(const MatrixView& w, int threads);  // before the threads start
  size_t bytes() const { return buffer_.bytes(); }
  uint8_t* of(int worker) const { return data_ + worker * stride_; }

 private:
  Buffer buffer_;
  uint8_t* data_ = nullptr;
  int64_t stride_ = 0;
};

// Bytes that make_panel writes: the last block of a coded panel may reach beyond its lines.
int64_t made_bytes(const MatrixView& w);
// One panel of a matrix that is coded or stored in rows, in the kernels' order.
void make_panel(const KernelTable& kernels, const MatrixView& w, int64_t panel, uint8_t* out);

// body(w, first row, begin, end) for the panels [begin, end) of w as it is where it is in the kernels' order; else for parts of
// it, for products of `rows` rows: matrices of their own, in that order, that begin at `first row` of w.
using PanelBody = FunctionRef<void(const MatrixView& part, int64_t first_row, int64_t begin, int64_t end)>;
void for_plain_panels(const KernelTable& kernels, const MatrixView& w, int64_t rows, uint8_t* scratch, int64_t begin, int64_t end, PanelBody body);

}  // namespace codecllm
