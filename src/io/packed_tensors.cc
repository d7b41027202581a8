// SPDX-License-Identifier: Apache-2.0
#include "io/packed_tensors.h"

#include <cstring>

#include "codecllm/error.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

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

}  // namespace

PackedTensors packed_tensors(const Checkpoint& checkpoint, const std::string& module, const QuantArgs& args,
                             bool group_order) {
  const Finder find(checkpoint, module);
  PackedTensors out;
  read_weight_shape(find, out);
  out.codes = &find.need(".weight_packed", DType::i32);
  if (out.codes->shape.size() != 2 || out.codes->shape[0] != out.rows)
    find.fail(*out.codes,
              "shape " + shape_text(out.codes->shape) + ", expected " + std::to_string(out.rows) + " rows");
  out.packing = find.packing(*out.codes, out.columns, args.num_bits, out.codes->shape[1]);

  out.scales = &find.need(".weight_scale");
  if (!is_plain_float(out.scales->dtype)) find.fail(*out.scales, "is not of type F32, BF16 or F16");
  if (args.strategy == Strategy::group && out.columns % args.group_size != 0)
    find.fail(*out.codes, std::to_string(out.columns) + " columns are not whole groups of " +
                              std::to_string(args.group_size));
  const std::vector<int64_t> scales = scale_shape(args, out.rows, out.columns);
  const bool scalar = args.strategy == Strategy::tensor && out.scales->shape.empty();
  if (!scalar) find.expect_shape(*out.scales, scales);

  if (!args.symmetric && args.strategy == Strategy::tensor) {
    out.zero_points = &find.need(".weight_zero_point", DType::i8);
    if (!out.zero_points->shape.empty()) find.expect_shape(*out.zero_points, {1});
  } else if (!args.symmetric) {
    out.zero_points = &find.need(".weight_zero_point", DType::i32);
    const int64_t words = out.zero_points->shape.empty() ? 0 : out.zero_points->shape[0];
    find.expect_shape(*out.zero_points, {words, groups_of(scales)});
    out.zero_point_packing = find.packing(*out.zero_points, scales[0], args.num_bits, words);
  }
  if (group_order) {
    out.group_of_column = &find.need(".weight_g_idx", DType::i32);
    find.expect_shape(*out.group_of_column, {out.columns});
  }
  return out;
}

std::vector<TensorDecl> packed_decls(const std::string& module, int64_t rows, int64_t columns,
                                     const QuantArgs& args, DType scale_dtype) {
  const auto words = [&](int64_t codes) {
    return static_cast<int64_t>(packed_words(static_cast<size_t>(codes), args.num_bits));
  };
  const std::vector<int64_t> scales = scale_shape(args, rows, columns);
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
