// SPDX-License-Identifier: Apache-2.0
#include "model/forward.h"

#include <algorithm>
#include <cmath>

#include "kernels/dispatch.h"

namespace codecllm {

Forward::Forward(const DecoderModel& model, KvCache& cache)
    : model_(model),
      spec_(model.spec),
      cache_(cache),
      pool_(model.context->impl().pool),
      kernels_(kernels_for(model.context->impl().isa)),
      frequencies_(rope_frequencies(spec_.rope, 0)),
      hidden_stride_(round_up(spec_.hidden, kColumnPadding)),
      q_stride_(round_up(spec_.heads * spec_.head_dim, kColumnPadding)),
      kv_stride_(round_up(spec_.kv_heads * spec_.head_dim, kColumnPadding)),
      mlp_stride_(round_up(spec_.intermediate, kColumnPadding)),
      attention_scratch_(static_cast<size_t>(pool_.threads())) {
  const int64_t shared = spec_.heads / spec_.kv_heads;
  for (auto& scratch : attention_scratch_) scratch.resize(attention_scratch(attention_rows(shared) * shared, spec_.head_dim));
}

void Forward::reserve(int64_t rows) {
  const auto fit = [rows](std::vector<float>& buffer, int64_t stride) {
    if (buffer.size() < static_cast<size_t>(rows * stride)) buffer.resize(static_cast<size_t>(rows * stride));
  };
  for (auto* buffer : {&x_, &normed_, &delta_}) fit(*buffer, hidden_stride_);
  for (auto* buffer : {&q_, &attended_}) fit(*buffer, q_stride_);
  for (auto* buffer : {&k_, &v_}) fit(*buffer, kv_stride_);
  for (auto* buffer : {&gate_, &up_}) fit(*buffer, mlp_stride_);
  for (auto* buffer : {&cosine_, &sine_}) fit(*buffer, spec_.rope.rotary / 2);
}

size_t Forward::scratch_bytes() const {
  size_t floats = x_.size() + normed_.size() + delta_.size() + q_.size() + attended_.size() + k_.size() + v_.size() +
                  gate_.size() + up_.size() + cosine_.size() + sine_.size() + logits_.size();
  for (const auto& s : attention_scratch_) floats += s.size();
  return floats * sizeof(float) + linear_scratch_.bytes();
}

void Forward::over_rows(int64_t rows, FunctionRef<void(int64_t row)> body) {
  pool_.parallel_for(static_cast<size_t>(rows), 4, [&](size_t begin, size_t end, int) {
    for (size_t row = begin; row < end; ++row) body(static_cast<int64_t>(row));
  });
}

std::span<const float> Forward::run(std::span<const BatchRow> rows, const Tap& tap) {
  const auto count = static_cast<int64_t>(rows.size());
  reserve(count);
  find_stretches(rows);
  prepare_rotation(rows);
  over_rows(count, [&](int64_t i) { read_row(model_.weights.embedding.view(), rows[i].token, &x_[i * hidden_stride_], kernels_); });
  if (tap) tap({"embedding", -1, x_.data(), count, spec_.hidden, hidden_stride_});
  blocks(rows, tap);
  norm(x_.data(), model_.weights.final_norm, count, normed_.data());
  if (tap) tap({"final_norm", -1, normed_.data(), count, spec_.hidden, hidden_stride_});

  // The head reads only the rows whose logits are wanted, moved together.
  int64_t wanted = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!rows[i].logits) continue;
    if (i != wanted)
      std::copy_n(&normed_[i * hidden_stride_], spec_.hidden, &normed_[wanted * hidden_stride_]);
    ++wanted;
  }
  const auto size = static_cast<size_t>(wanted * spec_.vocab);
  if (logits_.size() < size) logits_.resize(size);
  if (wanted > 0) {
    const LinearOut out = {&model_.weights.head().view(), logits_.data(), spec_.vocab};
    linear(pool_, kernels_, linear_scratch_, normed_.data(), hidden_stride_, wanted, {&out, 1});
  }
  return {logits_.data(), size};
}

