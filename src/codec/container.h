// SPDX-License-Identifier: Apache-2.0
// A coded tensor as bytes: header, panel records, panels. docs/codec.md is the specification.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "codec/coded_view.h"
#include "codec/encoder.h"

namespace codecllm {

constexpr int kContainerVersion = 2;
constexpr size_t kHeaderBytes = 64;

struct CodedHeader {
  CodeShape shape = {};
  uint64_t panels = 0, blocks = 0;
  uint64_t rows = 0, columns = 0;  // of the matrix; a plain run of elements is one row
  uint64_t decoded_checksum = 0;   // of the panels' checksums, each of a panel's decoded bytes
  uint64_t coded_checksum = 0;     // see seal()
};

// Header and records take this many bytes; the panels follow.
inline uint64_t prefix_bytes(const CodedHeader& header) { return kHeaderBytes + header.panels * sizeof(PanelRecord); }

// All of a container.
inline uint64_t container_bytes(const CodedView& view) {
  return kHeaderBytes + static_cast<uint64_t>(view.panels) * sizeof(PanelRecord) + (view.panels == 0 ? 0 : view.record(view.panels - 1).end) + kCodedSlack;
}

std::array<uint8_t, kHeaderBytes> header_bytes(const CodedHeader& header);
// The shape that header bytes say; it may be none that decoders know.
CodeShape shape_of(const uint8_t* header);

// The checksum of all coded bytes: of the panels in order, then of the records, then of the header's own fields.
// panels_checksum: checksum() of each panel's bytes, one after another, from 0.
uint64_t seal(uint64_t panels_checksum, std::span<const uint8_t> records, const CodedHeader& header);

// Records and checksums of panels that are coded one after another.
class ContainerBuilder {
 public:
  ContainerBuilder(const CodeShape& shape, uint64_t blocks, uint64_t rows, uint64_t columns);
  void add(const PanelCode& panel, uint64_t decoded_checksum);  // in order
  CodedHeader header() const;  // with checksums
  std::span<const PanelRecord> records() const { return records_; }

 private:
  CodedHeader header_;
  std::vector<PanelRecord> records_;
  uint64_t panels_checksum_ = 0, decoded_checksum_ = 0;
};

struct CodedTensor {
  CodedHeader header;
  CodedView view;  // points into the bytes
};

// What the header says, of a shape that decoders know; nothing behind it is read. Throws as open_coded.
CodedHeader coded_header(std::span<const uint8_t> bytes, const std::string& file, const std::string& tensor);

// Checks everything that decoding relies on, and the checksum of the coded bytes. Even with a false checksum made to
// agree, no bytes of the panels can make a decoder leave its buffers, also if they change afterwards (the records must not). Throws Error(bad_input), or Error(unsupported) for a newer
// version, with `file` and `tensor`.
CodedTensor open_coded(std::span<const uint8_t> bytes, const std::string& file, const std::string& tensor);

}  // namespace codecllm
