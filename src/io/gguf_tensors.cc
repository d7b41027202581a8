// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <map>
#include <vector>

#include "format/plain_float.h"
#include "io/gguf_model.h"
#include "io/gguf_names.h"
#include "io/header_scanner.h"
#include "io/packed.h"
#include "io/quant_config.h"

namespace codecllm {

namespace {

// Types whose blocks are a scale and integer codes, and the bits that hold these codes.
struct CodedType {
  GgmlType type;
  int bits;
  GgmlBlock (*read)(const void* block);
};

constexpr CodedType kCodedTypes[] = {{GgmlType::q8_0, 8, read_q8_0}, {GgmlType::q5_0, 8, read_q5_0}, {GgmlType::q4_0, 4, read_q4_0}};
constexpr int64_t kGgufGroup = 32;

const CodedType* coded_type(GgmlType type) {
  for (const CodedType& coded : kCodedTypes)
    if (coded.type == type) return &coded;
  return nullptr;
}

std::optional<DType> plain_type(GgmlType type) {
  if (type == GgmlType::f32) return DType::f32;
  if (type == GgmlType::f16) return DType::f16;
  if (type == GgmlType::bf16) return DType::bf16;
  return std::nullopt;
}

class GgufTranslator {
 public:
  explicit GgufTranslator(const GgufFile& file) : file_(file) {
    out_.config = gguf_config(file);
    head_dim_ = out_.config["head_dim"].get<int64_t>();
    neighbours_ = gguf_arch(file.metadata()["general.architecture"].get<std::string>())->neighbours;
  }

  Translation translate() {
    for (const GgufTensor& tensor : file_.tensors()) add(tensor);
    if (!modules_.empty()) {
      std::vector<QuantGroup> groups;
      for (const auto& [bits, modules] : modules_)
        groups.push_back({.name = "group_" + std::to_string(groups.size()), .targets = modules,
                          .scheme = {.weights = QuantArgs{.num_bits = bits, .strategy = Strategy::group, .group_size = kGgufGroup}},
                          .format = "pack-quantized"});
      // Into the kind of JSON that is read.
      out_.config["quantization_config"] = parse_json(dump_json(make_quant_config(groups, {})), file_.file().path());
    }
    return std::move(out_);
  }

 private:
  void add(const GgufTensor& tensor) {
    if (tensor.name == "rope_freqs.weight") return;  // is in the config
    const std::string name = hf_name_of(tensor.name).value_or(tensor.name);
    const bool heads = neighbours_ && (name.find(".q_proj.") != name.npos || name.find(".k_proj.") != name.npos);
    const int64_t rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
    if (heads && (tensor.shape.empty() || tensor.shape[0] % head_dim_ != 0))
      throw Error(ErrorCode::bad_input, "gguf", "its rows are not whole heads of " + std::to_string(head_dim_),
                  {.file = file_.file().path(), .tensor = shown(tensor.name)});
    const auto plain = plain_type(tensor.type);
    if (plain && !heads)
      return out_.pass({.name = name, .dtype = *plain, .shape = tensor.shape, .data = tensor.data}, file_.file());
    const CodedType* coded = coded_type(tensor.type);
    if (coded != nullptr && tensor.shape.size() == 2 && name.ends_with(".weight") && !name.ends_with("embed_tokens.weight") &&
        rows > 0 && tensor.shape[1] > 0)
      return add_coded(tensor, *coded, name.substr(0, name.size() - 7), heads);
    if (plain) return add_reordered(tensor, name, *plain);
    add_floats(tensor, name, heads);
  }

  // Row of the file that becomes row `row`.
  int64_t row_in_file(int64_t row, bool heads) const { return heads ? gguf_row_of(row, head_dim_) : row; }

  void add_reordered(const GgufTensor& tensor, const std::string& name, DType dtype) {
    const std::span<std::byte> out = out_.make(name, dtype, tensor.shape, file_.file());
    const size_t row_bytes = tensor.shape[0] > 0 ? out.size() / static_cast<size_t>(tensor.shape[0]) : 0;
    for (int64_t row = 0; row < tensor.shape[0]; ++row)
      std::memcpy(out.data() + static_cast<size_t>(row) * row_bytes,
                  tensor.data.data() + static_cast<size_t>(row_in_file(row, true)) * row_bytes, row_bytes);
  }

  void add_floats(const GgufTensor& tensor, const std::string& name, bool heads) {
    const GgmlTraits& traits = ggml_traits(tensor.type);
    if (traits.decode == nullptr)
      throw Error(ErrorCode::unsupported, "gguf", "numbers of type " + std::string(traits.name) + " are not read in this version; " +
                                                      "use a Q4_0, Q4_K, Q5_K, Q6_K, Q8_0, F16 or BF16 file of the model",
                  {.file = file_.file().path(), .tensor = shown(tensor.name)});
    const std::span<std::byte> out = out_.make(name, DType::f32, tensor.shape, file_.file());
    const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (columns == 0) return;
    const int64_t row_bytes = columns / traits.block_values * traits.block_bytes;
    std::vector<float> values(static_cast<size_t>(columns));
    for (int64_t row = 0; row < tensor.elements() / columns; ++row) {
      dequantize_ggml(tensor.type, tensor.data.data() + row_in_file(row, heads) * row_bytes, values);
      std::memcpy(out.data() + row * columns * 4, values.data(), values.size() * 4);
    }
  }

  void add_coded(const GgufTensor& tensor, const CodedType& coded, const std::string& module, bool heads) {
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1], groups = columns / kGgufGroup;
    const auto words = static_cast<int64_t>(packed_words(static_cast<size_t>(columns), coded.bits));
    const auto packed = out_.make(module + ".weight_packed", DType::i32, {rows, words}, file_.file());
    const auto scales = out_.make(module + ".weight_scale", DType::f16, {rows, groups}, file_.file());
    const auto shape = out_.make(module + ".weight_shape", DType::i64, {2}, file_.file());
    std::memcpy(shape.data(), tensor.shape.data(), 16);
    const int64_t block_bytes = ggml_traits(tensor.type).block_bytes;
    std::vector<int8_t> codes(static_cast<size_t>(columns));
    std::vector<uint32_t> row_words(static_cast<size_t>(words));
    for (int64_t row = 0; row < rows; ++row) {
      const std::byte* block = tensor.data.data() + row_in_file(row, heads) * groups * block_bytes;
      for (int64_t g = 0; g < groups; ++g, block += block_bytes) {
        GgmlBlock values = coded.read(block);
        if (values.scale == 0) {  // a block of zeros; elsewhere a scale of zero is a fault
          std::memset(values.codes, 0, sizeof values.codes);
          values.scale = 0x1p-10f;
        }
        std::memcpy(codes.data() + g * kGgufGroup, values.codes, sizeof values.codes);
        store_float(scales.data(), row * groups + g, DType::f16, values.scale);
      }
      pack_row(codes.data(), codes.size(), coded.bits, row_words.data());
      std::memcpy(packed.data() + row * words * 4, row_words.data(), static_cast<size_t>(words) * 4);
    }
    modules_[coded.bits].push_back(module);
  }

  const GgufFile& file_;
  int64_t head_dim_ = 0;
  bool neighbours_ = false;
  std::map<int, std::vector<std::string>> modules_;  // coded modules by bits
  Translation out_;
};

}  // namespace

Translation translate_gguf(const GgufFile& file) { return GgufTranslator(file).translate(); }

}  // namespace codecllm
