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

ScaledActivations float8_room(const KernelTable& kernels, LinearScratch& scratch, int64_t rows, const MatrixView& w) {
  const int64_t stride = round_up(w.columns, kColumnPadding);
  const int64_t groups = w.activation.mode == ActivationMode::a8_group ? w.groups() : 1;
  const bool rounded = w.activation.mode != ActivationMode::a16, tiles = !as_they_are(kernels, w.element, rows);
  if (rounded) scratch.rounded.resize(std::max(scratch.rounded.size(), static_cast<size_t>(rows * stride)));
  if (rounded) scratch.group_scales.resize(std::max(scratch.group_scales.size(), static_cast<size_t>(rows * groups)));
  if (tiles) scratch.float8_tiles.resize(std::max(scratch.float8_tiles.size(), static_cast<size_t>(rows * stride)));
  return {tiles ? scratch.float8_tiles.data() : scratch.rounded.data(), rows, stride, rounded ? scratch.group_scales.data() : nullptr, groups};
}

void put_float8(const KernelTable& kernels, LinearScratch& scratch, const ScaledActivations& room, const MatrixView& w, const float* x,
                int64_t x_stride, int64_t rows, int64_t place, float given) {
  const bool grouped = w.activation.mode == ActivationMode::a8_group;
  if (room.scales != nullptr) {
    float* rounded = scratch.rounded.data() + place * room.stride;
    for (int64_t m = 0; m < rows; ++m)
      kernels.round_row_float8(x + m * x_stride, w.columns, grouped ? w.group : w.columns, w.element, given, rounded + m * room.stride,
                               scratch.group_scales.data() + (place + m) * room.groups);
    x = rounded;
    x_stride = room.stride;
  }
  if (room.x != scratch.rounded.data()) put_floats(kernels, w.element, x, x_stride, rows, room.stride, scratch.float8_tiles.data() + place * room.stride);
}

ScaledActivations float8_inputs(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                                int64_t x_stride, int64_t rows, const MatrixView& w) {
  const int64_t most = kernels.float_tile_rows(w.element);
  if (w.activation.mode == ActivationMode::a16 && as_they_are(kernels, w.element, rows)) return {x, rows, x_stride, nullptr, 1};
  const ScaledActivations out = float8_room(kernels, scratch, rows, w);
  const float given = given_scale(pool, kernels, scratch.group_scales, x, x_stride, rows, w);
  pool.parallel_for(static_cast<size_t>(tile_count(rows, most)), 1, [&](size_t begin, size_t end, int) {
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      put_float8(kernels, scratch, out, w, x + tile.first * x_stride, x_stride, tile.rows, tile.first, given);
    }
  });
  return out;
}

}  // namespace codecllm
