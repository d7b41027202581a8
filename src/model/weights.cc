// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include "base/file.h"
#include "codec/container.h"
#include "format/plain_float.h"
#include "io/packed_tensors.h"

namespace codecllm {

// Of all matrices.
static size_t sum_matrices(const ModelWeights& weights, size_t (Matrix::*bytes)() const) {
  size_t total = (weights.embedding.*bytes)() + (weights.lm_head.*bytes)();
  for (const BlockWeights& b : weights.blocks)
    for (const Linear* l : b.linears()) total += (l->weight.*bytes)();
  return total;
}

size_t ModelWeights::bytes() const {
  size_t total = sum_matrices(*this, &Matrix::bytes) + final_norm.size() * 4;
  for (const BlockWeights& b : blocks) {
    for (const Linear* l : b.linears()) total += l->bias.size() * 4;
    for (const auto* norm : {&b.input_norm, &b.mlp_norm, &b.q_norm, &b.k_norm}) total += norm->size() * 4;
  }
  return total;
}

size_t ModelWeights::mapped_bytes() const { return sum_matrices(*this, &Matrix::mapped_bytes); }

size_t DecoderModel::read_bytes_per_token() const {
  const size_t row = weights.embedding.bytes() / static_cast<size_t>(spec.vocab);
  return spec.tied_head ? weights.bytes() + row : weights.bytes() - weights.embedding.bytes() + row;
}

ModelSpec read_spec(const Checkpoint& checkpoint) {
  const std::string generation = checkpoint.directory() + "/generation_config.json";
  ModelSpec spec = read_spec(checkpoint.config(), checkpoint.config_path(), file_exists(generation) ? read_json_file(generation) : Json());
  if (const TensorInfo* beyond = checkpoint.find(spec.block(spec.layers).input_norm + ".weight"))
    throw Error(ErrorCode::bad_input, "load", "config.json says " + std::to_string(spec.layers) + " layers, and the weights have more: the two are of different models",
                {.file = checkpoint.file_of(*beyond), .tensor = beyond->name});
  return spec;
}

void check_shape(const std::vector<int64_t>& shape, const std::vector<int64_t>& expected, const ErrorPlace& place) {
  if (shape != expected)
    throw Error(ErrorCode::bad_input, "load", "shape " + shape_text(shape) + ", expected " + shape_text(expected) + " by config.json", place);
}

const TensorInfo& need_floats(const Checkpoint& checkpoint, const std::string& name, const std::vector<int64_t>& shape) {
  const TensorInfo& tensor = checkpoint.need(name);
  const ErrorPlace place = {.file = checkpoint.file_of(tensor), .tensor = name};
  check_shape(tensor.shape, shape, place);
  if (!is_plain_float(tensor.dtype))
    throw Error(ErrorCode::unsupported, "load", "type " + std::string(dtype_name(tensor.dtype)) + ", expected F32, BF16 or F16", place);
  return tensor;
}

// A plain tensor, or a matrix in its place that is coded.
static void check_plain(const Checkpoint& checkpoint, const std::string& name, const std::vector<int64_t>& shape) {
  const TensorInfo* coded = checkpoint.find(name + "_coded");
  if (coded == nullptr) {
    need_floats(checkpoint, name, shape);
    return;
  }
  const ErrorPlace place = {.file = checkpoint.file_of(*coded), .tensor = coded->name};
  const CodedHeader header = coded_header({reinterpret_cast<const uint8_t*>(coded->data.data()), coded->data.size()}, place.file, place.tensor);
  check_shape({static_cast<int64_t>(header.rows), static_cast<int64_t>(header.columns)}, shape, place);
}

static void check_linear(const Checkpoint& checkpoint, const QuantConfig& config, const std::string& module, const std::vector<int64_t>& shape) {
  const QuantGroup* group = config.group_for(module);
  if (group == nullptr || !group->scheme.weights || !is_stored_quantized(checkpoint, module)) return check_plain(checkpoint, module + ".weight", shape);
  const PackedTensors packed = packed_tensors(checkpoint, module, *group);
  check_shape({packed.rows, packed.columns}, shape, {.file = checkpoint.file_of(*packed.codes), .tensor = packed.codes->name});
}

void check_tensors(const ModelSpec& spec, const Checkpoint& checkpoint, FunctionRef<void(const Error&)> bad) {
  const auto look = [&](const auto& check) {
    try {
      check();
    } catch (const Error& error) {
      bad(error);
    }
  };
  const QuantConfig config = QuantConfig::read(checkpoint.config(), checkpoint.config_path());
  for (const PlainTensorSpec& tensor : spec.plain_tensors()) look([&] { check_plain(checkpoint, tensor.name, tensor.shape); });
  for (const LinearSpec& linear : spec.linears())
    if (linear.kind != LinearKind::lm_head || !spec.tied_head) look([&] { check_linear(checkpoint, config, linear.name, {linear.rows, linear.columns}); });
}

void check_tensors(const ModelSpec& spec, const Checkpoint& checkpoint) {
  check_tensors(spec, checkpoint, [](const Error& error) { throw error; });
}

}  // namespace codecllm
