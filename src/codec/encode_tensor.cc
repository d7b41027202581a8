// SPDX-License-Identifier: Apache-2.0
#include "codec/encode_tensor.h"

#include <algorithm>
#include <mutex>

#include "codec/checksum.h"
#include "codec/encoder.h"

namespace codecllm {

namespace {

// An encoder for panels spread evenly over the tensor.
Encoder encoder_for(ThreadPool& pool, const TensorShape& shape, size_t panel_bytes, PanelFill fill) {
  const int64_t count = std::min<int64_t>(16, shape.panels);
  std::vector<std::vector<uint8_t>> samples(static_cast<size_t>(count));
  pool.parallel_for(samples.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      samples[i].resize(panel_bytes);
      fill(static_cast<int64_t>(i) * shape.panels / count, samples[i].data());
    }
  });
  const std::vector<std::span<const uint8_t>> spans(samples.begin(), samples.end());
  return Encoder(shape.kind, spans, shape.prefer);
}

struct CodedPanel {
  PanelCode code;
  uint64_t checksum = 0;
};

}  // namespace

uint64_t encode_tensor(ThreadPool& pool, const TensorShape& shape, PanelFill fill,
                       FunctionRef<void(uint64_t offset, const void* data, size_t bytes)> out) {
  const size_t panel_bytes = static_cast<size_t>(shape.blocks * kCodedBlock * element_bytes(shape.kind));
  const Encoder encoder = encoder_for(pool, shape, panel_bytes, fill);
  ContainerBuilder builder(encoder.shape(), static_cast<uint64_t>(shape.blocks), shape.rows, shape.columns);
  CodedHeader size_only;
  size_only.panels = static_cast<uint64_t>(shape.panels);
  const uint64_t prefix = prefix_bytes(size_only);
  const auto wave = static_cast<int64_t>(std::max<size_t>(pool.threads() * 2, (size_t{8} << 20) / panel_bytes));
  uint64_t at = prefix;
  // Kept from wave to wave: fresh memory costs more than what is done with it.
  std::vector<CodedPanel> panels(static_cast<size_t>(std::min(wave, shape.panels)));
  std::vector<std::vector<uint8_t>> scratch(pool.threads());
  for (int64_t first = 0; first < shape.panels; first += wave) {
    panels.resize(static_cast<size_t>(std::min(wave, shape.panels - first)));
    pool.parallel_for(panels.size(), 1, [&](size_t begin, size_t end, int thread) {
      std::vector<uint8_t>& elements = scratch[static_cast<size_t>(thread)];
      for (size_t p = begin; p < end; ++p) {
        elements.assign(panel_bytes, 0);
        fill(first + static_cast<int64_t>(p), elements.data());
        panels[p].checksum = checksum(0, elements.data(), elements.size());
        encoder.encode(elements, panels[p].code);
      }
    });
    for (const CodedPanel& panel : panels) {
      builder.add(panel.code, panel.checksum);
      out(at, panel.code.bytes.data(), panel.code.bytes.size());
      at += panel.code.bytes.size();
    }
  }
  const auto header = header_bytes(builder.header());
  out(0, header.data(), header.size());
  out(header.size(), builder.records().data(), builder.records().size_bytes());
  static constexpr uint8_t kZeros[kCodedSlack] = {};
  out(at, kZeros, sizeof kZeros);
  return at + kCodedSlack;
}

bool decodes_right(ThreadPool& pool, const CodedTensor& tensor, PanelDecoder decode,
                   FunctionRef<void(int64_t panel, std::span<const uint8_t> elements)> take) {
  std::vector<uint64_t> own(static_cast<size_t>(tensor.view.panels));
  pool.parallel_for(own.size(), 4, [&](size_t begin, size_t end, int) {
    std::vector<uint8_t> elements(static_cast<size_t>(tensor.view.panel_bytes()));
    for (size_t p = begin; p < end; ++p) {
      decode(tensor.view, static_cast<int64_t>(p), elements.data());
      own[p] = checksum(0, elements.data(), elements.size());
      take(static_cast<int64_t>(p), elements);
    }
  });
  uint64_t state = 0;
  for (const uint64_t& sum : own) state = checksum(state, &sum, sizeof sum);
  return state == tensor.header.decoded_checksum;
}

static int64_t count_not_finite(CodeKind kind, std::span<const uint8_t> elements) {
  if (codes_integers(kind)) return 0;
  // All bits of the exponent; of E4M3, which has no infinity, of the mantissa, too.
  const uint32_t sick = kind == CodeKind::bf16 ? 0x7F80 : kind == CodeKind::f16 ? 0x7C00 : kind == CodeKind::f32 ? 0x7F800000 : 0x7F;
  const auto bytes = static_cast<size_t>(element_bytes(kind));
  int64_t count = 0;
  for (size_t at = 0; at + bytes <= elements.size(); at += bytes) count += (load_element(elements.data() + at, static_cast<int>(bytes)) & sick) == sick;
  return count;
}

CodedContents coded_contents(ThreadPool& pool, const CodedTensor& tensor, PanelDecoder decode) {
  const CodeKind kind = tensor.header.shape.kind;
  CodedContents contents;
  ClassCounts all;
  std::mutex lock;
  decodes_right(pool, tensor, decode, [&](int64_t, std::span<const uint8_t> elements) {
    ClassCounts own;
    own.add(kind, elements);
    const int64_t sick = count_not_finite(kind, elements);
    const std::lock_guard guard(lock);
    all.add(own);
    contents.not_finite += sick;
  });
  contents.entropy_bits = entropy_bits(kind, all);
  return contents;
}

}  // namespace codecllm
