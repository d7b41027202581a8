// SPDX-License-Identifier: Apache-2.0
#include "io/packed_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codecllm/error.h"
#include "format/plain_float.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

class Finder {
 public:
  Finder(const Checkpoint& checkpoint, const std::string& module)
      : checkpoint_(checkpoint), module_(module) {}

  [[noreturn]] void fail(const TensorInfo& tensor, const std::string& what) const {
    throw Error(ErrorCode::bad_input, "packed", what,
                {.file = checkpoint_.file_of(tensor), .tensor = shown(tensor.name)});
  }

  const TensorInfo& need(const char* suffix) const { return checkpoint_.need(module_ + suffix); }

  const TensorInfo& need(const char* suffix, DType dtype) const {
    const TensorInfo& tensor = need(suffix);
    if (tensor.dtype != dtype)
      fail(tensor,
           "type " + std::string(dtype_name(tensor.dtype)) + ", expected " + std::string(dtype_name(dtype)));
    return tensor;
  }

  void expect_shape(const TensorInfo& tensor, const std::vector<int64_t>& shape) const {
    if (tensor.shape != shape)
      fail(tensor, "shape " + shape_text(tensor.shape) + ", expected " + shape_text(shape));
  }

  Packing packing(const TensorInfo& tensor, int64_t codes, int bits, int64_t words) const {
    try {
      return packing_of(static_cast<size_t>(codes), bits, static_cast<size_t>(words));
    } catch (const Error&) {
      fail(tensor, "shape " + shape_text(tensor.shape) + " does not hold " + std::to_string(codes) +
                       " codes of " + std::to_string(bits) + " bits");
    }
  }

 private:
  const Checkpoint& checkpoint_;
  const std::string& module_;
};

void read_weight_shape(const Finder& find, PackedTensors& out) {
  const TensorInfo& tensor = find.need(".weight_shape", DType::i64);
  find.expect_shape(tensor, {2});
  int64_t sizes[2];
  std::memcpy(sizes, tensor.data.data(), sizeof sizes);
  constexpr int64_t limit = int64_t{1} << 31;
  if (sizes[0] < 1 || sizes[1] < 1 || sizes[0] > limit || sizes[1] > limit)
    find.fail(tensor, "says " + std::to_string(sizes[0]) + " by " + std::to_string(sizes[1]));
  out.rows = sizes[0];
  out.columns = sizes[1];
}

int64_t groups_of(const std::vector<int64_t>& scales) { return scales.size() == 2 ? scales[1] : 1; }

DType byte_type(const QuantArgs& args) {
  if (args.type == NumberType::integer) return DType::i8;
  return args.type == NumberType::floating ? DType::f8_e4m3 : DType::f8_e5m2;
}

bool is_byte_code(DType type) { return type == DType::i8 || type == DType::f8_e4m3 || type == DType::f8_e5m2; }

constexpr std::string_view kWords = ".weight_packed", kBytes = ".weight";

void find_words(const Finder& find, const QuantArgs& args, PackedTensors& out) {
  read_weight_shape(find, out);
  out.codes = &find.need(".weight_packed", DType::i32);
  if (out.codes->shape.size() != 2 || out.codes->shape[0] != out.rows)
    find.fail(*out.codes,
              "shape " + shape_text(out.codes->shape) + ", expected " + std::to_string(out.rows) + " rows");
  out.packing = find.packing(*out.codes, out.columns, args.num_bits, out.codes->shape[1]);
}

void find_bytes(const Finder& find, const QuantArgs& args, PackedTensors& out) {
  out.in_words = false;
  out.codes = &find.need(".weight", byte_type(args));
  const std::vector<int64_t>& shape = out.codes->shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1)
    find.fail(*out.codes, "shape " + shape_text(shape) + ", expected [outputs, inputs]");
  out.rows = shape[0];
  out.columns = shape[1];
}

