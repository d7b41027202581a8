// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>

#include "format/affine.h"
#include "format/plain_float.h"
#include "quant/convert_job.h"

namespace codecllm {

SourceLinear::SourceLinear(const Checkpoint& checkpoint, const QuantConfig& config, const LinearSpec& linear) : linear_(linear) {
  const QuantGroup* group = config.group_for(linear.name);
  if (group != nullptr && checkpoint.find(linear.name + ".weight_packed") != nullptr) {
    args_ = *group->scheme.weights;
    const PackedTensors tensors = packed_tensors(checkpoint, linear.name, args_, group->group_order);
    tensor_ = tensors.codes;
    if (tensors.zero_points != nullptr || tensors.group_of_column != nullptr)
      throw Error(ErrorCode::unsupported, "convert", "zero points and activation order are carried over by --to compressed-tensors alone",
                  {.file = checkpoint.file_of(*tensor_), .tensor = tensor_->name});
    reader_.emplace(tensors, args_);
    if (reader_->rows() != linear.rows || reader_->columns() != linear.columns)
      throw Error(ErrorCode::bad_input, "convert", "the shape is not the one config.json says",
                  {.file = checkpoint.file_of(*tensor_), .tensor = tensor_->name});
    return;
  }
  tensor_ = &checkpoint.need(linear.name + ".weight");
  const ErrorPlace place = {.file = checkpoint.file_of(*tensor_), .tensor = tensor_->name};
  if (tensor_->shape != std::vector<int64_t>{linear.rows, linear.columns})
    throw Error(ErrorCode::bad_input, "convert", "the shape is not the one config.json says", place);
  if (!is_plain_float(tensor_->dtype))
    throw Error(ErrorCode::unsupported, "convert", "numbers of type " + std::string(dtype_name(tensor_->dtype)) + " are carried over by " +
                                                       "--to compressed-tensors alone", place);
}

void SourceLinear::values(int64_t row, std::span<float> out) const {
  if (!reader_) return load_floats(tensor_->data.data(), row * linear_.columns, tensor_->dtype, out);
  std::vector<int8_t> codes(out.size());
  reader_->codes(row, codes.data());
  for (size_t k = 0; k < out.size(); ++k)
    out[k] = reader_->scale(row, static_cast<int64_t>(k) / reader_->group()) * static_cast<float>(codes[k]);
}

GroupRounder nearest_codes(int bits, DType scale_type) {
  return [bits, scale_type](std::span<const float> values, int8_t* codes) {
    const float scale = symmetric_scale(finite_amax(values), bits, ScaleRule::restricted, scale_type);
    quantize(values, scale, bits, ScaleRule::restricted, codes);
    return scale;
  };
}

EncodedLinear encode_linear(const Context& context, const SourceLinear& source, int bits, int64_t group, DType scale_type,
                            const GroupRounder& round) {
  EncodedLinear out = {.rows = source.linear().rows, .columns = source.linear().columns, .group = group, .bits = bits};
  out.codes.resize(static_cast<size_t>(out.rows * out.columns));
  out.scales.resize(static_cast<size_t>(out.rows * out.groups()));
  const bool fits = source.args() != nullptr && source.args()->type == NumberType::integer && source.args()->num_bits <= bits &&
                    source.reader().group() % group == 0;
  std::mutex lock;
  std::atomic<bool> sick = false;
  context.impl().pool.parallel_for(static_cast<size_t>(out.rows), 16, [&](size_t begin, size_t end, int) {
    std::vector<float> values(static_cast<size_t>(out.columns));
    bool exact = true;
    double worst = 0;
    for (auto row = static_cast<int64_t>(begin); row < static_cast<int64_t>(end); ++row) {
      source.values(row, values);
      if (!std::isfinite(finite_amax(values))) sick = true;
      int8_t* codes = out.codes.data() + row * out.columns;
      float* scales = out.scales.data() + row * out.groups();
      if (fits) source.reader().codes(row, codes);
      for (int64_t g = 0; g < out.groups(); ++g) {
        const auto part = std::span<const float>(values).subspan(static_cast<size_t>(g * group), static_cast<size_t>(group));
        scales[g] = fits ? round_to(source.reader().scale(row, g * group / source.reader().group()), scale_type) : round(part, codes + g * group);
        for (int64_t k = 0; k < group; ++k) {
          const float now = scales[g] * static_cast<float>(codes[g * group + k]);
          exact = exact && now == part[static_cast<size_t>(k)];
          worst = std::max(worst, std::fabs(static_cast<double>(now) - part[static_cast<size_t>(k)]));
        }
      }
    }
    const std::lock_guard guard(lock);
    out.exact = out.exact && exact;
    out.max_error = std::max(out.max_error, worst);
  });
  if (sick || !std::isfinite(out.max_error))
    throw Error(ErrorCode::bad_input, "convert",
                sick ? "the weights hold NaN or infinity" : "its scales are too large for " + std::string(dtype_name(scale_type)),
                {.tensor = source.tensor().name});
  return out;
}

}  // namespace codecllm
