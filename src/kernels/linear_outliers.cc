// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_outliers.h"

#include <algorithm>
#include <cmath>

#include "kernels/linear_inputs.h"

namespace codecllm {

namespace {

// Columns in which any row reaches the threshold, ascending. Few inputs do, so pieces of rows are looked at as a whole first.
void find_columns(ThreadPool& pool, const KernelTable& kernels, const float* x, int64_t x_stride, int64_t rows, int64_t columns,
                  float threshold, LinearScratch& scratch) {
  constexpr int64_t kRange = 512, kPiece = 64;
  scratch.tops.assign(static_cast<size_t>(columns), 0.0f);
  float* tops = scratch.tops.data();
  pool.parallel_for(static_cast<size_t>(columns), kRange, [&](size_t begin, size_t end, int) {
    const auto last = static_cast<int64_t>(end);
    for (int64_t m = 0; m < rows; ++m) {
      const float* row = x + m * x_stride;
      for (auto k0 = static_cast<int64_t>(begin); k0 < last; k0 += kPiece) {
        const int64_t stop = std::min(k0 + kPiece, last);
        if (kernels.largest_of(row + k0, stop - k0) < threshold) continue;  // not so for NaN and infinities
        for (int64_t k = k0; k < stop; ++k) tops[k] = std::max(tops[k], std::fabs(row[k]));  // NaN leaves tops as it is
      }
    }
  });
  scratch.outlier_columns.clear();
  for (int64_t k = 0; k < columns; ++k)
    if (tops[k] >= threshold) scratch.outlier_columns.push_back(static_cast<int32_t>(k));
}

// The codes of some columns of one panel, as a panel of a matrix of these columns.
void gather_panel(const MatrixView& w, int64_t panel, std::span<const int32_t> columns, uint8_t* out) {
  const uint8_t* data = w.data + panel * w.panel_bytes();
  for (size_t i = 0; i < columns.size(); ++i) {
    const int64_t k = columns[i];
    const auto code = [&](int64_t lane) -> uint8_t {
      if (w.element == Element::u8) return data[k / 4 * kLineBytes + lane * 4 + k % 4];
      const uint8_t byte = data[k / 8 * kLineBytes + lane * 4 + k % 4];
      return k % 8 < 4 ? byte & 15 : byte >> 4;
    };
    // As u8, whose offset is 128.
    const auto shift = static_cast<uint8_t>(128 - traits(w.element).offset);
    uint8_t* to = out + static_cast<int64_t>(i) / 4 * kLineBytes + static_cast<int64_t>(i) % 4;
    for (int64_t lane = 0; lane < kPanelRows; ++lane) to[lane * 4] = static_cast<uint8_t>(code(lane) + shift);
  }
}

}  // namespace

OutlierInputs split_outliers(ThreadPool& pool, const KernelTable& kernels, LinearScratch& scratch, const float* x,
                             int64_t x_stride, int64_t rows, const MatrixView& w) {
  OutlierInputs out = {};
  if (w.outliers != nullptr) {
    out.columns = {w.outliers->columns, static_cast<size_t>(w.outliers->weight.columns)};
  } else {
    find_columns(pool, kernels, x, x_stride, rows, w.columns, w.activation.threshold, scratch);
    out.columns = scratch.outlier_columns;
  }
  if (out.columns.empty()) {
    out.rest = integer_inputs(pool, kernels, scratch.integers, x, x_stride, rows, w);
    return out;
  }
  const auto count = static_cast<int64_t>(out.columns.size()), stride = round_up(count, kColumnPadding);
  const int64_t rest_stride = round_up(w.columns, kColumnPadding);
  out.rest = integer_room(scratch.integers, rows, w);
  const int64_t most = kernels.tile_rows(out.rest.halves);
  const float given = w.activation.mode == ActivationMode::a8_fixed ? w.activation.scale : 0.0f;
  scratch.rest.resize(std::max(scratch.rest.size(), static_cast<size_t>(pool.threads() * most * rest_stride)));
  scratch.picked.resize(std::max(scratch.picked.size(), static_cast<size_t>(rows * stride)));
  // A tile at a time, so that what is left of its rows is still in the cache when it becomes integers.
  pool.parallel_for(static_cast<size_t>(tile_count(rows, most)), 1, [&](size_t begin, size_t end, int worker) {
    float* rest = scratch.rest.data() + worker * most * rest_stride;
    for (auto t = static_cast<int64_t>(begin); t < static_cast<int64_t>(end); ++t) {
      const RowTile tile = tile_at(rows, most, t);
      for (int64_t i = 0; i < tile.rows; ++i) {
        float *left = rest + i * rest_stride, *picked = scratch.picked.data() + (tile.first + i) * stride;
        std::copy_n(x + (tile.first + i) * x_stride, rest_stride, left);
        for (int64_t c = 0; c < count; ++c) {
          picked[c] = left[out.columns[c]];
          left[out.columns[c]] = 0;
        }
        std::fill(picked + count, picked + stride, 0.0f);
      }
      put_integers(kernels, scratch.integers, w, rest, rest_stride, tile.rows, tile.first, given);
    }
  });
  if (w.outliers != nullptr) {
    out.floats = interleave(&pool, kernels, w.outliers->weight.element, scratch.picked.data(), stride, rows, count, scratch.picked_tiles);
  } else {
    MatrixView columns = w;
    columns.element = Element::u8;
    columns.columns = columns.group = count;
    columns.activation = {};
    columns.code_sums = nullptr;
    out.integers = integer_inputs(pool, kernels, scratch.picked_integers, scratch.picked.data(), stride, rows, columns);
  }
  return out;
}

bool same_outliers(const MatrixView& a, const MatrixView& b) {
  if (a.outliers == nullptr || b.outliers == nullptr) return a.outliers == b.outliers;
  const auto columns = [](const MatrixView& w) { return std::span(w.outliers->columns, static_cast<size_t>(w.outliers->weight.columns)); };
  return std::ranges::equal(columns(a), columns(b));
}

void add_outliers(const KernelTable& kernels, const MatrixView& w, const OutlierInputs& x, int64_t rows, float* y,
                  int64_t y_stride, int64_t panel_begin, int64_t panel_end) {
  if (x.columns.empty()) return;
  constexpr int64_t kPanels = 2;  // the tiles of the products take two
  const auto count = static_cast<int64_t>(x.columns.size());
  thread_local std::vector<uint8_t> codes;
  thread_local std::vector<float> product;
  product.resize(std::max(product.size(), static_cast<size_t>(rows * kPanels * kPanelRows)));
  MatrixView part = w.outliers != nullptr ? w.outliers->weight : w;
  part.outliers = nullptr;
  part.activation = {};
  if (w.outliers == nullptr) {
    part.element = Element::u8;
    part.columns = part.group = count;
    codes.resize(std::max(codes.size(), static_cast<size_t>(kPanels * part.panel_bytes())));
  }
  for (int64_t panel = panel_begin; panel < panel_end; panel += kPanels) {
    const int64_t panels = std::min(kPanels, panel_end - panel), first = panel * kPanelRows, n = std::min(panels * kPanelRows, w.rows - first);
    part.rows = n;
    if (w.outliers != nullptr) {
      part.data = w.outliers->weight.data + panel * part.panel_bytes();
      kernels.matmul_float(part, x.floats.x, x.floats.stride, rows, product.data(), kPanels * kPanelRows, 0, panels);
    } else {
      for (int64_t p = 0; p < panels; ++p) gather_panel(w, panel + p, x.columns, codes.data() + p * part.panel_bytes());
      part.data = codes.data();
      part.scales = static_cast<const uint8_t*>(w.scales) + first * (w.scale_type == ScaleType::f32 ? 4 : 2);
      kernels.matmul_int(part, x.integers, product.data(), kPanels * kPanelRows, 0, panels);
    }
    for (int64_t m = 0; m < rows; ++m) kernels.add(y + m * y_stride + first, product.data() + m * kPanels * kPanelRows, n);
  }
}

}  // namespace codecllm