void find_zero_points(const Finder& find, const QuantArgs& args, const std::vector<int64_t>& scales, PackedTensors& out) {
  const bool per_tensor = args.strategy == Strategy::tensor;
  const TensorInfo& tensor = find.need(".weight_zero_point");
  // Old versions of compressed-tensors did not pack them.
  if (per_tensor || !out.in_words || (tensor.dtype == DType::i8 && tensor.shape == scales)) {
    out.zero_points = &find.need(".weight_zero_point", DType::i8);
    if (!per_tensor || !out.zero_points->shape.empty()) find.expect_shape(*out.zero_points, scales);
    return;
  }
  out.zero_points = &find.need(".weight_zero_point", DType::i32);
  const int64_t words = out.zero_points->shape.empty() ? 0 : out.zero_points->shape[0];
  find.expect_shape(*out.zero_points, {words, groups_of(scales)});
  out.zero_point_packing = find.packing(*out.zero_points, scales[0], args.num_bits, words);
}

// Some writers store those of symmetric weights, too: all in the middle. Others would make another weight of the code.
void refuse_zero_points(const Finder& find, const TensorInfo& tensor, const QuantArgs& args, const std::vector<int64_t>& scales, const PackedTensors& out) {
  bool any = std::any_of(tensor.data.begin(), tensor.data.end(), [](std::byte b) { return b != std::byte{0}; });
  if (any && tensor.dtype == DType::i32 && out.in_words && args.strategy != Strategy::tensor) {
    PackedTensors with = out;
    find_zero_points(find, args, scales, with);
    const auto rows = static_cast<size_t>(scales[0]), groups = static_cast<size_t>(groups_of(scales));
    any = false;
    for (size_t row = 0; row < rows; ++row)
      for (size_t g = 0; g < groups; ++g) any = any || zero_point_at(tensor.data.data(), row, g, groups, args.num_bits, with.zero_point_packing) != 0;
  }
  if (any) find.fail(tensor, "holds zero points, and quantization_config says that the weights are symmetric; set \"symmetric\" to false under weights");
}

void find_outliers(const Finder& find, PackedTensors& out) {
  out.outlier_columns = &find.need(".outlier_columns", DType::i32);
  if (out.outlier_columns->shape == std::vector<int64_t>{0}) return;
  out.outlier_weight = &find.need(".outlier_weight");
  if (!is_plain_float(out.outlier_weight->dtype)) find.fail(*out.outlier_weight, "is not of type F32, BF16 or F16");
  const int64_t count = out.outlier_columns->elements();
  find.expect_shape(*out.outlier_columns, {count});
  find.expect_shape(*out.outlier_weight, {out.rows, count});
  const std::vector<int32_t> columns = outlier_columns_of(out);
  for (size_t i = 0; i < columns.size(); ++i)
    if (columns[i] < 0 || columns[i] >= out.columns || (i > 0 && columns[i] <= columns[i - 1]))
      find.fail(*out.outlier_columns, "holds column " + std::to_string(columns[i]) + ", expected ascending numbers below " + std::to_string(out.columns));
}

}  // namespace

float fixed_input_scale(const Checkpoint& checkpoint, const std::string& module) {
  const Finder find(checkpoint, module);
  const TensorInfo& scale = find.need(".input_scale");
  if (scale.elements() != 1 || !is_plain_float(scale.dtype))
    find.fail(scale, std::string("type ") + std::string(dtype_name(scale.dtype)) + " and shape " + shape_text(scale.shape) + ", expected one number of type F32, BF16 or F16");
  const float value = load_float(scale.data.data(), 0, scale.dtype);
  if (!(value > 0) || !std::isfinite(value)) find.fail(scale, "is " + std::to_string(value) + ", expected a number above zero; calibrate again");
  return value;
}

uint64_t packed_bytes(const PackedTensors& tensors) {
  uint64_t bytes = tensors.in_words ? 2 * sizeof(int64_t) : 0;
  for (const TensorInfo* part : {tensors.codes, tensors.scales, tensors.zero_points, tensors.group_of_column, tensors.outlier_columns, tensors.outlier_weight})
    if (part != nullptr) bytes += part->data.size();
  return bytes;
}

std::vector<int32_t> outlier_columns_of(const PackedTensors& tensors) {
  if (tensors.outlier_columns == nullptr) return {};
  std::vector<int32_t> columns(static_cast<size_t>(tensors.outlier_columns->elements()));
  if (!columns.empty()) std::memcpy(columns.data(), tensors.outlier_columns->data.data(), columns.size() * sizeof(int32_t));
  return columns;
}

