// SPDX-License-Identifier: Apache-2.0
#include "quant/rtn.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "format/grid.h"
#include "format/grid_map.h"
#include "format/plain_float.h"
#include "io/packed.h"

namespace codecllm {

void read_source_row(const TensorInfo& tensor, int64_t row, std::span<float> out) {
  load_floats(tensor.data.data(), row * static_cast<int64_t>(out.size()), tensor.dtype, out);
}

// Rows that make a few megabytes, whole rows of blocks, and whole words of zero points, which are packed along rows.
static int64_t rows_per_piece(const TensorJob& job) {
  constexpr int64_t kPieceBytes = int64_t{8} << 20;
  const TensorInfo& tensor = *job.source;
  const int64_t row_bytes = std::max<int64_t>(1, tensor.shape[1] * dtype_bits(tensor.dtype) / 8);
  const int64_t rows = std::max<int64_t>(1, kPieceBytes / row_bytes);
  const bool block = job.args.strategy == Strategy::block;
  if (!block && job.args.symmetric) return rows;
  const int64_t unit = std::lcm<int64_t>(32, block ? job.args.block[0] : 1);
  return std::max(unit, rows / unit * unit);
}

namespace {

class Rounder {
 public:
  Rounder(const Context& context, const TensorJob& job, ScaleRule rule, const std::string& file, const LayerValues& given)
      : pool_(context.impl().pool),
        job_(job),
        args_(job.args),
        rule_(rule),
        file_(file),
        given_(given),
        rows_(job.source->shape[0]),
        columns_(job.source->shape[1]),
        map_(args_, rows_, columns_),
        group_(map_.column_span),
        groups_(map_.across),
        block_rows_(args_.strategy == Strategy::block ? map_.row_span : 1),
        row_bytes_(job.bytes ? columns_ : 4 * static_cast<int64_t>(packed_words(static_cast<size_t>(columns_), args_.num_bits))),
        scale_bytes_(dtype_bits(job.dtype) / 8) {}

  void run(const std::function<void(const QuantizedRows&)>& out) {
    const int64_t piece = rows_per_piece(job_);
    if (per_tensor()) grids_ = {tensor_grid(piece)};
    for (int64_t first = 0; first < rows_; first += piece) {
      const int64_t count = std::min(piece, rows_ - first);
      codes_.resize(static_cast<size_t>(count * row_bytes_));
      if (!per_tensor()) grids_.resize(static_cast<size_t>((count + block_rows_ - 1) / block_rows_ * groups_));
      if (block_rows_ > 1) find_block_grids(first, count);
      for_rows(first, count, [&](int64_t row, std::span<float> values) { quantize_row(values, row - first, row); });
      const bool grids = !per_tensor() || first == 0;
      out({source_bytes(first, count), codes_, grids ? stored_scales() : std::span<const std::byte>(),
           grids ? stored_zeros() : std::span<const std::byte>()});
    }
  }

 private:
  bool per_tensor() const { return args_.strategy == Strategy::tensor; }

  void for_rows(int64_t first, int64_t count, FunctionRef<void(int64_t row, std::span<float> values)> body) {
    pool_.parallel_for(static_cast<size_t>(count), 16, [&](size_t begin, size_t end, int) {
      std::vector<float> values(static_cast<size_t>(columns_));
      for (size_t i = begin; i < end; ++i) {
        read_row(first + static_cast<int64_t>(i), values);
        body(first + static_cast<int64_t>(i), values);
      }
    });
  }

  void read_row(int64_t row, std::span<float> out) const {
    if (given_.weights.empty()) {
      read_source_row(*job_.source, row, out);
    } else {
      std::copy_n(given_.weights.begin() + row * columns_, columns_, out.begin());
    }
    for (const int32_t column : job_.outliers) out[column] = 0;
  }

  Grid given_grid(int64_t index) const {
    return {given_.scales[index], given_.zeros.empty() ? 0 : given_.zeros[index]};
  }

  Grid tensor_grid(int64_t piece) {
    if (!given_.scales.empty()) return given_grid(0);
    Range whole;
    std::vector<Range> ranges(static_cast<size_t>(std::min(piece, rows_)));
    for (int64_t first = 0; first < rows_; first += piece) {
      const int64_t count = std::min(piece, rows_ - first);
      for_rows(first, count, [&](int64_t row, std::span<float> values) { ranges[row - first] = range_of(values, row, 0); });
      for (int64_t i = 0; i < count; ++i) whole.include(ranges[i]);
    }
    return fit_grid(whole, args_, rule_, job_.dtype);
  }

