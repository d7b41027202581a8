// SPDX-License-Identifier: Apache-2.0
// The one decoder forward for all families: ragged rows in, logits out.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/linear.h"
#include "model/kv_cache.h"
#include "model/weights.h"

namespace codecllm {

// One token of one sequence. A batch may mix prompts and single tokens of many sequences, in slot order within each.
struct BatchRow {
  int32_t token;           // in [0, vocab); the caller checks
  KvSequence* sequence;  // already grown to hold `slot`
  int64_t slot;          // where its key and value go, and its position; it attends to slots 0 .. slot
  bool logits;           // whether its logits are wanted
};

// The only way to look inside: called with the rows of a value as it is made. Points, in order: "embedding", then per
// layer "attention_norm", "q", "k", "v" (before bias and rotation), "attention", "o", "mlp_norm", "gate", "up", "act",
// "down", "block", then "final_norm".
struct TapPoint {
  std::string_view op;
  int64_t layer;  // -1 outside the blocks
  const float* data;
  int64_t rows, columns, stride;
};
using Tap = std::function<void(const TapPoint&)>;

// Scratch for one stream of work; grows to the largest batch and stays. Not thread-safe; cheap beside the model.
class Forward {
 public:
  Forward(const DecoderModel& model, KvCache& cache);

  // Runs the rows through all layers. Returns logits [rows with .logits, vocab], valid until the next call.
  std::span<const float> run(std::span<const BatchRow> rows, const Tap& tap = {});

  // The blocks alone: hidden [rows, spec.hidden] goes in as embeddings or another model's hidden states, and comes out as
  // the last block leaves it. Calibration runs models of one block with it.
  void run_blocks(std::span<const BatchRow> rows, std::span<float> hidden, const Tap& tap = {});

  const DecoderModel& model() const { return model_; }

  // Bytes of scratch in use now.
  size_t scratch_bytes() const;

 private:
  void reserve(int64_t rows);
  void prepare_rotation(std::span<const BatchRow> rows);
  void blocks(std::span<const BatchRow> rows, const Tap& tap);
  void attention(std::span<const BatchRow> rows, int64_t layer, const Tap& tap);
  void mlp(int64_t rows, int64_t layer, const Tap& tap);
  void rotate_and_store(std::span<const BatchRow> rows, int64_t layer);
  void find_stretches(std::span<const BatchRow> rows);
  void attend(std::span<const BatchRow> rows, int64_t layer);
  void norm(const float* x, const std::vector<float>& weight, int64_t rows, float* y);
  void project(const float* x, int64_t stride, int64_t rows, std::span<const LinearOut> outs,
               std::span<const std::vector<float>* const> biases);
  void over_rows(int64_t rows, FunctionRef<void(int64_t row)> body);

  const DecoderModel& model_;
  const ModelSpec& spec_;
  KvCache& cache_;
  ThreadPool& pool_;
  const KernelTable& kernels_;
  LinearScratch linear_scratch_;
  std::vector<float> frequencies_;  // [rotary / 2]

  // Row strides are padded so that every linear finds zeros behind its last column.
  int64_t hidden_stride_, q_stride_, kv_stride_, mlp_stride_;
  std::vector<float> x_;                   // [rows, hidden_stride]: the residual stream
  std::vector<float> normed_;              // [rows, hidden_stride]
  std::vector<float> delta_;               // [rows, hidden_stride]: what a block adds
  std::vector<float> q_, attended_;        // [rows, q_stride]
  std::vector<float> k_, v_;               // [rows, kv_stride]
  std::vector<float> gate_, up_;           // [rows, mlp_stride]
  std::vector<float> cosine_, sine_;       // [rows, rotary / 2]
  struct Stretch {  // rows at consecutive slots of one sequence, few enough for one tile of attention
    size_t first;
    int64_t rows;
  };
  std::vector<Stretch> stretches_;
  std::vector<std::vector<float>> attention_scratch_;  // per worker
  std::vector<float> logits_;              // [wanted rows, vocab]
};

}  // namespace codecllm