bool is_stored_quantized(const Checkpoint& checkpoint, const std::string& module) {
  if (checkpoint.find(module + std::string(kWords)) != nullptr) return true;
  const TensorInfo* weight = checkpoint.find(module + std::string(kBytes));
  return weight != nullptr && is_byte_code(weight->dtype);
}

std::string module_of_codes(const TensorInfo& tensor) {
  if (tensor.name.ends_with(kWords)) return tensor.name.substr(0, tensor.name.size() - kWords.size());
  if (tensor.name.ends_with(kBytes) && is_byte_code(tensor.dtype)) return tensor.name.substr(0, tensor.name.size() - kBytes.size());
  return "";
}

PackedTensors packed_tensors(const Checkpoint& checkpoint, const std::string& module, const QuantArgs& args,
                             bool group_order) {
  const Finder find(checkpoint, module);
  PackedTensors out;
  if (args.type == NumberType::integer && checkpoint.find(module + std::string(kWords)) != nullptr) {
    find_words(find, args, out);
  } else {
    find_bytes(find, args, out);
  }
  out.scales = &find.need(".weight_scale");
  if (!is_scale_type(out.scales->dtype)) find.fail(*out.scales, "is not of type F32, BF16, F16 or E8M0");
  if (args.strategy == Strategy::group && out.columns % args.group_size != 0)
    find.fail(*out.codes, std::to_string(out.columns) + " columns are not whole groups of " +
                              std::to_string(args.group_size));
  const std::vector<int64_t> scales = scale_shape(args, out.rows, out.columns);
  const bool scalar = args.strategy == Strategy::tensor && out.scales->shape.empty();
  if (!scalar) find.expect_shape(*out.scales, scales);

  if (!args.symmetric) {
    find_zero_points(find, args, scales, out);
  } else if (const TensorInfo* zeros = checkpoint.find(module + ".weight_zero_point"); zeros != nullptr) {
    refuse_zero_points(find, *zeros, args, scales, out);
  }
  if (group_order) {
    out.group_of_column = &find.need(".weight_g_idx", DType::i32);
    find.expect_shape(*out.group_of_column, {out.columns});
  }
  if (checkpoint.find(module + ".outlier_columns") != nullptr) find_outliers(find, out);
  return out;
}

PackedTensors packed_tensors(const Checkpoint& checkpoint, const std::string& module, const QuantGroup& group) {
  PackedTensors out = packed_tensors(checkpoint, module, *group.scheme.weights, group.group_order);
  const std::optional<QuantArgs>& activations = group.scheme.activations;
  if (activations && activations->outliers && activations->outliers->stored && out.outlier_columns == nullptr)
    Finder(checkpoint, module).fail(*out.codes, "lacks outlier_columns beside it, though config.json says that columns are stored in 16 bits; fetch the model again or quantize it again");
  return out;
}

std::vector<TensorDecl> packed_decls(const std::string& module, int64_t rows, int64_t columns,
                                     const QuantArgs& args, DType scale_dtype, bool bytes) {
  const auto words = [&](int64_t codes) {
    return static_cast<int64_t>(packed_words(static_cast<size_t>(codes), args.num_bits));
  };
  const std::vector<int64_t> scales = scale_shape(args, rows, columns);
  if (bytes) {
    std::vector<TensorDecl> decls = {{module + ".weight", byte_type(args), {rows, columns}},
                                     {module + ".weight_scale", scale_dtype, scales}};
    if (!args.symmetric) decls.push_back({module + ".weight_zero_point", DType::i8, scales});
    return decls;
  }
  std::vector<TensorDecl> decls = {{module + ".weight_packed", DType::i32, {rows, words(columns)}},
                                   {module + ".weight_scale", scale_dtype, scales}};
  if (!args.symmetric && args.strategy == Strategy::tensor)
    decls.push_back({module + ".weight_zero_point", DType::i8, {1}});
  else if (!args.symmetric)
    decls.push_back({module + ".weight_zero_point", DType::i32, {words(scales[0]), groups_of(scales)}});
  decls.push_back({module + ".weight_shape", DType::i64, {2}});
  return decls;
}

}  // namespace codecllm
