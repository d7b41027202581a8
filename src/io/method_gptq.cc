// SPDX-License-Identifier: Apache-2.0
// GPTQ (AutoGPTQ, GPTQModel) and AWQ ("gemm") checkpoints: qweight, qzeros, scales and g_idx of every linear layer.
#include <algorithm>
#include <cstring>

#include "format/plain_float.h"
#include "io/gptq_layout.h"
#include "io/header_scanner.h"
#include "io/name_pattern.h"
#include "io/quant_method.h"
#include "io/tensor_name.h"

namespace codecllm::quant_method {

namespace {

// Of GPTQModel's "dynamic": what differs in layers whose names fit.
struct LayerRule {
  NamePattern pattern;
  int bits;
  int64_t group_size;
};

struct GroupedSettings {
  const char* method;
  int bits;
  int64_t group_size;  // -1: one group for each row
  bool awq, less_one, symmetric;
  std::vector<LayerRule> rules = {};
};

class GroupedTranslator {
 public:
  GroupedTranslator(const Checkpoint& checkpoint, const GroupedSettings& settings, Translation& out)
      : checkpoint_(checkpoint), settings_(settings), out_(out) {}

  void run() {
    for (const TensorInfo* tensor : checkpoint_.tensors()) {
      const auto [module, part] = split_tensor_name(tensor->name);
      const bool coded = checkpoint_.find(std::string(module) + ".qweight") != nullptr;
      if (coded && part == ".qweight")
        add(std::string(module), *tensor);
      else if (!coded || (part != ".qzeros" && part != ".scales" && part != ".g_idx"))
        out_.pass(*tensor, checkpoint_.mapped_file_of(*tensor));
    }
    out_.config["quantization_config"] = schemes_.config();
    if (settings_.awq && off_by_one_ > 0 && off_by_one_ == layers_)
      out_.note("every zero point is 7, one off the middle of the codes: the program that wrote them followed GPTQ's rule, not AWQ's",
                "compare the perplexity with the original's; if it is bad, quantize the original again");
    else if (off_by_one_ > 0 && off_by_one_ == layers_)
      out_.note("every zero point is one off the middle of the codes: this looks like a file of the other version of GPTQ",
                std::string("set checkpoint_format to ") + (settings_.less_one ? "gptq_v2" : "gptq") + " in quantization_config and compare the perplexity");
    else if (odd_zeros_ > 0)
      out_.note(std::to_string(odd_zeros_) + " layers have zero points that are not the middle of the codes, though the config says sym",
                "engines that trust sym ignore them and compute something else; set sym to false in quantization_config");
  }

 private:
  [[noreturn]] void fail(const TensorInfo& tensor, const std::string& what) const {
    throw Error(ErrorCode::bad_input, settings_.method, what, {.file = checkpoint_.file_of(tensor), .tensor = shown(tensor.name)});
  }

  const TensorInfo& need(const std::string& name, DType dtype, const std::vector<int64_t>& shape) const {
    const TensorInfo& tensor = checkpoint_.need(name);
    const bool type_fits = dtype == DType::f16 ? is_plain_float(tensor.dtype) : tensor.dtype == dtype;
    if (!type_fits || tensor.shape != shape) {
      fail(tensor, "its type or shape does not fit qweight and the config, expected " + shape_text(shape) + "; is bits or group_size wrong?");
    }
    return tensor;
  }

