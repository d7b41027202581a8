// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "codec/checksum.h"
#include "codec/container.h"
#include "codec/decoder.h"
#include "codec/encoder.h"

namespace codecllm {

using Bytes = std::vector<uint8_t>;

inline uint64_t decoded_bytes(const CodedView& view) { return static_cast<uint64_t>(view.panels * view.panel_bytes()); }

// A container of whole panels of `blocks` blocks, by the shape or in the fewest bytes; `data` is filled up with zeros.
inline Bytes coded_container(CodeKind kind, Bytes data, size_t blocks, const CodeShape* shape = nullptr) {
  const size_t panel = blocks * kCodedBlock * static_cast<size_t>(element_bytes(kind));
  data.resize((data.size() + panel - 1) / panel * panel);
  std::vector<std::span<const uint8_t>> panels;
  for (size_t at = 0; at < data.size(); at += panel) panels.push_back(std::span<const uint8_t>(data).subspan(at, panel));
  const Encoder encoder = shape != nullptr ? Encoder(*shape) : Encoder(kind, panels, Prefer::bytes);
  ContainerBuilder builder(encoder.shape(), blocks, 1, data.size() / static_cast<size_t>(element_bytes(kind)));
  Bytes body;
  PanelCode code;
  for (const auto& p : panels) {
    encoder.encode(p, code);
    builder.add(code, checksum(0, p.data(), p.size()));
    body.insert(body.end(), code.bytes.begin(), code.bytes.end());
  }
  const auto header = header_bytes(builder.header());
  Bytes out(header.begin(), header.end());
  const auto* records = reinterpret_cast<const uint8_t*>(builder.records().data());
  out.insert(out.end(), records, records + builder.records().size_bytes());
  out.insert(out.end(), body.begin(), body.end());
  out.resize(out.size() + kCodedSlack);
  return out;
}

inline Bytes decode_all(const CodedView& view) {
  Bytes out(decoded_bytes(view));
  for (int64_t p = 0; p < view.panels; ++p) decode_panel_portable(view, p, out.data() + p * view.panel_bytes());
  return out;
}

inline Bytes gaussian_elements(CodeKind kind, size_t count, double size, Rng& rng) {
  Bytes out;
  for (size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(rng.normal() * size);
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    if (codes_integers(kind)) {
      int code = static_cast<int>(kind == CodeKind::sparse ? std::nearbyint(value) : std::floor(value));
      if (kind == CodeKind::odd) code = 2 * code + 1;
      out.push_back(static_cast<uint8_t>(std::clamp(code, -127, 127) + 128));
    } else if (kind == CodeKind::bf16) {
      out.insert(out.end(), {static_cast<uint8_t>(bits >> 16), static_cast<uint8_t>(bits >> 24)});
    } else if (kind == CodeKind::e4m3) {  // exponents below 15, so that none is NaN
      const int exponent = std::clamp(static_cast<int>(bits >> 23 & 255) - 112, 0, 14);
      out.push_back(static_cast<uint8_t>(bits >> 31 << 7 | static_cast<uint32_t>(exponent) << 3 | (bits >> 20 & 7)));
    } else if (kind == CodeKind::f16) {  // a made-up half of the same kind of exponents
      const int exponent = std::clamp(static_cast<int>(bits >> 23 & 255) - 112, 0, 30);
      const uint32_t half = bits >> 31 << 15 | static_cast<uint32_t>(exponent) << 10 | (bits >> 13 & 1023);
      out.insert(out.end(), {static_cast<uint8_t>(half), static_cast<uint8_t>(half >> 8)});
    } else {
      for (int b = 0; b < 4; ++b) out.push_back(static_cast<uint8_t>(bits >> (8 * b)));
    }
  }
  return out;
}

// Of the shapes with the same low bits and first digit, `each` and both ends.
inline std::vector<CodeShape> some_shapes(CodeKind kind, const ClassCounts& histogram, size_t each) {
  const std::vector<CodeShape> all = shapes_of(kind, histogram);
  std::vector<CodeShape> some;
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    while (end < all.size() && all[end].low_bits == all[begin].low_bits && all[end].digit_bits[0] == all[begin].digit_bits[0]) ++end;
    for (size_t i = 0, last = begin; i <= each; ++i, last = begin + (end - 1 - begin) * i / each)
      if (i == 0 || last != begin + (end - 1 - begin) * (i - 1) / each) some.push_back(all[last]);
  }
  return some;
}

inline std::string name_of(const CodeShape& shape) {
  std::string name = std::string(kCodeKindNames[static_cast<int>(shape.kind)]) + " low bits " + std::to_string(shape.low_bits) + " digits";
  for (const int bits : shape.digit_bits) name += " " + std::to_string(bits);
  return name;
}

constexpr CodeKind kAllKinds[] = {CodeKind::integer, CodeKind::odd, CodeKind::bf16, CodeKind::f16, CodeKind::f32, CodeKind::e4m3, CodeKind::sparse};

}  // namespace codecllm
