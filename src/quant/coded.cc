// SPDX-License-Identifier: Apache-2.0
#include "quant/coded.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/encode_tensor.h"
#include "codec/rate.h"
#include "format/grid.h"
#include "format/plain_float.h"
#include "kernels/matrix.h"
#include "quant/rtn.h"

namespace codecllm {

namespace {

class MatrixCoder {
 public:
  MatrixCoder(const Context& context, const Checkpoint& checkpoint, const TensorJob& job, ScaleRule rule, const LayerValues& values, CodedPart out)
      : pool_(context.impl().pool), checkpoint_(checkpoint), tensor_(*job.source), scheme_(job.coded), rule_(rule), values_(values), scale_dtype_(job.dtype), out_(out),
        rows_(tensor_.shape[0]), columns_(tensor_.shape[1]),
        args_(*scheme_preset(scheme_.float8 ? "fp8-channel" : "int8").weights) {}

  std::optional<CodedMatrix> code() {
    CodedMatrix result;
    if (scheme_.lossless) {
      result.bytes = encode(coding_of(element_of(tensor_.dtype)), [&](int64_t panel, Matrix& to) { set_exact(panel, to); });
      return result.bytes < tensor_.data.size() ? std::optional(std::move(result)) : std::nullopt;
    }
    std::vector<float> scales(static_cast<size_t>(rows_));
    UniformRate rate;
    if (!values_.weights.empty()) {
      rate.kind = values_.kind;
    } else if (scheme_.rate > 0) {
      rate = rate_of_sample();
    }
    for (int attempt = 0; attempt < 4; ++attempt) {
      const CodeKind kind = scheme_.float8 ? CodeKind::e4m3 : rate.kind;
      result.bytes = encode(kind, [&](int64_t panel, Matrix& to) { set_codes(panel, to, rate, scales); });
      // The rate was chosen on a sample: where the whole takes more, the step grows by what is too much.
      const double bits = 8.0 * static_cast<double>(result.bytes) / static_cast<double>(tensor_.elements()) +
                          dtype_bits(scale_dtype_) / static_cast<double>(columns_);
      if (rate.steps_per_rms == 0 || bits <= scheme_.rate) break;
      rate.steps_per_rms *= std::exp2(scheme_.rate - bits - 0.002);
    }
    result.scales.resize(scales.size() * static_cast<size_t>(dtype_bits(scale_dtype_) / 8));
    for (size_t row = 0; row < scales.size(); ++row) store_float(result.scales.data(), static_cast<int64_t>(row), scale_dtype_, scales[row]);
    return result;
  }

 private:
  // set(panel, matrix of its rows); called from several threads.
  uint64_t encode(CodeKind kind, FunctionRef<void(int64_t panel, Matrix& to)> set) {
    const int64_t panels = (rows_ + kPanelRows - 1) / kPanelRows;
    return encode_tensor(
        pool_, {kind, static_cast<uint64_t>(rows_), static_cast<uint64_t>(columns_), panels, (columns_ + 3) / 4, scheme_.rate > 0 ? Prefer::bytes : Prefer::speed},
        [&](int64_t panel, uint8_t* to) {
          Matrix rows(element_of(kind), kPanelRows, columns_, columns_, ScaleType::f32);
          set(panel, rows);
          std::memcpy(to, rows.view().data, static_cast<size_t>(rows.view().panel_bytes()));
          pad_panel(rows.view().element, count_of(panel), columns_, to);
          checkpoint_.release(tensor_, rows_of(panel));
        },
        [&](uint64_t offset, const void* data, size_t bytes) { out_(offset, {static_cast<const std::byte*>(data), bytes}); });
  }

  int64_t count_of(int64_t panel) const { return std::min(kPanelRows, rows_ - panel * kPanelRows); }

  std::span<const std::byte> rows_of(int64_t panel) const {
    const auto row = static_cast<size_t>(columns_ * dtype_bits(tensor_.dtype) / 8);
    return tensor_.data.subspan(static_cast<size_t>(panel * kPanelRows) * row, static_cast<size_t>(count_of(panel)) * row);
  }

