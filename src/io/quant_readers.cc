// SPDX-License-Identifier: Apache-2.0
#include "io/quant_readers.h"

namespace codecllm {

std::vector<std::string> readers_of(const QuantGroup& group) {
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

}  // namespace codecllm