void Forward::run_blocks(std::span<const BatchRow> rows, std::span<float> hidden, const Tap& tap) {
  const auto count = static_cast<int64_t>(rows.size());
  reserve(count);
  find_stretches(rows);
  prepare_rotation(rows);
  over_rows(count, [&](int64_t i) { std::copy_n(&hidden[i * spec_.hidden], spec_.hidden, &x_[i * hidden_stride_]); });
  blocks(rows, tap);
  over_rows(count, [&](int64_t i) { std::copy_n(&x_[i * hidden_stride_], spec_.hidden, &hidden[i * spec_.hidden]); });
}

void Forward::blocks(std::span<const BatchRow> rows, const Tap& tap) {
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    attention(rows, layer, tap);
    mlp(count, layer, tap);
    if (tap) tap({"block", layer, x_.data(), count, spec_.hidden, hidden_stride_});
  }
}

void Forward::prepare_rotation(std::span<const BatchRow> rows) {
  const int64_t half = spec_.rope.rotary / 2;
  const bool dynamic = spec_.rope.by_length();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (dynamic) frequencies_ = rope_frequencies(spec_.rope, rows[i].sequence->length);
    for (int64_t d = 0; d < half; ++d) {
      const double angle = static_cast<float>(rows[i].slot) * frequencies_[d];  // in f32, as Hugging Face does
      cosine_[i * half + d] = static_cast<float>(std::cos(angle) * spec_.rope.attention_factor);
      sine_[i * half + d] = static_cast<float>(std::sin(angle) * spec_.rope.attention_factor);
    }
  }
}

void Forward::norm(const float* x, const std::vector<float>& weight, int64_t rows, float* y) {
  over_rows(rows, [&](int64_t i) {
    kernels_.rms_norm(x + i * hidden_stride_, weight.data(), spec_.hidden, spec_.norm_eps, y + i * hidden_stride_);
  });
}

void Forward::project(const float* x, int64_t stride, int64_t rows, std::span<const LinearOut> outs,
                      std::span<const std::vector<float>* const> biases) {
  linear(pool_, kernels_, linear_scratch_, x, stride, rows, outs);
  for (size_t o = 0; o < outs.size(); ++o) {
    if (biases[o]->empty()) continue;
    over_rows(rows, [&](int64_t i) {
      kernels_.add(outs[o].y + i * outs[o].y_stride, biases[o]->data(), static_cast<int64_t>(biases[o]->size()));
    });
  }
}

void Forward::attention(std::span<const BatchRow> rows, int64_t layer, const Tap& tap) {
  const BlockWeights& block = model_.weights.blocks[layer];
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t q_size = spec_.heads * spec_.head_dim, kv_size = spec_.kv_heads * spec_.head_dim;
  norm(x_.data(), block.input_norm, count, normed_.data());
  if (tap) tap({"attention_norm", layer, normed_.data(), count, spec_.hidden, hidden_stride_});

  const LinearOut qkv[] = {{&block.q.weight.view(), q_.data(), q_stride_},
                           {&block.k.weight.view(), k_.data(), kv_stride_},
                           {&block.v.weight.view(), v_.data(), kv_stride_}};
  const std::vector<float>* const biases[] = {&block.q.bias, &block.k.bias, &block.v.bias};
  project(normed_.data(), hidden_stride_, count, qkv, biases);
  if (tap) {
    tap({"q", layer, q_.data(), count, q_size, q_stride_});
    tap({"k", layer, k_.data(), count, kv_size, kv_stride_});
    tap({"v", layer, v_.data(), count, kv_size, kv_stride_});
  }
  rotate_and_store(rows, layer);
  attend(rows, layer);
  if (tap) tap({"attention", layer, attended_.data(), count, q_size, q_stride_});

  const LinearOut out = {&block.o.weight.view(), delta_.data(), hidden_stride_};
  const std::vector<float>* const bias = &block.o.bias;
  project(attended_.data(), q_stride_, count, {&out, 1}, {&bias, 1});
  if (tap) tap({"o", layer, delta_.data(), count, spec_.hidden, hidden_stride_});
  over_rows(count, [&](int64_t i) { kernels_.add(&x_[i * hidden_stride_], &delta_[i * hidden_stride_], spec_.hidden); });
}