  void set_exact(int64_t panel, Matrix& to) const {
    const auto data = rows_of(panel);
    const int64_t count = count_of(panel);
    const void* rows[kPanelRows];
    for (int64_t i = 0; i < count; ++i) rows[i] = data.data() + static_cast<size_t>(i) * (data.size() / static_cast<size_t>(count));
    to.set_panel(0, Matrix::FloatRows(rows, static_cast<size_t>(count)), tensor_.dtype);
  }

  void set_codes(int64_t panel, Matrix& to, const UniformRate& rate, std::vector<float>& scales) const {
    const int64_t first = panel * kPanelRows, count = count_of(panel);
    std::vector<int8_t> codes(static_cast<size_t>(count * columns_));
    std::vector<float> row(static_cast<size_t>(columns_));
    const int8_t* source[kPanelRows];
    for (int64_t i = 0; i < count; ++i) {
      read_source_row(tensor_, first + i, row);
      const Range range = finite_range(row);
      if (std::isnan(range.high))
        throw Error(ErrorCode::bad_input, "quantize", "NaN or infinity in row " + std::to_string(first + i) + "; the weights are damaged",
                    {.file = checkpoint_.file_of(tensor_), .tensor = tensor_.name});
      int8_t* own = codes.data() + i * columns_;
      source[i] = own;
      float& scale = scales[static_cast<size_t>(first + i)];
      if (!values_.weights.empty()) {
        scale = values_.scales[static_cast<size_t>(first + i)];
        const auto chosen = values_.weights.subspan(static_cast<size_t>((first + i) * columns_), row.size());
        for (size_t k = 0; k < row.size(); ++k) own[k] = static_cast<int8_t>(std::nearbyint(chosen[k] / scale));
      } else if (rate.steps_per_rms > 0) {
        scale = round_to(rate_scale(rate, row), scale_dtype_);
        rate_codes(rate, row, scale, own);
      } else {
        const Grid grid = fit_grid(range, args_, rule_, scale_dtype_);
        scale = grid.scale;
        codecllm::encode(row, grid, args_, rule_, own);
      }
    }
    to.set_panel(0, Matrix::CodeRows(source, static_cast<size_t>(count)));
  }

  UniformRate rate_of_sample() const {
    const int64_t panels = (rows_ + kPanelRows - 1) / kPanelRows;
    std::vector<std::vector<float>> samples(static_cast<size_t>(std::min<int64_t>(4, panels)));
    for (size_t i = 0; i < samples.size(); ++i) {
      const int64_t panel = static_cast<int64_t>(i) * panels / static_cast<int64_t>(samples.size());
      samples[i].resize(static_cast<size_t>(count_of(panel) * columns_));
      for (int64_t r = 0; r < count_of(panel); ++r)
        read_source_row(tensor_, panel * kPanelRows + r, std::span(samples[i]).subspan(static_cast<size_t>(r * columns_), static_cast<size_t>(columns_)));
    }
    return choose_rate(samples, columns_, scheme_.rate, container_bits(rows_, columns_, dtype_bits(scale_dtype_)));
  }

  ThreadPool& pool_;
  const Checkpoint& checkpoint_;
  const TensorInfo& tensor_;
  const CodedScheme scheme_;
  const ScaleRule rule_;
  const LayerValues& values_;
  const DType scale_dtype_;
  const CodedPart out_;
  const int64_t rows_, columns_;
  const QuantArgs args_;  // of codes that no rate chose
};

}  // namespace

std::optional<CodedMatrix> code_matrix(const Context& context, const Checkpoint& checkpoint, const TensorJob& job, ScaleRule rule,
                                       const LayerValues& values, CodedPart out) {
  return MatrixCoder(context, checkpoint, job, rule, values, out).code();
}

}  // namespace codecllm
