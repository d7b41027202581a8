// SPDX-License-Identifier: Apache-2.0
// A model's weights in the kernels' order.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/function_ref.h"
#include "io/checkpoint.h"
#include "kernels/matrix.h"
#include "model/spec.h"

namespace codecllm {

struct Linear {
  Matrix weight;            // [out, in]
  std::vector<float> bias;  // [out] or empty
};

struct BlockWeights {
  std::vector<float> input_norm, mlp_norm;  // [hidden]
  std::vector<float> q_norm, k_norm;        // [head_dim], with ModelSpec::qk_norm
  Linear q, k, v, o, gate, up, down;

  std::array<Linear*, 7> linears() { return {&q, &k, &v, &o, &gate, &up, &down}; }
  std::array<const Linear*, 7> linears() const { return {&q, &k, &v, &o, &gate, &up, &down}; }
};

struct ModelWeights {
  Matrix embedding;  // [vocab, hidden]; also the head when tied
  std::vector<BlockWeights> blocks;
  std::vector<float> final_norm;  // [hidden]
  Matrix lm_head;                 // [vocab, hidden], empty when tied

  const Matrix& head() const { return lm_head.rows() == 0 ? embedding : lm_head; }
  size_t bytes() const;
  size_t mapped_bytes() const;  // of these, in mapped files
};

// A loaded model is immutable and may be used by any number of threads, each with a Forward of its own.
struct DecoderModel {
  const Context* context;
  ModelSpec spec;
  ModelWeights weights;
  std::string scheme;  // what most linear layers have: a preset's name, or an element type's
  std::shared_ptr<const Checkpoint> mapped = nullptr;  // where weights stay in their files

  // What one decode step reads: every matrix once, one row of an untied embedding.
  size_t read_bytes_per_token() const;
};

// Loads every tensor that the model's spec names, checks its shape against config.json, and lays it out for the
// kernels. Weights keep their file's type. Throws Error that names the tensor and file. mapped: matrices stay in their files
// wherever products can read them there; Error(unsupported) for a checkpoint whose layout is not ours.
DecoderModel load_model(const Context& context, const std::string& directory, const Progress& progress = {}, bool mapped = false);

// One decoder block of a checkpoint, with the checks of load_model.
BlockWeights load_block(const Context& context, const Checkpoint& checkpoint, const ModelSpec& spec, int64_t layer);

// config.json and, where it exists, generation_config.json of a checkpoint.
ModelSpec read_spec(const Checkpoint& checkpoint);

// A tensor that is stored plain. Throws Error(bad_input) where it is missing or config.json gives it another shape,
// Error(unsupported) for a type that is not F32, BF16 or F16.
const TensorInfo& need_floats(const Checkpoint& checkpoint, const std::string& name, const std::vector<int64_t>& shape);

// Calls bad(error) for every tensor that load_model would refuse because it is missing or, plain, packed or coded, of
// another shape or type than the model's.
void check_tensors(const ModelSpec& spec, const Checkpoint& checkpoint, FunctionRef<void(const Error&)> bad);
void check_tensors(const ModelSpec& spec, const Checkpoint& checkpoint);  // throws the first

// Throws Error(bad_input) for a shape that is not the one that config.json gives.
void check_shape(const std::vector<int64_t>& shape, const std::vector<int64_t>& expected, const ErrorPlace& place);

}  // namespace codecllm