void Forward::rotate_and_store(std::span<const BatchRow> rows, int64_t layer) {
  const BlockWeights& block = model_.weights.blocks[layer];
  const KvView kv = cache_.layer(layer);
  const int64_t hd = spec_.head_dim, half = spec_.rope.rotary / 2;
  over_rows(static_cast<int64_t>(rows.size()), [&](int64_t i) {
    const auto finish = [&](float* heads, int64_t n, const std::vector<float>& weight) {
      for (int64_t h = 0; h < n; ++h) {
        if (spec_.qk_norm) kernels_.rms_norm(heads + h * hd, weight.data(), hd, spec_.norm_eps, heads + h * hd);
        kernels_.rotate(heads + h * hd, &cosine_[i * half], &sine_[i * half], spec_.rope.rotary);
      }
    };
    finish(&q_[i * q_stride_], spec_.heads, block.q_norm);
    finish(&k_[i * kv_stride_], spec_.kv_heads, block.k_norm);
    kernels_.store_kv(kv, rows[i].sequence->blocks[rows[i].slot / kKvBlock], rows[i].slot % kKvBlock,
                      &k_[i * kv_stride_], &v_[i * kv_stride_]);
  });
}

void Forward::find_stretches(std::span<const BatchRow> rows) {
  const int64_t most = attention_rows(spec_.heads / spec_.kv_heads);
  stretches_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool goes_on = i > 0 && rows[i].sequence == rows[i - 1].sequence && rows[i].slot == rows[i - 1].slot + 1;
    if (goes_on && stretches_.back().rows < most) {
      ++stretches_.back().rows;
    } else {
      stretches_.push_back({i, 1});
    }
  }
}

void Forward::attend(std::span<const BatchRow> rows, int64_t layer) {
  const KvView kv = cache_.layer(layer);
  const int64_t shared = spec_.heads / spec_.kv_heads, hd = spec_.head_dim;
  const bool windowed = spec_.sliding_window > 0 && layer >= spec_.first_window_layer;
  const auto heads = static_cast<size_t>(spec_.kv_heads);
  pool_.parallel_for(stretches_.size() * heads, 1, [&](size_t begin, size_t end, int worker) {
    for (size_t item = begin; item < end; ++item) {
      const Stretch& stretch = stretches_[item / heads];
      const auto h = static_cast<int64_t>(item % heads);
      const int64_t at = static_cast<int64_t>(stretch.first) * q_stride_ + h * shared * hd;
      kernels_.attend(kv, {.query = &q_[at],
                           .out = &attended_[at],
                           .stride = q_stride_,
                           .rows = stretch.rows,
                           .query_heads = shared,
                           .kv_head = h,
                           .blocks = rows[stretch.first].sequence->blocks.data(),
                           .count = rows[stretch.first].slot + 1,
                           .window = windowed ? spec_.sliding_window : 0,
                           .scale = 1.0f / std::sqrt(static_cast<float>(hd)),
                           .scratch = attention_scratch_[worker].data()});
    }
  });
}

void Forward::mlp(int64_t rows, int64_t layer, const Tap& tap) {
  const BlockWeights& block = model_.weights.blocks[layer];
  norm(x_.data(), block.mlp_norm, rows, normed_.data());
  if (tap) tap({"mlp_norm", layer, normed_.data(), rows, spec_.hidden, hidden_stride_});
  const LinearOut gate_up[] = {{&block.gate.weight.view(), gate_.data(), mlp_stride_},
                               {&block.up.weight.view(), up_.data(), mlp_stride_}};
  const std::vector<float>* const biases[] = {&block.gate.bias, &block.up.bias};
  project(normed_.data(), hidden_stride_, rows, gate_up, biases);
  if (tap) {
    tap({"gate", layer, gate_.data(), rows, spec_.intermediate, mlp_stride_});
    tap({"up", layer, up_.data(), rows, spec_.intermediate, mlp_stride_});
  }
  over_rows(rows, [&](int64_t i) { kernels_.silu_mul(&gate_[i * mlp_stride_], &up_[i * mlp_stride_], spec_.intermediate); });
  if (tap) tap({"act", layer, gate_.data(), rows, spec_.intermediate, mlp_stride_});
  const LinearOut out = {&block.down.weight.view(), delta_.data(), hidden_stride_};
  const std::vector<float>* const bias = &block.down.bias;
  project(gate_.data(), mlp_stride_, rows, {&out, 1}, {&bias, 1});
  if (tap) tap({"down", layer, delta_.data(), rows, spec_.hidden, hidden_stride_});
  over_rows(rows, [&](int64_t i) { kernels_.add(&x_[i * hidden_stride_], &delta_[i * hidden_stride_], spec_.hidden); });
}

}  // namespace codecllm