  void add(const std::string& module, const TensorInfo& words) {
    const auto [bits, group_size] = sizes_of(module);
    const int64_t per_word = 32 / bits;  // of 3 bits: 32 in three words
    if (words.dtype != DType::i32 || words.shape.size() != 2 || words.shape[0] < 1 || words.shape[1] < 1) fail(words, "is not a matrix of type I32");
    CodedLinear linear = {.bits = bits};
    linear.columns = settings_.awq ? words.shape[0] : words.shape[0] * 32 / bits;
    linear.rows = settings_.awq ? words.shape[1] * per_word : words.shape[1];
    linear.group = group_size > 0 ? group_size : linear.columns;
    if (linear.columns % linear.group != 0)
      fail(words, std::to_string(linear.columns) + " inputs are not whole groups of " + std::to_string(linear.group));
    if (linear.rows * bits % 32 != 0) fail(words, std::to_string(linear.rows) + " outputs do not fill whole words");
    const int64_t groups = linear.columns / linear.group, zero_words = linear.rows * bits / 32;
    read_scales(need(module + ".scales", DType::f16, {groups, linear.rows}), linear);
    linear.codes.resize(static_cast<size_t>(linear.rows * linear.columns));
    linear.zeros.resize(static_cast<size_t>(linear.rows * groups));
    const auto rows = static_cast<size_t>(linear.rows), columns = static_cast<size_t>(linear.columns), count = static_cast<size_t>(groups);
    const bool has_zeros = !settings_.awq || checkpoint_.find(module + ".qzeros") != nullptr;
    const TensorInfo* zeros = has_zeros ? &need(module + ".qzeros", DType::i32, {groups, zero_words}) : nullptr;
    if (settings_.awq) {
      awq_unpack(words.data.data(), rows, columns, linear.codes.data());
      if (zeros != nullptr) awq_unpack(zeros->data.data(), rows, count, linear.zeros.data());
    } else {
      gptq_unpack(words.data.data(), rows, columns, bits, linear.codes.data());
      gptq_unpack_zeros(zeros->data.data(), rows, count, bits, settings_.less_one, linear.zeros.data());
      read_order(module, linear);
    }
    const auto is = [&](int n) { return std::all_of(linear.zeros.begin(), linear.zeros.end(), [n](int8_t zero) { return zero == n; }); };
    ++layers_;
    if (is(settings_.less_one ? 1 : -1)) ++off_by_one_;
    if (settings_.symmetric && std::any_of(linear.zeros.begin(), linear.zeros.end(), [](int8_t zero) { return zero != 0; })) ++odd_zeros_;
    put_packed(linear, module, checkpoint_.mapped_file_of(words), out_, schemes_);
  }

  // Bits and group size of a layer. The first rule that fits counts, but their order is not that of the file any more.
  std::pair<int, int64_t> sizes_of(const std::string& module) const {
    std::pair<int, int64_t> sizes = {settings_.bits, settings_.group_size};
    const LayerRule* found = nullptr;
    for (const LayerRule& rule : settings_.rules) {
      if (rule.pattern.match(module) == NamePattern::Match::none) continue;
      if (found != nullptr && (found->bits != rule.bits || found->group_size != rule.group_size))
        throw Error(ErrorCode::unsupported, settings_.method, "two entries of 'dynamic' fit '" + shown(module) + "' and differ",
                    {.file = checkpoint_.config_path()});
      found = &rule;
      sizes = {rule.bits, rule.group_size};
    }
    return sizes;
  }

  // The file has them group by group.
  static void read_scales(const TensorInfo& tensor, CodedLinear& linear) {
    const int64_t groups = tensor.shape[0];
    linear.scale_type = tensor.dtype;
    linear.scales.resize(static_cast<size_t>(linear.rows * groups));
    for (int64_t row = 0; row < linear.rows; ++row)
      for (int64_t g = 0; g < groups; ++g)
        linear.scales[static_cast<size_t>(row * groups + g)] = load_float(tensor.data.data(), g * linear.rows + row, tensor.dtype);
  }

  void read_order(const std::string& module, CodedLinear& linear) const {
    if (checkpoint_.find(module + ".g_idx") == nullptr) return;
    const TensorInfo& order = need(module + ".g_idx", DType::i32, {linear.columns});
    linear.group_of_column.resize(static_cast<size_t>(linear.columns));
    std::memcpy(linear.group_of_column.data(), order.data.data(), order.data.size());
    const int64_t groups = linear.columns / linear.group;
    for (const int32_t group : linear.group_of_column)
      if (group < 0 || group >= groups) fail(order, "names group " + std::to_string(group) + " of " + std::to_string(groups));
  }

