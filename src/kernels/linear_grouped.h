// SPDX-License-Identifier: Apache-2.0
// y = x W^T for rows that belong to different weights (the experts of a mixture), in one call: small products share the
// threads, and each gives the bits that `linear` gives for its rows alone.
#pragma once

#include "kernels/linear_inputs.h"

namespace codecllm {

// The rows of one expert.
struct RowSegment {
  int64_t first, rows;
};

// Rows sorted by expert, without gaps: expert e has the counts[e] rows behind those of e - 1. Throws Error(bad_call) for a
// negative count.
std::vector<RowSegment> contiguous_layout(std::span<const int64_t> counts);
// `capacity` rows for every expert, of which the first counts[e] are there; the others are neither read nor written. Throws
// Error(bad_call) for a count outside [0, capacity].
std::vector<RowSegment> masked_layout(std::span<const int64_t> counts, int64_t capacity);

// Buffers as LinearScratch has them.
struct GroupedScratch {
  struct Piece {
    size_t expert;
    int64_t begin, end;  // rows within the segment, or panels
  };
  LinearScratch linear;
  std::vector<LinearInputs> inputs;  // [experts]
  std::vector<float> given;          // [experts]
  std::vector<Piece> pieces;
};

// Rows segments[e] of y [.., y_stride] = rows segments[e] of x [.., x_stride], zero from in to round_up(in, 8), times
// experts[e]. Weights with other elements, groups or activations than the first's, in another order of columns, or with
// outlier features are multiplied one after the other.
void linear_grouped(ThreadPool& pool, const KernelTable& kernels, GroupedScratch& scratch, const float* x, int64_t x_stride,
                    std::span<const MatrixView* const> experts, std::span<const RowSegment> segments, float* y, int64_t y_stride);

}  // namespace codecllm
