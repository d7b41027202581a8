// SPDX-License-Identifier: Apache-2.0
#include "io/quant_readers.h"

#include <algorithm>

namespace codecllm {

namespace {

std::string only_codecllm(const std::string& what, const std::string& others) {
  return "only codecllm loads " + what + ": vLLM refuses it, transformers warns of an unknown method and computes garbage; " + others;
}

std::vector<std::string> readers_of_codecllm(const std::vector<QuantGroup>& groups) {
  if (groups.empty()) return {"only codecllm loads entropy-coded weights"};
  std::vector<std::string> sentences;
  for (const QuantGroup& group : groups) {
    const auto &weights = group.scheme.weights, &activations = group.scheme.activations;
    if (activations && activations->outliers && activations->outliers->stored)
      sentences.push_back(only_codecllm("LLM.int8() with columns in 16 bits beside INT8 ones", "others load what `convert --to bf16` makes of it"));
    else if (activations && activations->outliers)
      sentences.push_back(only_codecllm("LLM.int8() told so", "`convert --to compressed-tensors` makes plain W8A8 of it, which others load"));
    else if (weights && weights->type == NumberType::float_e5m2)
      sentences.push_back(only_codecllm("8-bit floats of type E5M2", "others load fp8, fp8-channel and fp8-block, which are E4M3"));
  }
  if (sentences.empty())
    sentences.push_back(only_codecllm("the method codecllm", "`convert --to compressed-tensors` tells the same codes as others know them"));
  return sentences;
}

std::vector<std::string> readers_of_group(const QuantGroup& group) {
  std::vector<std::string> sentences;
  if (auto sentence = refused_by(group.scheme)) sentences.push_back(*std::move(sentence));
  const auto& weights = group.scheme.weights;
  if (sentences.empty() && weights && !weights->symmetric && !stores_bytes(group.scheme))
    sentences.push_back("transformers loads packed zero points only when told quantization_config=CompressedTensorsConfig(dequantize=True): without "
                        "that it expects them unpacked, and refuses what compressed-tensors itself writes too (transformers 5.23, "
                        "compressed-tensors 0.20); vLLM loads them");
  if (group.group_order)
    sentences.push_back("compressed-tensors 0.20 and those who use it refuse activation order (actorder 'group', weight_g_idx), which older "
                        "ones load; convert to gptq to keep it, or to bf16");
  return sentences;
}

}  // namespace

std::vector<std::string> readers_of(const std::string& method, const std::vector<QuantGroup>& groups) {
  std::vector<std::string> all, unlike;
  if (method == "codecllm") all = readers_of_codecllm(groups);
  else
    for (const QuantGroup& group : groups)
      for (std::string& sentence : readers_of_group(group)) all.push_back(std::move(sentence));
  for (std::string& sentence : all)
    if (std::find(unlike.begin(), unlike.end(), sentence) == unlike.end()) unlike.push_back(std::move(sentence));
  return unlike;
}

}  // namespace codecllm
