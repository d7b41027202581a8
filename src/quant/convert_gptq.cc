// SPDX-License-Identifier: Apache-2.0
// GPTQ (zero points in its second version, since the first has no room for a zero point of 0, and GPTQModel refuses them in
// it) and AWQ ("gemm"): qweight, qzeros, scales and, for GPTQ, g_idx of every linear layer but lm_head.
#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "format/plain_float.h"
#include "io/gptq_layout.h"
#include "quant/convert_encode.h"
#include "quant/convert_job.h"

namespace codecllm {

namespace {

struct GroupedTarget {
  bool awq;
  int bits;
  int64_t group_size;  // -1: one group for each row
  bool zeros = false, order = false;
};

// The bits of most layers, and a group that all of their groups are made of, since these layouts have one of both for the
// whole model. Where codes are found anew, groups of 128, or of the largest power of two from 32 on that divides all rows:
// of 8 bits for 8-bit floats, of 4 for a plain model.
GroupedTarget choose_grouped(const ConvertJob& job, bool awq) {
  GroupedTarget target = {awq, 4, -1};
  std::map<int, int> count;
  int64_t group = 0, new_group = 128;
  std::vector<SourceLinear> sources;
  for (const LinearSpec& linear : job.linears()) {
    if (linear.kind == LinearKind::lm_head) continue;
    while (new_group >= 32 && linear.columns % new_group != 0) new_group /= 2;
    sources.emplace_back(job.checkpoint, job.config, linear);
    if (sources.back().args() != nullptr) ++count[sources.back().code_bits()];
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  if (!awq && !count.empty() && std::max_element(count.begin(), count.end(), fewer)->first > 4) target.bits = 8;
  for (const SourceLinear& source : sources) {
    const bool kept = source.integer() && source.code_bits() <= target.bits && (source.order().empty() || !awq);
    if (kept && source.reader().group() != source.linear().columns) group = std::gcd(group, source.reader().group());
    if (!kept && new_group >= 32) group = std::gcd(group, new_group);
    target.zeros = target.zeros || (kept && !source.args()->symmetric);
    target.order = target.order || (kept && !source.order().empty());
  }
  if (group > 0) target.group_size = group;
  return target;
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
    std::set<std::string, std::less<>> modules;
    for (const LinearSpec& linear : job_.linears()) {
      const SourceLinear source(job_.checkpoint, job_.config, linear);
      if (linear.kind == LinearKind::lm_head) {
        // Not every reader of these layouts takes it quantized. F32 loses nothing.
        if (source.args() != nullptr) writer_.add_floats(source, DType::f32), modules.insert(linear.name);
        continue;
      }
      check(source);
      add(source);
      modules.insert(linear.name);
    }
    writer_.add_others(modules);
    job_.note_activations();
    job_.note_coarser(target_.bits);
    if (!target_.awq && target_.zeros)
      job_.note("zero points are told as gptq_v2; programs that read it as version 1, as some of vLLM's have, are one step off and write garbage: try a prompt there, or convert to awq");
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
    const EncodedLinear linear = encode_linear(
        job_.context, source, {.bits = target_.bits, .group = group_of(source), .zeros = target_.zeros || target_.awq, .order = !target_.awq});
    const auto rows = static_cast<size_t>(linear.rows), columns = static_cast<size_t>(linear.columns), groups = static_cast<size_t>(linear.groups());
    const size_t per_word = 32 / static_cast<size_t>(target_.bits);
    std::vector<uint32_t> words(rows * columns / per_word), zero_words(rows * groups / per_word);
    if (target_.awq) {
      awq_pack(linear.codes.data(), rows, columns, words.data());
      awq_pack(linear.zeros.data(), rows, groups, zero_words.data());
    } else {
      gptq_pack(linear.codes.data(), rows, columns, target_.bits, words.data());
      gptq_pack_zeros(linear.zeros.data(), rows, groups, target_.bits, !target_.zeros, zero_words.data());
      std::vector<int32_t> group_of_column(columns);
      for (size_t k = 0; k < columns; ++k)
        group_of_column[linear.order.empty() ? k : static_cast<size_t>(linear.order[k])] = static_cast<int32_t>(k / static_cast<size_t>(linear.group));
      output.write(name + ".g_idx", 0, std::as_bytes(std::span(group_of_column)));
    }
    std::vector<std::byte> scales(rows * groups * 2);
    for (size_t row = 0; row < rows; ++row)
      for (size_t g = 0; g < groups; ++g) store_float(scales.data(), static_cast<int64_t>(g * rows + row), DType::f16, linear.scales[row * groups + g]);
    output.write(name + ".qweight", 0, bytes_of_words(words));
    output.write(name + ".qzeros", 0, bytes_of_words(zero_words));
    output.write(name + ".scales", 0, scales);
    job_.tell(name + ".weight", "INT" + std::to_string(target_.bits), linear.change);
  }

  OrderedJson quantization() const {
    if (target_.awq)
      return {{"quant_method", "awq"}, {"bits", 4}, {"group_size", target_.group_size}, {"zero_point", true}, {"version", "gemm"},
              {"modules_to_not_convert", OrderedJson::array({"lm_head"})}};
    return {{"quant_method", "gptq"}, {"bits", target_.bits}, {"group_size", target_.group_size}, {"desc_act", target_.order}, {"sym", !target_.zeros},
            {"checkpoint_format", target_.zeros ? "gptq_v2" : "gptq"}, {"pack_dtype", "int32"}, {"lm_head", false}, {"damp_percent", 0.01}, {"true_sequential", true}};
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
