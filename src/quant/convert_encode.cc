// SPDX-License-Identifier: Apache-2.0
#include "quant/convert_encode.h"

#include <atomic>
#include <cmath>
#include <mutex>

#include "format/affine.h"

namespace codecllm {

GroupRounder nearest_codes(int bits, DType scale_type) {
  return [bits, scale_type](std::span<const float> values, int8_t* codes) {
    const float scale = symmetric_scale(finite_amax(values), bits, ScaleRule::restricted, scale_type);
    quantize(values, scale, bits, ScaleRule::restricted, codes);
    return scale;
  };
}

namespace {

bool expresses(const IntegerLayout& layout, const SourceLinear& source) {
  if (!source.integer() || source.code_bits() > layout.bits || source.reader().group() % layout.group != 0) return false;
  if (!source.order().empty() && !layout.order) return false;
  return source.args()->symmetric || (layout.zeros && source.zeros_within(layout.bits));
}

// One row at a time; the columns stand group by group.
class RowEncoder {
 public:
  RowEncoder(const SourceLinear& source, const IntegerLayout& layout, bool fits, EncodedLinear& out)
      : source_(source), layout_(layout), fits_(fits), out_(out), values_(static_cast<size_t>(out.columns)), codes_(values_.size()) {}

  void encode(int64_t row) {
    source_.values(row, values_);
    if (!std::isfinite(finite_amax(values_))) sick = true;
    to_group_order(values_, out_.order);
    if (fits_) {
      source_.reader().codes(row, codes_.data());
      to_group_order(codes_, out_.order);
    }
    for (int64_t g = 0; g < out_.groups(); ++g) encode_group(row, g);
    for (size_t k = 0; k < codes_.size(); ++k)
      out_.codes[static_cast<size_t>(row * out_.columns) + (out_.order.empty() ? k : static_cast<size_t>(out_.order[k]))] = codes_[k];
  }

  Change change;
  bool sick = false;  // a value is not finite

 private:
  void encode_group(int64_t row, int64_t g) {
    const auto begin = static_cast<size_t>(g * out_.group), at = static_cast<size_t>(row * out_.groups() + g);
    const auto part = std::span<const float>(values_).subspan(begin, static_cast<size_t>(out_.group));
    if (fits_) {
      const Grid grid = source_.reader().grid(row, g * out_.group / source_.reader().group());
      out_.scales[at] = round_to(grid.scale, layout_.scale_type);
      out_.zeros[at] = static_cast<int8_t>(grid.zero);
    } else {
      out_.scales[at] = layout_.round(part, codes_.data() + begin);
    }
    for (size_t k = 0; k < part.size(); ++k) change.add(part[k], static_cast<float>(codes_[begin + k] - out_.zeros[at]) * out_.scales[at]);
  }

  const SourceLinear& source_;
  const IntegerLayout& layout_;
  const bool fits_;
  EncodedLinear& out_;
  std::vector<float> values_;
  std::vector<int8_t> codes_;
};

}  // namespace

EncodedLinear encode_linear(const Context& context, const SourceLinear& source, const IntegerLayout& layout) {
  EncodedLinear out = {.rows = source.linear().rows, .columns = source.linear().columns, .group = layout.group};
  out.codes.resize(static_cast<size_t>(out.rows * out.columns));
  out.scales.resize(static_cast<size_t>(out.rows * out.groups()));
  out.zeros.resize(out.scales.size());
  const bool fits = expresses(layout, source);
  if (fits) out.order = source.order();
  std::mutex lock;
  std::atomic<bool> sick = false;
  context.impl().pool.parallel_for(static_cast<size_t>(out.rows), 16, [&](size_t begin, size_t end, int) {
    RowEncoder encoder(source, layout, fits, out);
    for (size_t row = begin; row < end; ++row) encoder.encode(static_cast<int64_t>(row));
    if (encoder.sick) sick = true;
    const std::lock_guard guard(lock);
    out.change.add(encoder.change);
  });
  if (sick || !std::isfinite(out.change.max_error))
    throw Error(ErrorCode::bad_input, "convert",
                sick ? "the weights hold NaN or infinity" : "its scales are too large for " + std::string(dtype_name(layout.scale_type)),
                {.tensor = source.tensor().name});
  return out;
}

}  // namespace codecllm