  const Checkpoint& checkpoint_;
  const GroupedSettings settings_;
  Translation& out_;
  SchemeList schemes_;
  int layers_ = 0, odd_zeros_ = 0, off_by_one_ = 0;
};

[[noreturn]] void not_read(const Checkpoint& checkpoint, const char* method, const std::string& what) {
  throw Error(ErrorCode::unsupported, method, what + "; take the model's 16-bit original and quantize it", {.file = checkpoint.config_path()});
}

int gptq_bits_of(const Checkpoint& checkpoint, const Json& settings, std::optional<int> fallback) {
  const std::string& file = checkpoint.config_path();
  const auto bits = fallback ? json_or<int64_t>(settings, "bits", *fallback, file) : json_need<int64_t>(settings, "bits", file);
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) not_read(checkpoint, "gptq", "GPTQ of " + std::to_string(bits) + " bits is not read in this version");
  return static_cast<int>(bits);
}

int64_t group_size_of(const Json& settings, const char* key, const std::string& file, int64_t fallback = 128) {
  const auto size = json_or<int64_t>(settings, key, fallback, file);
  if (size != -1 && (size < 1 || size > 1 << 20))
    throw Error(ErrorCode::bad_input, "quantization_config", "group_size is " + std::to_string(size), {.file = file});
  return size;
}

}  // namespace

void gptq(const Checkpoint& checkpoint, const Json& settings, Translation& out) {
  const std::string& file = checkpoint.config_path();
  GroupedSettings layout = {.method = "gptq", .bits = gptq_bits_of(checkpoint, settings, std::nullopt),
                            .group_size = group_size_of(settings, "group_size", file), .awq = false, .less_one = false,
                            .symmetric = json_or<bool>(settings, "sym", false, file)};
  const auto format = json_find<std::string>(settings, "checkpoint_format", file).value_or(json_or<std::string>(settings, "format", "gptq", file));
  if ((format != "gptq" && format != "gptq_v2") || json_or<bool>(settings, "is_marlin_format", false, file))
    not_read(checkpoint, "gptq", "the layout '" + shown(format) + "' of GPTQ is not read in this version");
  if (const auto dynamic = settings.find("dynamic"); dynamic != settings.end() && dynamic->is_object())
    for (const auto& [pattern, change] : dynamic->items()) {
      if (pattern.starts_with("-:")) continue;  // left plain: such a layer has no codes
      if (!change.is_object()) throw_json_type("dynamic", "objects", change, file);
      layout.rules.push_back({NamePattern("re:" + pattern.substr(pattern.starts_with("+:") ? 2 : 0), file),
                              gptq_bits_of(checkpoint, change, layout.bits), group_size_of(change, "group_size", file, layout.group_size)});
    }
  layout.less_one = format == "gptq";
  GroupedTranslator(checkpoint, layout, out).run();
}

void awq(const Checkpoint& checkpoint, const Json& settings, Translation& out) {
  const std::string& file = checkpoint.config_path();
  const auto bits = json_find<int64_t>(settings, "bits", file).value_or(json_or<int64_t>(settings, "w_bit", 4, file));
  const auto version = json_or<std::string>(settings, "version", "gemm", file);
  if (bits != 4) not_read(checkpoint, "awq", "AWQ of " + std::to_string(bits) + " bits is not read in this version");
  if (version != "gemm" && version != "GEMM") not_read(checkpoint, "awq", "the layout '" + shown(version) + "' of AWQ is not read in this version");
  const int64_t group = group_size_of(settings, settings.contains("q_group_size") ? "q_group_size" : "group_size", file);
  GroupedTranslator(checkpoint, {.method = "awq", .bits = 4, .group_size = group, .awq = true, .less_one = false, .symmetric = false}, out).run();
}

}  // namespace codecllm::quant_method
