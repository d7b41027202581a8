// SPDX-License-Identifier: Apache-2.0
// A model as data: what a family's file reads out of config.json, and how its layers are wired.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace codecllm {

// Rotary embedding (Su et al. 2021) with the scalings of Hugging Face's modeling_rope_utils.
struct RopeSpec {
  std::string type = "default";  // default, linear, dynamic, llama3, yarn, longrope
  double base = 10000;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  bool truncate = true;                              // yarn: the ramp's ends are rounded outwards
  // longrope: what each frequency is divided by, up to original_positions tokens and beyond; [rotary / 2]
  std::vector<double> short_factors, long_factors;
  double attention_factor = 1;                       // cos and sin are multiplied by it
  double original_positions = 0;                     // trained length before scaling
  int64_t rotary = 0;                                // rotated dimensions of a head, even

  // Whether the frequencies depend on the number of tokens.
  bool by_length() const { return type == "dynamic" || short_factors != long_factors; }
};

enum class LinearKind : uint8_t { attention, mlp, lm_head };

struct LinearSpec {
  std::string name;  // checkpoint name without ".weight"
  LinearKind kind;
  int64_t rows, columns;  // [out, in]
  bool bias;
  int fused_group;        // engines that fuse layers need one scheme within a group; -1: alone
};

// A tensor that is no matrix of a linear layer.
struct PlainTensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// Names of one decoder block's tensors in the checkpoint, without ".weight".
struct BlockNames {
  std::string input_norm, q, k, v, q_norm, k_norm, o, mlp_norm, gate, up, down;
};

struct ModelSpec {
  std::string family;  // architectures[0]
  int64_t hidden = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  int64_t max_positions = 0;      // trained length
  int64_t sliding_window = 0;     // 0: none; else key j is visible to query i iff i - window < j <= i
  int64_t first_window_layer = 0;
  float norm_eps = 1e-5f;
  bool tied_head = false, qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;           // RMS norm over each head of q and k, before the rotation
  RopeSpec rope;
  std::vector<int32_t> eos;       // config.json and generation_config.json together
  std::string embedding = "model.embed_tokens", final_norm = "model.norm", lm_head = "lm_head";

  BlockNames block(int64_t layer) const;

  // All linear layers in model order, lm_head last (also when tied: then its weight is the embedding).
  std::vector<LinearSpec> linears() const;

  // What a model needs beside their weights: embedding, norms, biases.
  std::vector<PlainTensorSpec> plain_tensors() const;

  double parameters() const;  // all weights, the tied head counted once
};

// Reads config.json (and generation_config.json's eos_token_id, if that is not null). Throws Error(unsupported) naming
// the family for one that has no row in src/model/arch/family.def, Error(bad_input) for values that make no sense.
ModelSpec read_spec(const Json& config, const std::string& file, const Json& generation_config = nullptr);

// Rotation frequencies [rotary / 2] for a sequence that has `length` tokens (only those of RopeSpec::by_length depend on it).
std::vector<float> rope_frequencies(const RopeSpec& rope, int64_t length);

}  // namespace codecllm