  void find_block_grids(int64_t first, int64_t count) {
    std::vector<Range> ranges(static_cast<size_t>(count * groups_));
    for_rows(first, count, [&](int64_t row, std::span<float> values) {
      for (int64_t g = 0; g < groups_; ++g) ranges[(row - first) * groups_ + g] = range_of(part(values, g), row, g * group_);
    });
    for (size_t at = 0; at < grids_.size(); ++at) {
      const int64_t block = static_cast<int64_t>(at) / groups_, g = static_cast<int64_t>(at) % groups_;
      Range range;
      for (int64_t row = block * block_rows_; row < std::min(count, (block + 1) * block_rows_); ++row)
        range.include(ranges[row * groups_ + g]);
      grids_[at] = given_.scales.empty() ? fit_grid(range, args_, rule_, job_.dtype) : given_grid(map_.cell(first, 0) + static_cast<int64_t>(at));
    }
  }

  std::span<float> part(std::span<float> values, int64_t g) const {
    return values.subspan(g * group_, std::min(group_, columns_ - g * group_));
  }

  // Of part of a row that begins at `column`.
  Range range_of(std::span<const float> values, int64_t row, int64_t column) const {
    const Range range = finite_range(values);
    if (!std::isnan(range.low)) return range;
    const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
    throw Error(ErrorCode::bad_input, "quantize",
                std::string(std::isnan(*bad) ? "NaN" : "infinity") + " near row " + std::to_string(row) + ", column " +
                    std::to_string(column + (bad - values.begin())) + "; the weights are damaged",
                {.file = file_, .tensor = job_.source->name});
  }

  // `index`: the row in its piece.
  void quantize_row(std::span<float> values, int64_t index, int64_t row) {
    thread_local std::vector<int8_t> codes;
    codes.resize(static_cast<size_t>(columns_));
    for (int64_t g = 0; g < groups_; ++g) {
      const std::span<float> group = part(values, g);
      Grid& grid = grids_[per_tensor() ? 0 : index / block_rows_ * groups_ + g];
      if (!per_tensor() && block_rows_ == 1)
        grid = given_.scales.empty() ? fit_grid(range_of(group, row, g * group_), args_, rule_, job_.dtype)
                                     : given_grid(map_.cell(row, g));
      encode(group, grid, args_, rule_, codes.data() + g * group_);
    }
    std::byte* out = codes_.data() + index * row_bytes_;
    if (job_.bytes) {
      std::memcpy(out, codes.data(), codes.size());
      return;
    }
    thread_local std::vector<uint32_t> words;
    words.resize(static_cast<size_t>(row_bytes_ / 4));
    pack_row(codes.data(), codes.size(), args_.num_bits, words.data());
    std::memcpy(out, words.data(), static_cast<size_t>(row_bytes_));
  }

  std::span<const std::byte> stored_scales() {
    scales_.resize(grids_.size() * static_cast<size_t>(scale_bytes_));
    for (size_t i = 0; i < grids_.size(); ++i) store_scale(scales_.data(), static_cast<int64_t>(i), job_.dtype, grids_[i].scale);
    return scales_;
  }

  std::span<const std::byte> stored_zeros() {
    if (args_.symmetric) return {};
    std::vector<int8_t> zeros;
    for (const Grid& grid : grids_) zeros.push_back(static_cast<int8_t>(grid.zero));
    if (job_.bytes || per_tensor()) {
      zeros_.assign(std::as_bytes(std::span(zeros)).begin(), std::as_bytes(std::span(zeros)).end());
      return zeros_;
    }
    const auto groups = static_cast<size_t>(groups_), rows = zeros.size() / groups;
    std::vector<uint32_t> words(packed_words(rows, args_.num_bits) * groups);
    pack_zero_points(zeros.data(), rows, groups, args_.num_bits, words.data());
    zeros_.assign(std::as_bytes(std::span(words)).begin(), std::as_bytes(std::span(words)).end());
    return zeros_;
  }

  std::span<const std::byte> source_bytes(int64_t first, int64_t count) const {
    const auto row = static_cast<size_t>(columns_ * dtype_bits(job_.source->dtype) / 8);
    return job_.source->data.subspan(static_cast<size_t>(first) * row, static_cast<size_t>(count) * row);
  }

  ThreadPool& pool_;
  const TensorJob& job_;
  const QuantArgs& args_;
  const ScaleRule rule_;
  const std::string& file_;
  const LayerValues& given_;
  const int64_t rows_, columns_;
  const GridMap map_;
  const int64_t group_, groups_, block_rows_, row_bytes_, scale_bytes_;
  std::vector<Grid> grids_;       // of the piece: [rows or rows of blocks, groups]; one per tensor: [1]
  std::vector<std::byte> codes_;  // [piece rows, row_bytes]
  std::vector<std::byte> scales_, zeros_;
};

}  // namespace

void round_to_nearest(const Context& context, const TensorJob& job, ScaleRule rule, const std::string& file,
                      const LayerValues& values, const std::function<void(const QuantizedRows&)>& out) {
  Rounder(context, job, rule, file, values).run(out);
}

}  // namespace codecllm
