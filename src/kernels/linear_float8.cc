// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_float8.h"

#include <algorithm>

#include "format/float8.h"

namespace codecllm {

float common_scale(ThreadPool& pool, const KernelTable& kernels, std::vector<float>& room, const float* x, int64_t x_stride,
                   int64_t rows, int64_t columns, float limit) {
  room.resize(std::max(room.size(), static_cast<size_t>(rows)));
  pool.parallel_for(static_cast<size_t>(rows), 8, [&](size_t begin, size_t end, int) {
    for (auto m = static_cast<int64_t>(begin); m < static_cast<int64_t>(end); ++m)
      room[m] = kernels.largest_of(x + m * x_stride, columns);
  });
  float largest = 0;
  for (int64_t m = 0; m < rows; ++m)
    if (room[m] > largest) largest = room[m];
  return largest >= kSmallestActivation ? largest / limit : 0.0f;
}

ScaledActivations float8_inputs(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                                int64_t x_stride, int64_t rows, const MatrixView& w) {
  const ActivationMode mode = w.activation.mode;
  if (mode == ActivationMode::a16) return {x, rows, x_stride, nullptr, 1};
  const int64_t stride = round_up(w.columns, kColumnPadding), group = mode == ActivationMode::a8_group ? w.group : w.columns;
  const int64_t groups = (w.columns + group - 1) / group;
  const float limit = w.element == Element::e4m3 ? kE4m3.largest : kE5m2.largest;
  const float given = mode == ActivationMode::a8_fixed    ? w.activation.scale
                      : mode == ActivationMode::a8_tensor ? common_scale(pool, kernels, scratch.group_scales, x, x_stride, rows, w.columns, limit)
                                                          : 0.0f;
  scratch.rounded.resize(std::max(scratch.rounded.size(), static_cast<size_t>(rows * stride)));
  scratch.group_scales.resize(std::max(scratch.group_scales.size(), static_cast<size_t>(rows * groups)));
  pool.parallel_for(static_cast<size_t>(rows), 8, [&](size_t begin, size_t end, int) {
    for (auto m = static_cast<int64_t>(begin); m < static_cast<int64_t>(end); ++m)
      kernels.round_row_float8(x + m * x_stride, w.columns, group, w.element, given, scratch.rounded.data() + m * stride,
                               scratch.group_scales.data() + m * groups);
  });
  return {scratch.rounded.data(), rows, stride, scratch.group_scales.data(), groups};
}

}  // namespace codecllm
