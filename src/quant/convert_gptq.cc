// SPDX-License-Identifier: Apache-2.0
// GPTQ (first version) and AWQ ("gemm"): qweight, qzeros, scales and, for GPTQ, g_idx of every linear layer but lm_head.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "format/plain_float.h"
#include "io/gptq_layout.h"
#include "quant/convert_job.h"

namespace codecllm {

namespace {

struct GroupedTarget {
  bool awq;
  int bits;
  int64_t group_size;  // -1: one group for each row
};

// The bits of most layers, and a group that all of their groups are made of; a plain model gets 4 bits in groups of 128, or
// of the largest power of two from 32 on that divides all rows. These layouts have one of both for the whole model.
GroupedTarget choose_grouped(const ConvertJob& job, bool awq) {
  std::map<int, int> count;
  int64_t group = 0, plain_group = 128;
  for (const LinearSpec& linear : job.linears()) {
    if (linear.kind == LinearKind::lm_head) continue;
    while (plain_group >= 32 && linear.columns % plain_group != 0) plain_group /= 2;
    const SourceLinear source(job.checkpoint, job.config, linear);
    if (source.args() == nullptr || source.args()->type != NumberType::integer) continue;
    ++count[source.args()->num_bits];
    if (source.reader().group() != linear.columns) group = std::gcd(group, source.reader().group());
  }
  if (count.empty()) return {awq, 4, plain_group >= 32 ? plain_group : -1};
  const int most = std::max_element(count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
  return {awq, awq || most <= 4 ? 4 : 8, group > 0 ? group : -1};
}

std::vector<std::byte> bytes_of_words(const std::vector<uint32_t>& words) {
  std::vector<std::byte> bytes(words.size() * 4);
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

class GroupedWriter {
 public:
  GroupedWriter(ConvertJob& job, const GroupedTarget& target) : job_(job), target_(target), writer_(job) {}

  void write() {
    const std::string method = target_.awq ? "awq" : "gptq";
    std::set<std::string> modules;
    for (const LinearSpec& linear : job_.linears()) {
      const SourceLinear source(job_.checkpoint, job_.config, linear);
      if (linear.kind == LinearKind::lm_head) {
        if (source.args() != nullptr) add_plain(source), modules.insert(linear.name);
        continue;
      }
      check(source);
      add(source);
      modules.insert(linear.name);
    }
    for (const TensorInfo* tensor : job_.checkpoint.tensors()) {
      const size_t dot = tensor->name.rfind('.');
      if (dot == std::string::npos || !modules.contains(tensor->name.substr(0, dot)) || tensor->name.ends_with(".bias")) writer_.add_copy(*tensor);
    }
    OrderedJson config = config_without_quantization(job_.checkpoint);
    config["quantization_config"] = quantization();
    writer_.finish(std::move(config));
  }

 private:
  int64_t group_of(const SourceLinear& source) const { return target_.group_size > 0 ? target_.group_size : source.linear().columns; }

  void check(const SourceLinear& source) const {
    const LinearSpec& linear = source.linear();
    const int64_t per_word = 32 / target_.bits;
    if (linear.columns % group_of(source) != 0)
      throw Error(ErrorCode::unsupported, "convert",
                  std::to_string(linear.columns) + " inputs are not whole groups of " + std::to_string(group_of(source)) +
                      "; quantize with a group that divides them, then convert", {.tensor = linear.name});
    if (linear.rows % per_word != 0 || linear.columns % per_word != 0)
      throw Error(ErrorCode::unsupported, "convert", std::to_string(linear.rows) + " x " + std::to_string(linear.columns) +
                                                         " does not fill words of " + std::to_string(per_word) +
                                                         " codes, as this layout asks; compressed-tensors has no such rule",
                  {.tensor = linear.name});
  }

  // Readers know F16 scales; BF16 ones only some.
  void add(const SourceLinear& source) {
    const LinearSpec& linear = source.linear();
    const int64_t rows = linear.rows, columns = linear.columns, groups = columns / group_of(source), per_word = 32 / target_.bits;
    std::vector<TensorDecl> decls = {
        {linear.name + ".qweight", DType::i32, target_.awq ? std::vector<int64_t>{columns, rows / per_word} : std::vector<int64_t>{columns / per_word, rows}},
        {linear.name + ".qzeros", DType::i32, {groups, rows / per_word}},
        {linear.name + ".scales", DType::f16, {groups, rows}}};
    if (!target_.awq) decls.push_back({linear.name + ".g_idx", DType::i32, {columns}});
    writer_.add(std::move(decls), [this, source](PartialOutput& output) { put(source, output); });
  }

  void put(const SourceLinear& source, PartialOutput& output) {
    const std::string& name = source.linear().name;
    const EncodedLinear linear = encode_linear(job_.context, source, target_.bits, group_of(source), DType::f16, nearest_codes(target_.bits, DType::f16));
    const auto rows = static_cast<size_t>(linear.rows), columns = static_cast<size_t>(linear.columns), groups = static_cast<size_t>(linear.groups());
    const size_t per_word = 32 / static_cast<size_t>(target_.bits);
    std::vector<uint32_t> words(rows * columns / per_word), zero_words(rows * groups / per_word);
    const std::vector<int8_t> zeros(rows * groups, 0);
    if (target_.awq) {
      awq_pack(linear.codes.data(), rows, columns, words.data());
      awq_pack(zeros.data(), rows, groups, zero_words.data());
    } else {
      gptq_pack(linear.codes.data(), rows, columns, target_.bits, words.data());
      gptq_pack_zeros(zeros.data(), rows, groups, target_.bits, true, zero_words.data());
      std::vector<int32_t> order(columns);
      for (size_t k = 0; k < columns; ++k) order[k] = static_cast<int32_t>(k / static_cast<size_t>(linear.group));
      output.write(name + ".g_idx", 0, std::as_bytes(std::span(order)));
    }
    std::vector<std::byte> scales(rows * groups * 2);
    for (size_t row = 0; row < rows; ++row)
      for (size_t g = 0; g < groups; ++g) store_float(scales.data(), static_cast<int64_t>(g * rows + row), DType::f16, linear.scales[row * groups + g]);
    output.write(name + ".qweight", 0, bytes_of_words(words));
    output.write(name + ".qzeros", 0, bytes_of_words(zero_words));
    output.write(name + ".scales", 0, scales);
    job_.tell(name + ".weight", "INT" + std::to_string(target_.bits), linear.exact, linear.max_error);
  }

  // lm_head stays plain: not every reader of these layouts takes it quantized. F32 loses nothing.
  void add_plain(const SourceLinear& source) {
    const LinearSpec& linear = source.linear();
    writer_.add({{linear.name + ".weight", DType::f32, {linear.rows, linear.columns}}}, [this, source](PartialOutput& output) {
      const LinearSpec& head = source.linear();
      std::vector<float> values(static_cast<size_t>(head.columns));
      for (int64_t row = 0; row < head.rows; ++row) {
        source.values(row, values);
        output.write(head.name + ".weight", static_cast<uint64_t>(row * head.columns) * 4, std::as_bytes(std::span(values)));
      }
      job_.tell(head.name + ".weight", "F32", true, 0);
    });
  }

  OrderedJson quantization() const {
    if (target_.awq)
      return {{"quant_method", "awq"}, {"bits", 4}, {"group_size", target_.group_size}, {"zero_point", true}, {"version", "gemm"},
              {"modules_to_not_convert", OrderedJson::array({"lm_head"})}};
    return {{"quant_method", "gptq"}, {"bits", target_.bits}, {"group_size", target_.group_size}, {"desc_act", false}, {"sym", true},
            {"checkpoint_format", "gptq"}, {"pack_dtype", "int32"}, {"lm_head", false}, {"damp_percent", 0.01}, {"true_sequential", true}};
  }

  ConvertJob& job_;
  const GroupedTarget target_;
  DirectoryWriter writer_;
};

}  // namespace

namespace convert_target {

void to_gptq(ConvertJob& job) { GroupedWriter(job, choose_grouped(job, false)).write(); }
void to_awq(ConvertJob& job) { GroupedWriter(job, choose_grouped(job, true)).write(); }

}  // namespace convert_target

}  // namespace codecllm
