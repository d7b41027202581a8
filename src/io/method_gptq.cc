// SPDX-License-Identifier: Apache-2.0
// GPTQ (AutoGPTQ, GPTQModel) and AWQ ("gemm") checkpoints: qweight, qzeros, scales and g_idx of every linear layer.
#include <algorithm>
#include <cstring>

#include "io/gptq_layout.h"
#include "io/header_scanner.h"
#include "io/quant_method.h"

namespace codecllm::quant_method {

namespace {

struct GroupedSettings {
  const char* method;
  int bits;
  int64_t group_size;  // -1: one group for each row
  bool awq, less_one, symmetric;
};

class GroupedTranslator {
 public:
  GroupedTranslator(const Checkpoint& checkpoint, const GroupedSettings& settings, Translation& out)
      : checkpoint_(checkpoint), settings_(settings), out_(out) {}

  void run() {
    for (const TensorInfo* tensor : checkpoint_.tensors()) {
      const size_t dot = tensor->name.rfind('.');
      const std::string module = tensor->name.substr(0, dot == std::string::npos ? 0 : dot), part = tensor->name.substr(module.size());
      const bool coded = checkpoint_.find(module + ".qweight") != nullptr;
      if (coded && part == ".qweight")
        add(module, *tensor);
      else if (!coded || (part != ".qzeros" && part != ".scales" && part != ".g_idx"))
        out_.pass(*tensor, checkpoint_.mapped_file_of(*tensor));
    }
    out_.config["quantization_config"] = schemes_.config();
    if (off_by_one_ > 0 && off_by_one_ == layers_)
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
      std::string text;
      for (const int64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
      fail(tensor, "its type or shape does not fit qweight and the config, expected [" + text + "]; is bits or group_size wrong?");
    }
    return tensor;
  }

  void add(const std::string& module, const TensorInfo& words) {
    const int64_t per_word = 32 / settings_.bits;  // of 3 bits: 32 in three words
    if (words.dtype != DType::i32 || words.shape.size() != 2 || words.shape[0] < 1 || words.shape[1] < 1) fail(words, "is not a matrix of type I32");
    CodedLinear linear = {.bits = settings_.bits};
    linear.columns = settings_.awq ? words.shape[0] : words.shape[0] * 32 / settings_.bits;
    linear.rows = settings_.awq ? words.shape[1] * per_word : words.shape[1];
    linear.group = settings_.group_size > 0 ? settings_.group_size : linear.columns;
    if (linear.columns % linear.group != 0)
      fail(words, std::to_string(linear.columns) + " inputs are not whole groups of " + std::to_string(linear.group));
    if (linear.rows * settings_.bits % 32 != 0) fail(words, std::to_string(linear.rows) + " outputs do not fill whole words");
    const int64_t groups = linear.columns / linear.group, zero_words = linear.rows * settings_.bits / 32;
    linear.scales = &need(module + ".scales", DType::f16, {groups, linear.rows});
    linear.codes.resize(static_cast<size_t>(linear.rows * linear.columns));
    linear.zeros.resize(static_cast<size_t>(linear.rows * groups));
    const auto rows = static_cast<size_t>(linear.rows), columns = static_cast<size_t>(linear.columns), count = static_cast<size_t>(groups);
    const bool has_zeros = !settings_.awq || checkpoint_.find(module + ".qzeros") != nullptr;
    const TensorInfo* zeros = has_zeros ? &need(module + ".qzeros", DType::i32, {groups, zero_words}) : nullptr;
    if (settings_.awq) {
      awq_unpack(words.data.data(), rows, columns, linear.codes.data());
      if (zeros != nullptr) awq_unpack(zeros->data.data(), rows, count, linear.zeros.data());
    } else {
      gptq_unpack(words.data.data(), rows, columns, settings_.bits, linear.codes.data());
      gptq_unpack_zeros(zeros->data.data(), rows, count, settings_.bits, settings_.less_one, linear.zeros.data());
      read_order(module, linear);
    }
    const auto is = [&](int n) { return std::all_of(linear.zeros.begin(), linear.zeros.end(), [n](int8_t zero) { return zero == n; }); };
    ++layers_;
    if (!settings_.awq && is(settings_.less_one ? 1 : -1)) ++off_by_one_;
    if (settings_.symmetric && std::any_of(linear.zeros.begin(), linear.zeros.end(), [](int8_t zero) { return zero != 0; })) ++odd_zeros_;
    put_packed(linear, module, checkpoint_.mapped_file_of(words), out_, schemes_);
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

int64_t group_size_of(const Json& settings, const char* key, const std::string& file) {
  const auto size = json_or<int64_t>(settings, key, 128, file);
  if (size != -1 && (size < 1 || size > 1 << 20))
    throw Error(ErrorCode::bad_input, "quantization_config", "group_size is " + std::to_string(size), {.file = file});
  return size;
}

}  // namespace

void gptq(const Checkpoint& checkpoint, const Json& settings, Translation& out) {
  const std::string& file = checkpoint.config_path();
  const auto bits = json_need<int64_t>(settings, "bits", file);
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) not_read(checkpoint, "gptq", "GPTQ of " + std::to_string(bits) + " bits is not read in this version");
  const auto format = json_find<std::string>(settings, "checkpoint_format", file).value_or(json_or<std::string>(settings, "format", "gptq", file));
  if ((format != "gptq" && format != "gptq_v2") || json_or<bool>(settings, "is_marlin_format", false, file))
    not_read(checkpoint, "gptq", "the layout '" + shown(format) + "' of GPTQ is not read in this version");
  if (const auto dynamic = settings.find("dynamic"); dynamic != settings.end() && dynamic->is_object())
    for (const auto& [pattern, change] : dynamic->items())
      if (!pattern.starts_with("-:")) not_read(checkpoint, "gptq", "different bits for some layers ('dynamic') are not read in this version");
  GroupedTranslator(checkpoint,
                    {.method = "gptq", .bits = static_cast<int>(bits), .group_size = group_size_of(settings, "group_size", file),
                     .awq = false, .less_one = format == "gptq", .symmetric = json_or<bool>(settings, "sym", false, file)},
                    out)
      .run();
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
