// SPDX-License-Identifier: Apache-2.0
#include "gen/profile.h"

#include <map>

#include "base/clock.h"
#include "base/rng.h"

namespace codecllm {

namespace {

// What is timed, in order: the tap that ends it, and its name. Taps between two of these come at once after the first
// ("k" and "v" after "q"), so their time is nothing.
struct Stage {
  const char* tap;
  const char* name;
};
constexpr Stage kStages[] = {{"embedding", "embedding"}, {"attention_norm", "norms"}, {"q", "qkv"},     {"k", "qkv"},
                             {"v", "qkv"},               {"attention", "attention"},  {"o", "o"},       {"mlp_norm", "norms"},
                             {"gate", "gate_up"},        {"up", "gate_up"},           {"act", "act"},   {"down", "down"},
                             {"block", "residual"},      {"final_norm", "norms"}};
constexpr const char* kOrder[] = {"embedding", "norms", "qkv", "attention", "o", "gate_up", "act", "down", "residual", "lm_head"};

using Times = std::map<std::string, double>;

Times timed_run(Forward& forward, std::span<const BatchRow> rows) {
  Times times;
  Stopwatch clock;
  forward.run(rows, [&](const TapPoint& point) {
    for (const Stage& stage : kStages)
      if (point.op == stage.tap) times[stage.name] += clock.restart();
  });
  times["lm_head"] += clock.seconds();
  return times;
}

void add_linear(std::map<std::string, OpTime>& ops, const char* op, const Matrix& weight, int64_t rows) {
  ops[op].weight_bytes += static_cast<double>(weight.bytes());
  ops[op].prefill_operations += 2.0 * static_cast<double>(weight.rows()) * static_cast<double>(weight.columns()) * static_cast<double>(rows);
}

std::string kernel_name(const Matrix& weight, std::string_view isa) {
  static constexpr const char* kNames[] = {
#define ELEMENT(id, ...) #id,
#include "kernels/element.def"
#undef ELEMENT
  };
  const MatrixView& w = weight.view();
  const char* kernel = is_integer(w.element) ? "matmul_int " : is_float8(w.element) ? "matmul_float8 " : "matmul_float ";
  std::string name = std::string(w.coded != nullptr ? "decode_panel, " : w.stored != nullptr ? "lay_out_panel, " : "") + kernel + kNames[static_cast<int>(w.element)];
  if (is_scaled(w.element)) {
    name += w.activation.mode == ActivationMode::a16 ? " x a16" : " x a8";
    if (w.group < w.columns) name += ", groups of " + std::to_string(w.group);
  }
  return name + ", " + std::string(isa);
}

void list_kernels(const DecoderModel& model, Profile& out) {
  int64_t quantized = 0, all = 0;
  std::vector<bool> plain;
  const auto add = [&](const std::string& layer, const Matrix& weight) {
    const bool is_plain = !is_scaled(weight.view().element);
    ++all;
    quantized += is_plain ? 0 : 1;
    plain.push_back(is_plain);
    out.kernels.push_back({layer, kernel_name(weight, model.context->isa())});
  };
  for (size_t i = 0; i < model.weights.blocks.size(); ++i) {
    const BlockWeights& b = model.weights.blocks[i];
    const std::string block = "block " + std::to_string(i) + " ";
    add(block + "q", b.q.weight), add(block + "k", b.k.weight), add(block + "v", b.v.weight), add(block + "o", b.o.weight);
    add(block + "gate", b.gate.weight), add(block + "up", b.up.weight), add(block + "down", b.down.weight);
  }
  add("lm_head", model.weights.head());
  for (size_t i = 0; i < plain.size(); ++i) out.kernels[i].fallback = plain[i] && 2 * quantized > all;
}

}  // namespace

Profile profile(const DecoderModel& model, const MeasureOptions& options, int rounds) {
  KvCache cache(model.spec, options.kv, options.prompt_tokens + options.decode_tokens);
  Forward forward(model, cache);
  Rng rng(7);
  std::map<std::string, std::vector<double>> prefill, decode;
  for (int round = 0; round < rounds; ++round) {
    KvSequence sequence;
    Times whole;
    random_prompts(cache, {&sequence, 1}, options.prompt_tokens, model.spec.vocab, rng, [&](auto rows) {
      for (const auto& [op, seconds] : timed_run(forward, rows)) whole[op] += seconds;
    });
    for (const auto& [op, seconds] : whole) prefill[op].push_back(seconds);
    for (int64_t i = 0; i < options.decode_tokens; ++i) {
      cache.grow(sequence, 1);
      const BatchRow row = {static_cast<int32_t>(i % model.spec.vocab), &sequence, sequence.length - 1, true};
      for (const auto& [op, seconds] : timed_run(forward, {&row, 1})) decode[op].push_back(seconds);
    }
    cache.truncate(sequence, 0);
  }

  std::map<std::string, OpTime> ops;
  for (const BlockWeights& b : model.weights.blocks) {
    for (const Linear* l : {&b.q, &b.k, &b.v}) add_linear(ops, "qkv", l->weight, options.prompt_tokens);
    for (const Linear* l : {&b.gate, &b.up}) add_linear(ops, "gate_up", l->weight, options.prompt_tokens);
    add_linear(ops, "o", b.o.weight, options.prompt_tokens);
    add_linear(ops, "down", b.down.weight, options.prompt_tokens);
  }
  add_linear(ops, "lm_head", model.weights.head(), 1);
  Profile out;
  for (const char* name : kOrder) {
    OpTime& op = ops[name];
    op.op = name;
    op.prefill_s = median(prefill[name]);
    op.decode_s = median(decode[name]);
    out.ops.push_back(op);
  }
  list_kernels(model, out);
  out.weight_bytes = model.weights.bytes();
  out.mapped_bytes = model.weights.mapped_bytes();
  out.kv_bytes = cache.bytes();
  out.scratch_bytes = forward.scratch_bytes();
  return out;
}

}  // namespace codecllm
