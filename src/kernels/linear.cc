// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear.h"

#include <algorithm>

#include "format/float8.h"
#include "kernels/linear_float8.h"
#include "kernels/linear_inputs.h"
#include "kernels/linear_outliers.h"

namespace codecllm {

static size_t bytes_of(const IntegerScratch& s) { return s.codes.size() + 4 * (s.scales.size() + s.sums.size() + s.zeros.size()); }

size_t LinearScratch::bytes() const {
  size_t numbers = outlier_columns.size();
  for (const auto* floats : {&reordered, &tiles, &rounded, &group_scales, &float8_tiles, &tops, &rest, &picked, &picked_tiles}) numbers += floats->size();
  return 4 * numbers + bytes_of(integers) + bytes_of(picked_integers) + panels.bytes();
}

IntActivations integer_room(IntegerScratch& scratch, int64_t rows, const MatrixView& w) {
  const int64_t halves = w.activation.mode == ActivationMode::a16 ? 2 : 1, groups = w.groups();
  const int64_t row_bytes = halves * round_up(w.columns, kColumnPadding);
  scratch.codes.resize(std::max(scratch.codes.size(), static_cast<size_t>(rows * row_bytes)));
  scratch.scales.resize(std::max(scratch.scales.size(), static_cast<size_t>(rows)));
  scratch.sums.resize(std::max(scratch.sums.size(), static_cast<size_t>(rows * groups * halves)));
  const bool asymmetric = w.activation.asymmetric;
  if (asymmetric) scratch.zeros.resize(std::max(scratch.zeros.size(), static_cast<size_t>(rows)));
  if (asymmetric) std::fill_n(scratch.zeros.begin(), rows, w.activation.zero);
  return {rows, halves, row_bytes, scratch.codes.data(), scratch.scales.data(), scratch.sums.data(),
          asymmetric ? scratch.zeros.data() : nullptr};
}

void put_integers(const KernelTable& kernels, IntegerScratch& scratch, const MatrixView& w, const float* x, int64_t x_stride,
                  int64_t rows, int64_t place, float given) {
  const int64_t halves = w.activation.mode == ActivationMode::a16 ? 2 : 1;
  kernels.quantize_rows({x, x_stride, rows, w.columns, w.group, halves, given},
                        {scratch.codes.data() + place * halves * round_up(w.columns, kColumnPadding), scratch.scales.data() + place,
                         scratch.sums.data() + place * w.groups() * halves,
                         w.activation.asymmetric ? scratch.zeros.data() + place : nullptr});
}

float given_scale(ThreadPool& pool, const KernelTable& kernels, std::vector<float>& room, const float* x, int64_t x_stride,
                  int64_t rows, const MatrixView& w) {
  if (w.activation.mode == ActivationMode::a8_fixed) return w.activation.scale;
  if (w.activation.mode != ActivationMode::a8_tensor) return 0;
  const float limit = is_integer(w.element) ? kByteLimit : w.element == Element::e4m3 ? kE4m3.largest : kE5m2.largest;
  return common_scale(pool, kernels, room, x, x_stride, rows, w.columns, limit);
}

IntActivations integer_inputs(ThreadPool& pool, const KernelTable& kernels, IntegerScratch& scratch, const float* x,
                              int64_t x_stride, int64_t rows, const MatrixView& w) {
  const IntActivations out = integer_room(scratch, rows, w);
  const float given = given_scale(pool, kernels, scratch.scales, x, x_stride, rows, w);
  const int64_t most = kernels.tile_rows(out.halves);
  pool.parallel_for(static_cast<size_t>(tile_count(rows, most)), 1, [&](size_t begin, size_t end, int) {
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      put_integers(kernels, scratch, w, x + tile.first * x_stride, x_stride, tile.rows, tile.first, given);
    }
  });
  return out;
}

namespace {

// Inputs are rounded once for weights that take them alike.
bool same_inputs(const MatrixView* last, const MatrixView& w) {
  return last != nullptr && last->element == w.element && last->group == w.group && last->order == w.order &&
         last->activation == w.activation && same_outliers(*last, w);
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

}  // namespace

int64_t panel_grain(const LinearScratch& scratch, int64_t panels, int threads) {
  if (scratch.panels_per_task > 0) return scratch.panels_per_task;
  const int64_t even = panels / (threads * 8) / 2 * 2;  // an even number of panels keeps the two-panel tiles
  return std::clamp<int64_t>(even, 2, 64);
}

static bool takes_pairs(const KernelTable& kernels, Element weight) {
  return kernels.put_pairs != nullptr && fits_bf16(weight);
}

bool as_they_are(const KernelTable& kernels, Element weight, int64_t rows) {
  return (rows == 1 || kernels.float_tile_rows(weight) == 1) && !takes_pairs(kernels, weight);
}

void put_floats(const KernelTable& kernels, Element weight, const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* tile) {
  if (takes_pairs(kernels, weight)) return kernels.put_pairs(x, x_stride, rows, columns, tile);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < columns; ++k) tile[k * rows + i] = x[i * x_stride + k];
}

