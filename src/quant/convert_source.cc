// SPDX-License-Identifier: Apache-2.0
#include "quant/convert_source.h"

#include <cmath>

#include "format/plain_float.h"
#include "io/coded_tensors.h"

namespace codecllm {

void Change::add(float before, float after) {
  if (after == before || (std::isnan(after) && std::isnan(before))) return;
  exact = false;
  max_error = std::max(max_error, std::fabs(static_cast<double>(after) - before));
}

void Change::add(const Change& other) {
  exact = exact && other.exact;
  max_error = std::max(max_error, other.max_error);
}

void store_floats(std::span<const float> values, DType dtype, std::byte* out, Change& change) {
  for (size_t k = 0; k < values.size(); ++k) {
    store_float(out, static_cast<int64_t>(k), dtype, values[k]);
    change.add(values[k], load_float(out, static_cast<int64_t>(k), dtype));
  }
}

SourceLinear::SourceLinear(const Checkpoint& checkpoint, const QuantConfig& config, const LinearSpec& linear) : linear_(linear) {
  const QuantGroup* group = config.group_for(linear.name);
  if (group != nullptr && group->scheme.weights && is_stored_quantized(checkpoint, linear.name)) {
    args_ = *group->scheme.weights;
    const PackedTensors tensors = packed_tensors(checkpoint, linear.name, *group);
    tensor_ = tensors.codes;
    code_bits_ = tensors.in_words ? args_.num_bits : 8;
    reader_.emplace(tensors, args_);
    order_ = reader_->column_order();
    kept_ = outlier_columns_of(tensors);
    kept_weight_ = tensors.outlier_weight;
  } else if (const TensorInfo* coded = checkpoint.find(linear.name + kCodedSuffix)) {
    throw Error(ErrorCode::unsupported, "convert", "entropy-coded weights are not converted in this version; convert the model they were made from",
                {.file = checkpoint.file_of(*coded), .tensor = coded->name});
  } else {
    tensor_ = &checkpoint.need(linear.name + ".weight");
  }
  const ErrorPlace place = {.file = checkpoint.file_of(*tensor_), .tensor = tensor_->name};
  check_shape(reader_ ? std::vector{reader_->rows(), reader_->columns()} : tensor_->shape, {linear.rows, linear.columns}, place);
  if (!reader_ && !is_plain_float(tensor_->dtype))
    throw Error(ErrorCode::bad_input, "convert", "is of type " + std::string(dtype_name(tensor_->dtype)) +
                                                     ", and config.json does not say how it is quantized", place);
}

void SourceLinear::values(int64_t row, std::span<float> out) const {
  if (!reader_) return load_floats(tensor_->data.data(), row * linear_.columns, tensor_->dtype, out);
  std::vector<int8_t> codes(out.size());
  reader_->codes(row, codes.data());
  to_group_order(codes, order_);
  const auto group = static_cast<size_t>(reader_->group());
  std::vector<float> ordered(out.size());
  for (size_t begin = 0; begin < out.size(); begin += group)
    decode(std::span(codes).subspan(begin, std::min(group, out.size() - begin)), reader_->grid(row, static_cast<int64_t>(begin / group)), args_,
           ordered.data() + begin);
  for (size_t k = 0; k < out.size(); ++k) out[order_.empty() ? k : static_cast<size_t>(order_[k])] = ordered[k];
  const auto kept = static_cast<int64_t>(kept_.size());
  for (int64_t i = 0; i < kept; ++i) out[static_cast<size_t>(kept_[i])] = load_float(kept_weight_->data.data(), row * kept + i, kept_weight_->dtype);
}

bool SourceLinear::zeros_within(int bits) const {
  const int half = 1 << (bits - 1);
  for (int64_t row = 0; row < reader_->rows(); ++row)
    for (int64_t g = 0; g < reader_->groups(); ++g)
      if (const int zero = reader_->zero(row, g); zero < -half || zero >= half) return false;
  return true;
}

}  // namespace codecllm
