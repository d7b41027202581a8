// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_float8.h"

#include <algorithm>

#include "kernels/linear_inputs.h"

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

ScaledActivations float8_room(LinearScratch& scratch, int64_t rows, const MatrixView& w) {
  const int64_t stride = round_up(w.columns, kColumnPadding);
  const int64_t groups = w.activation.mode == ActivationMode::a8_group ? w.groups() : 1;
  scratch.rounded.resize(std::max(scratch.rounded.size(), static_cast<size_t>(rows * stride)));
  scratch.group_scales.resize(std::max(scratch.group_scales.size(), static_cast<size_t>(rows * groups)));
  return {scratch.rounded.data(), rows, stride, scratch.group_scales.data(), groups};
}

void put_float8(const KernelTable& kernels, LinearScratch& scratch, const MatrixView& w, const float* x, int64_t x_stride,
                int64_t rows, int64_t place, float given) {
  const bool grouped = w.activation.mode == ActivationMode::a8_group;
  const int64_t stride = round_up(w.columns, kColumnPadding), groups = grouped ? w.groups() : 1;
  for (int64_t m = 0; m < rows; ++m)
    kernels.round_row_float8(x + m * x_stride, w.columns, grouped ? w.group : w.columns, w.element, given,
                             scratch.rounded.data() + (place + m) * stride, scratch.group_scales.data() + (place + m) * groups);
}

ScaledActivations float8_inputs(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                                int64_t x_stride, int64_t rows, const MatrixView& w) {
  if (w.activation.mode == ActivationMode::a16) return {x, rows, x_stride, nullptr, 1};
  const ScaledActivations out = float8_room(scratch, rows, w);
  const float given = given_scale(pool, kernels, scratch.group_scales, x, x_stride, rows, w);
  pool.parallel_for(static_cast<size_t>(rows), 8, [&](size_t begin, size_t end, int) {
    const auto first = static_cast<int64_t>(begin);
    put_float8(kernels, scratch, w, x + first * x_stride, x_stride, static_cast<int64_t>(end - begin), first, given);
  });
  return out;
}

}  // namespace codecllm