FloatRows interleave(ThreadPool* pool, const KernelTable& kernels, Element weight, const float* x, int64_t x_stride,
                     int64_t rows, int64_t columns, std::vector<float>& tiles) {
  if (as_they_are(kernels, weight, rows)) return {x, x_stride};
  const int64_t most = kernels.float_tile_rows(weight);
  tiles.resize(std::max(tiles.size(), static_cast<size_t>(rows * columns)));
  const auto put_tiles = [&](size_t begin, size_t end, int) {
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      put_floats(kernels, weight, x + tile.first * x_stride, x_stride, tile.rows, columns, tiles.data() + tile.first * columns);
    }
  };
  const auto count = static_cast<size_t>(tile_count(rows, most));
  if (pool != nullptr) {
    pool->parallel_for(count, 1, put_tiles);
  } else {
    put_tiles(0, count, 0);
  }
  return {tiles.data(), columns};
}

// One row, each block multiplied as it is decoded; whether there is such a product. Narrow matrices lose at the ends of their
// panels what they gain between (Zen 4: BF16 below 600 columns, integers below 1100 to 2000).
static bool multiply_coded(const KernelTable& kernels, const MatrixView& w, const LinearInputs& x, float* y, int64_t begin, int64_t end) {
  constexpr int64_t kFloatColumns = 768, kIntColumns = 1536;
  if (w.coded == nullptr || x.rows != 1 || is_float8(w.element)) return false;
  if (is_integer(w.element)) return w.columns >= kIntColumns && kernels.matmul_coded_int(w, x.integers, y, begin, end);
  return w.columns >= kFloatColumns && kernels.matmul_coded_float(w, x.floats.x, y, begin, end);
}

void multiply(const KernelTable& kernels, const MatrixView& w, const LinearInputs& x, uint8_t* room, float* y, int64_t y_stride,
              int64_t begin, int64_t end) {
  if (multiply_coded(kernels, w, x, y, begin, end)) return;
  for_plain_panels(kernels, w, x.rows, room, begin, end, [&](const MatrixView& part, int64_t row, int64_t first, int64_t last) {
    if (is_integer(part.element)) {
      kernels.matmul_int(part, x.integers, y + row, y_stride, first, last);
    } else if (is_float8(part.element)) {
      kernels.matmul_float8(part, x.scaled, y + row, y_stride, first, last);
    } else {
      kernels.matmul_float(part, x.floats.x, x.floats.stride, x.rows, y + row, y_stride, first, last);
    }
  });
}

void linear(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x, int64_t x_stride,
            int64_t rows, std::span<const LinearOut> outs) {
  if (rows == 0) return;
  LinearInputs in = {.rows = rows};
  OutlierInputs outliers = {};
  const MatrixView *quantized_for = nullptr, *scaled_for = nullptr;  // whose inputs these are
  Element floats_for = {};
  for (const LinearOut& out : outs) {
    const MatrixView& w = *out.weight;
    if (is_float8(w.element) && !same_inputs(scaled_for, w)) {
      in.scaled = float8_inputs(pool, kernels, scratch, x, x_stride, rows, w);
      scaled_for = &w;
    }
    if (is_integer(w.element) && !same_inputs(quantized_for, w)) {
      const float* inputs = w.order == nullptr ? x : reorder(pool, scratch, x, x_stride, rows, w);
      const int64_t stride = w.order == nullptr ? x_stride : round_up(w.columns, kColumnPadding);
      if (has_outliers(w)) {
        outliers = split_outliers(pool, kernels, scratch, inputs, stride, rows, w);
        in.integers = outliers.rest;
      } else {
        in.integers = integer_inputs(pool, kernels, scratch.integers, inputs, stride, rows, w);
      }
      quantized_for = &w;
    }
    if (!is_scaled(w.element) && (in.floats.x == nullptr || floats_for != w.element)) {
      in.floats = interleave(&pool, kernels, w.element, x, x_stride, rows, w.columns, scratch.tiles);
      floats_for = w.element;
    }
    scratch.panels.fit(w, pool.threads());
    const auto grain = static_cast<size_t>(panel_grain(scratch, w.panels(), pool.threads()));
    pool.parallel_for(static_cast<size_t>(w.panels()), grain, [&](size_t begin, size_t end, int worker) {
      const auto first = static_cast<int64_t>(begin), last = static_cast<int64_t>(end);
      multiply(kernels, w, in, scratch.panels.of(worker), out.y, out.y_stride, first, last);
      if (has_outliers(w)) add_outliers(kernels, w, outliers, rows, out.y, out.y_stride, first, last);
    });
  }
}

}  // namespace codecllm
