// SPDX-License-Identifier: Apache-2.0
// Names and architectures of GGUF against Hugging Face's, both ways.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace codecllm {

struct GgufArch {
  std::string_view gguf, hf_class, model_type;
  bool neighbours;  // see gguf_arch.def
};

const GgufArch* gguf_arch(std::string_view name);            // by general.architecture
const GgufArch* gguf_arch_of_class(std::string_view hf_class);
std::string gguf_arch_list();                                 // "llama, qwen2, ..."

// Whole tensor names: "blk.3.attn_q.weight" <-> "model.layers.3.self_attn.q_proj.weight".
std::optional<std::string> hf_name_of(std::string_view gguf_name);
std::optional<std::string> gguf_name_of(std::string_view hf_name);

// llama.cpp rotates neighbouring pairs (2i, 2i + 1) of a head, Hugging Face pairs (i, i + head_dim / 2). The row of
// Hugging Face's tensor that stands as row `row` of GGUF's, and the reverse.
inline int64_t hf_row_of(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}
inline int64_t gguf_row_of(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim, half = head_dim / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

}  // namespace codecllm
