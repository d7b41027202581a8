// SPDX-License-Identifier: Apache-2.0
#include "cli/unpack.h"

#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/clock.h"
#include "base/rng.h"
#include "format/float16.h"
#include "kernels/dispatch.h"

namespace codecllm::cli {

namespace {

constexpr int kZstdLevel = 3;  // the tool's own default

[[noreturn]] void unpack_failed(const char* what) { throw Error(ErrorCode::bad_input, "bench", what); }

int64_t code_bytes(const MatrixView& w) { return w.panels() * w.panel_bytes(); }

std::vector<uint8_t> zstd_frame(const MatrixView& w) {
  const auto bytes = static_cast<size_t>(code_bytes(w));
  std::vector<uint8_t> out(ZSTD_compressBound(bytes));
  const size_t size = ZSTD_compress(out.data(), out.size(), w.data, bytes, kZstdLevel);
  if (ZSTD_isError(size) != 0) unpack_failed("zstd could not compress a layer");
  out.resize(size);
  out.shrink_to_fit();
  return out;
}

bool has_byte_codes(const MatrixView& w) {
  return w.element == Element::u8 && w.groups() == 1 && w.zeros == nullptr && w.order == nullptr && w.outliers == nullptr;
}

MatrixView wide_view(const MatrixView& w, const uint8_t* data) {
  return {.element = Element::bf16, .scale_type = ScaleType::f32, .rows = w.rows, .columns = w.columns, .group = w.columns, .data = data, .scales = nullptr};
}

// A line of four columns of codes becomes two lines of two columns of BF16.
void widen_panel(const MatrixView& w, int64_t panel, const uint8_t* codes, uint8_t* wide) {
  float scales[kLineBytes];
  for (int64_t i = 0; i < kLineBytes; ++i) scales[i] = scale_of(w, panel * kPanelRows + i / 4, 0);
  const int64_t lines = w.panel_bytes() / kLineBytes, wide_lines = (w.columns + 1) / 2;
  for (int64_t line = 0; line < lines; ++line, codes += kLineBytes) {
    uint16_t values[kLineBytes];
    for (int64_t i = 0; i < kLineBytes; ++i) values[i] = f32_to_bf16(scales[i] * static_cast<float>(static_cast<int>(codes[i]) - 128));
    uint32_t pairs[kLineBytes / 2];  // [16 rows][2 pairs]
    std::memcpy(pairs, values, sizeof pairs);
    for (int64_t pair = 0; pair < 2 && 2 * line + pair < wide_lines; ++pair) {
      auto* out = reinterpret_cast<uint32_t*>(wide + (2 * line + pair) * kLineBytes);
      for (int64_t row = 0; row < kPanelRows; ++row) out[row] = pairs[2 * row + pair];
    }
  }
}

}  // namespace

UnpackedProducts::UnpackedProducts(const DecoderModel& model)
    : pool_(model.context->impl().pool), kernels_(kernels_for(model.context->impl().isa)) {
  for (const BlockWeights& b : model.weights.blocks) {
    for (const Linear* l : b.linears()) add(l->weight);
    groups_.push_back(layers_.size());
  }
  add(model.weights.head());
  groups_.push_back(layers_.size());
  size_t begin = 0;
  for (const size_t end : groups_) {
    kept_.resize(std::max(kept_.size(), end - begin));
    for (size_t i = begin; i < end; ++i) {
      allocate(layers_[i], kept_[i - begin], false);
      allocate(layers_[i], kept_[0], false);
    }
    begin = end;
  }
  for (Decoded& d : kept_)
    for (Buffer* buffer : {&d.codes, &d.wide}) std::memset(buffer->data(), 1, buffer->bytes());  // the system gives memory when it is written
  for (int i = 0; i < pool_.threads(); ++i) unpackers_.push_back(ZSTD_createDCtx());
}

void UnpackedProducts::add(const Matrix& matrix) {
  const MatrixView& w = matrix.view();
  if (!has_byte_codes(w)) {
    ++left_out_;
    return;
  }
  layers_.push_back({&matrix, zstd_frame(w.coded != nullptr ? matrix.decoded(pool_, kernels_).view() : w), std::vector<float>(static_cast<size_t>(w.rows)),
                     std::vector<float>(static_cast<size_t>(w.rows))});
  std::vector<float>& x = inputs_[w.columns];
  if (!x.empty()) return;
  Rng rng(11);
  x.resize(static_cast<size_t>(round_up(w.columns, kColumnPadding)));
  for (int64_t k = 0; k < w.columns; ++k) x[static_cast<size_t>(k)] = static_cast<float>(rng.normal());
}

UnpackedProducts::~UnpackedProducts() {
  for (ZSTD_DCtx_s* unpacker : unpackers_) ZSTD_freeDCtx(unpacker);
}

size_t UnpackedProducts::our_bytes() const {
  size_t total = 0;
  for (const Layer& layer : layers_) total += layer.matrix->bytes();
  return total;
}

size_t UnpackedProducts::packed_bytes() const {
  size_t total = 0;
  for (const Layer& layer : layers_) {
    const MatrixView& w = layer.matrix->view();
    total += layer.frame.size() + static_cast<size_t>(w.panels() * kPanelRows * scale_bytes(w.scale_type));
  }
  return total;
}

size_t UnpackedProducts::allocate(const Layer& layer, Decoded& to, bool fuse) {
  const MatrixView& w = layer.matrix->view();
  size_t fresh = 0;
  const auto fit = [&](Buffer& buffer, int64_t bytes) {
    if (buffer.bytes() >= static_cast<size_t>(bytes)) return;
    buffer = Buffer(static_cast<size_t>(bytes));
    fresh += buffer.bytes();
  };
  fit(to.codes, code_bytes(w));
  if (!fuse) fit(to.wide, w.panels() * wide_view(w, nullptr).panel_bytes());
  return fresh;
}

void UnpackedProducts::unpack(const Layer& layer, Decoded& to, int worker) {
  const auto bytes = static_cast<size_t>(code_bytes(layer.matrix->view()));
  if (ZSTD_decompressDCtx(unpackers_[static_cast<size_t>(worker)], to.codes.data(), bytes, layer.frame.data(), layer.frame.size()) != bytes)
    unpack_failed("zstd did not give a layer back");
}

void UnpackedProducts::widen(const Layer& layer, Decoded& to) {
  const MatrixView& w = layer.matrix->view();
  const int64_t wide_bytes = wide_view(w, nullptr).panel_bytes();
  const uint8_t* codes = to.codes.as<uint8_t>().data();
  uint8_t* wide = to.wide.as<uint8_t>().data();
  pool_.parallel_for(static_cast<size_t>(w.panels()), 4, [&](size_t begin, size_t end, int) {
    for (auto p = static_cast<int64_t>(begin); p < static_cast<int64_t>(end); ++p)
      widen_panel(w, p, codes + p * w.panel_bytes(), wide + p * wide_bytes);
  });
}

void UnpackedProducts::multiply(Layer& layer, const Decoded& from, bool fuse) {
  MatrixView w = layer.matrix->view();
  if (fuse) {
    w.coded = nullptr;
    w.data = from.codes.as<const uint8_t>().data();
  } else {
    w = wide_view(w, from.wide.as<const uint8_t>().data());
  }
  product(w, layer.unpacked);
}

void UnpackedProducts::product(const MatrixView& w, std::vector<float>& y) {
  const std::vector<float>& x = inputs_.at(w.columns);
  const LinearOut out = {&w, y.data(), w.rows};
  linear(pool_, kernels_, scratch_, x.data(), static_cast<int64_t>(x.size()), 1, {&out, 1});
}

UnpackTimes UnpackedProducts::run(const UnpackWay& way) {
  UnpackTimes times;
  std::vector<Decoded> fresh;
  Stopwatch clock;
  for (size_t group = 0, begin = 0; group < groups_.size(); begin = groups_[group++]) {
    const size_t count = way.batch ? groups_[group] - begin : 1;  // layers that are unpacked at once
    for (size_t first = begin; first < groups_[group]; first += count) {
      if (!way.reuse) fresh = std::vector<Decoded>(count);
      const std::span<Decoded> to = way.reuse ? kept_ : fresh;
      for (size_t i = 0; i < count; ++i) times.allocated_bytes += allocate(layers_[first + i], to[i], way.fuse);
      times.allocate += clock.restart();
      pool_.parallel_for(count, 1, [&](size_t i, size_t end, int worker) {
        for (; i < end; ++i) unpack(layers_[first + i], to[i], worker);
      });
      times.unpack += clock.restart();
      if (!way.fuse) {
        for (size_t i = 0; i < count; ++i) widen(layers_[first + i], to[i]);
        times.widen += clock.restart();
      }
      for (size_t i = 0; i < count; ++i) multiply(layers_[first + i], to[i], way.fuse);
      times.multiply += clock.restart();
    }
  }
  return times;
}

double UnpackedProducts::run_ours() {
  Stopwatch clock;
  for (Layer& layer : layers_) product(layer.matrix->view(), layer.ours);
  return clock.seconds();
}

double UnpackedProducts::largest_difference() const {
  float largest = 0, difference = 0;
  for (const Layer& layer : layers_)
    for (size_t i = 0; i < layer.ours.size(); ++i) {
      largest = std::max(largest, std::fabs(layer.ours[i]));
      difference = std::max(difference, std::fabs(layer.ours[i] - layer.unpacked[i]));
    }
  return largest > 0 ? difference / largest : 0;
}

}  // namespace codecllm::cli
