// SPDX-License-Identifier: Apache-2.0
#include "quant/rtn.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "format/affine.h"
#include "format/plain_float.h"
#include "io/packed.h"

namespace codecllm {

void read_source_row(const TensorInfo& tensor, int64_t row, std::span<float> out) {
  load_floats(tensor.data.data(), row * static_cast<int64_t>(out.size()), tensor.dtype, out);
}

// Rows of a source tensor that make a few megabytes.
static int64_t rows_per_piece(const TensorInfo& tensor) {
  constexpr int64_t kPieceBytes = int64_t{8} << 20;
  const int64_t row_bytes = std::max<int64_t>(1, tensor.shape[1] * dtype_bits(tensor.dtype) / 8);
  return std::max<int64_t>(1, kPieceBytes / row_bytes);
}

namespace {

class Rounder {
 public:
  Rounder(const Context& context, const TensorJob& job, ScaleRule rule, const std::string& file, const LayerValues& given)
      : pool_(context.impl().pool),
        job_(job),
        rule_(rule),
        file_(file),
        given_(given),
        rows_(job.source->shape[0]),
        columns_(job.source->shape[1]),
        group_(job.args.strategy == Strategy::group ? job.args.group_size : columns_),
        groups_((columns_ + group_ - 1) / group_),
        words_(static_cast<int64_t>(packed_words(static_cast<size_t>(columns_), job.args.num_bits))),
        scale_bytes_(dtype_bits(job.dtype) / 8) {}

  void run(const std::function<void(const QuantizedRows&)>& out) {
    const bool per_tensor = job_.args.strategy == Strategy::tensor;
    const int64_t piece = rows_per_piece(*job_.source);
    if (per_tensor) find_tensor_scale(piece);
    for (int64_t first = 0; first < rows_; first += piece) {
      const int64_t count = std::min(piece, rows_ - first);
      code_bytes_.resize(static_cast<size_t>(count * words_ * 4));
      scales_.resize(static_cast<size_t>(per_tensor ? scale_bytes_ : count * groups_ * scale_bytes_));
      if (per_tensor) put_scale(0, tensor_scale_);
      for_rows(first, count, [&](int64_t row, std::span<float> values) {
        quantize_row(values, row - first, per_tensor, row);
      });
      const auto scales = per_tensor && first > 0 ? std::span<const std::byte>() : std::span<const std::byte>(scales_);
      out({source_bytes(first, count), code_bytes_, scales});
    }
  }

 private:
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
    if (given_.weights.empty()) return read_source_row(*job_.source, row, out);
    std::copy_n(given_.weights.begin() + row * columns_, columns_, out.begin());
  }

  void find_tensor_scale(int64_t piece) {
    if (!given_.scales.empty()) {
      tensor_scale_ = given_.scales[0];
      return;
    }
    float largest = 0;
    std::vector<float> row_amax(static_cast<size_t>(piece));
    for (int64_t first = 0; first < rows_; first += piece) {
      const int64_t count = std::min(piece, rows_ - first);
      for_rows(first, count, [&](int64_t row, std::span<float> values) { row_amax[row - first] = amax(values, row, 0); });
      largest = std::max(largest, *std::max_element(row_amax.begin(), row_amax.begin() + count));
    }
    tensor_scale_ = symmetric_scale(largest, job_.args.num_bits, rule_, job_.dtype);
  }

  // Largest magnitude of part of a row that begins at `column`.
  float amax(std::span<const float> values, int64_t row, int64_t column) const {
    const float largest = finite_amax(values);
    if (!std::isnan(largest)) return largest;
    const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
    throw Error(ErrorCode::bad_input, "quantize",
                std::string(std::isnan(*bad) ? "NaN" : "infinity") + " near row " + std::to_string(row) + ", column " +
                    std::to_string(column + (bad - values.begin())) + "; the weights are damaged",
                {.file = file_, .tensor = job_.source->name});
  }

  void quantize_row(std::span<const float> values, int64_t index, bool per_tensor, int64_t row) {
    thread_local std::vector<int8_t> codes;
    codes.resize(static_cast<size_t>(columns_));
    for (int64_t g = 0; g < groups_; ++g) {
      const auto part = values.subspan(g * group_, std::min(group_, columns_ - g * group_));
      float scale = tensor_scale_;
      if (!per_tensor) {
        scale = !given_.scales.empty() ? given_.scales[row * groups_ + g]
                                       : symmetric_scale(amax(part, row, g * group_), job_.args.num_bits, rule_, job_.dtype);
        put_scale(index * groups_ + g, scale);
      }
      quantize(part, scale, job_.args.num_bits, rule_, codes.data() + g * group_);
    }
    std::vector<uint32_t>& words = row_words();
    pack_row(codes.data(), codes.size(), job_.args.num_bits, words.data());
    std::memcpy(code_bytes_.data() + index * words_ * 4, words.data(), static_cast<size_t>(words_ * 4));
  }

  std::vector<uint32_t>& row_words() const {
    thread_local std::vector<uint32_t> words;
    words.resize(static_cast<size_t>(words_));
    return words;
  }

  void put_scale(int64_t index, float scale) { store_float(scales_.data(), index, job_.dtype, scale); }

  std::span<const std::byte> source_bytes(int64_t first, int64_t count) const {
    const auto row = static_cast<size_t>(columns_ * dtype_bits(job_.source->dtype) / 8);
    return job_.source->data.subspan(static_cast<size_t>(first) * row, static_cast<size_t>(count) * row);
  }

  ThreadPool& pool_;
  const TensorJob& job_;
  const ScaleRule rule_;
  const std::string& file_;
  const LayerValues& given_;
  const int64_t rows_, columns_, group_, groups_, words_, scale_bytes_;
  float tensor_scale_ = 0;
  std::vector<std::byte> code_bytes_;  // [piece rows, words]
  std::vector<std::byte> scales_;      // [piece rows, groups] or [1]
};

}  // namespace

void round_to_nearest(const Context& context, const TensorJob& job, ScaleRule rule, const std::string& file,
                      const LayerValues& values, const std::function<void(const QuantizedRows&)>& out) {
  Rounder(context, job, rule, file, values).run(out);
}

}  // namespace codecllm
