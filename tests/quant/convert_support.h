// SPDX-License-Identifier: Apache-2.0
// What the tests of `convert` share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "format/plain_float.h"
#include "model/weights.h"
#include "quant/convert_job.h"
#include "quant/quantize.h"
#include "quant/support.h"

namespace codecllm::test {

// A tiny model with a tokenizer.
inline std::string model_with_tokenizer(const TempDirectory& dir) {
  const std::string path = dir / "model";
  std::filesystem::copy(model_data("llama-bf16"), path);
  const Json all = read_json_file(source_path("tests/text/data/tokenizer_llama2.json"));
  write_file_atomically(path + "/tokenizer.json", dump_json(all.at("tokenizer")));
  write_file_atomically(path + "/tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})");
  return path;
}

inline ConvertResult converted(const std::string& from, const std::string& to, const std::string& format, const std::string& type = "auto") {
  return convert_checkpoint(two_threads(), from, to, {format, type});
}

inline std::string quantized(const TempDirectory& dir, const std::string& model, const std::string& scheme) {
  QuantizeOptions options = {.scheme = scheme_preset(scheme)};
  quantize_checkpoint(two_threads(), model, dir / scheme, options);
  return dir / scheme;
}

// All weights of a model by name, dequantized.
inline std::map<std::string, std::vector<float>> all_values(const std::string& model) {
  const Checkpoint checkpoint(model);
  const ModelSpec spec = read_spec(checkpoint);
  const QuantConfig config = QuantConfig::read(checkpoint.config(), checkpoint.config_path());
  std::map<std::string, std::vector<float>> out;
  for (const LinearSpec& linear : spec.linears()) {
    const SourceLinear source(checkpoint, config, linear);
    std::vector<float>& values = out[linear.name];
    values.resize(static_cast<size_t>(linear.rows * linear.columns));
    for (int64_t row = 0; row < linear.rows; ++row)
      source.values(row, std::span(values).subspan(static_cast<size_t>(row * linear.columns), static_cast<size_t>(linear.columns)));
  }
  for (const std::string name : {"model.embed_tokens.weight", "model.norm.weight", "model.layers.1.input_layernorm.weight"})
    for (int64_t i = 0; i < checkpoint.need(name).elements(); ++i)
      out[name].push_back(load_float(checkpoint.need(name).data.data(), i, checkpoint.need(name).dtype));
  return out;
}

// The result tells the truth: the largest difference of each linear layer is the one it names.
inline void expect_as_told(const ConvertResult& result, const std::string& from, const std::string& to) {
  const auto before = all_values(from), after = all_values(to);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, values] : before) {
    double worst = 0;
    for (size_t i = 0; i < values.size(); ++i) worst = std::max(worst, std::fabs(static_cast<double>(values[i]) - after.at(name)[i]));
    const auto told = std::find_if(result.tensors.begin(), result.tensors.end(), [&name = name](const ConvertedTensor& tensor) {
      return tensor.name == name || tensor.name == name + ".weight" || tensor.name == name + ".weight_packed";
    });
    ASSERT_NE(told, result.tensors.end()) << name;
    EXPECT_EQ(told->max_error, worst) << name;
    EXPECT_EQ(told->exact, worst == 0) << name;
  }
}

}  // namespace codecllm::test
