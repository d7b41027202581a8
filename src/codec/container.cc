// SPDX-License-Identifier: Apache-2.0
#include "codec/container.h"

#include <algorithm>
#include <cstring>

#include "codec/checksum.h"
#include "codec/shapes.h"
#include "codecllm/error.h"

namespace codecllm {

namespace {

constexpr uint8_t kMagic[4] = {'C', 'L', 'L', 'M'};
constexpr uint64_t kMostBlocks = 65536;  // an exception says its block in 16 bits

bool known_shape(const CodeShape& shape) {
  if (shape.kind > kLastKind || shape.low_bits > most_low_bits(shape.kind)) return false;
  const bool integers = codes_integers(shape.kind);
  for (int digit = 0; digit < kMostDigits; ++digit) {
    const int bits = shape.digit_bits[digit];
    if (bits > most_digit_bits(shape.kind, digit) || (integers && shape.low_bits + bits > 7)) return false;
    if (digit > 0 && bits > 0 && shape.digit_bits[digit - 1] == 0) return false;
  }
  return shape.digit_bits[0] >= (integers ? 1 : 2) && shape.digit_bits[1] > 0;
}

// What is wrong with one panel, or nothing.
const char* damage(const CodedView& view, int64_t panel, uint64_t begin) {
  const PanelRecord record = view.record(panel);
  const uint64_t fixed = static_cast<uint64_t>(view.blocks) * static_cast<uint64_t>(view.block_bytes());
  const uint64_t parts = fixed + record.second_bytes + record.third_bytes + record.fourth_bytes;  // fixed is below 2^24
  if (record.end < begin || record.end - begin < parts) return "a panel that ends before it begins";
  const uint64_t entry = 3 + static_cast<uint64_t>(element_bytes(view.shape.kind));
  if ((record.end - begin - parts) % entry != 0) return "exceptions that are not whole";
  const PanelStreams s = streams_of(view, panel);
  const uint8_t* lanes = s.exceptions + 2 * s.exception_count;
  for (int64_t i = 0, last = 0; i < s.exception_count; ++i) {
    const int64_t block = s.exceptions[2 * i] | s.exceptions[2 * i + 1] << 8;
    if (block >= view.blocks) return "an exception beyond its panel";
    if (block < last) return "exceptions out of order";
    last = block;
    if (lanes[i] >= kCodedBlock) return "an exception beyond its block";
  }
  return nullptr;
}

}  // namespace

CodeShape shape_of(const uint8_t* header) {
  const auto half = [&](int at) { return static_cast<uint8_t>(header[at / 2] >> (at % 2 * 4) & 15); };
  CodeShape shape = {.kind = static_cast<CodeKind>(half(10)), .low_bits = half(11), .digit_bits = {half(12), half(13), half(14), half(15)}, .table = {}};
  std::memcpy(shape.table, header + 48, kClasses);
  return shape;
}

std::array<uint8_t, kHeaderBytes> header_bytes(const CodedHeader& header) {
  std::array<uint8_t, kHeaderBytes> out = {};
  const CodeShape& shape = header.shape;
  std::memcpy(out.data(), kMagic, 4);
  const auto two = [](int low, int high) { return static_cast<uint8_t>(low | high << 4); };
  const uint8_t small[4] = {kContainerVersion, two(static_cast<int>(shape.kind), shape.low_bits), two(shape.digit_bits[0], shape.digit_bits[1]),
                            two(shape.digit_bits[2], shape.digit_bits[3])};
  std::memcpy(out.data() + 4, small, 4);
  const uint64_t numbers[5] = {header.panels << 32 | header.blocks, header.rows, header.columns, header.decoded_checksum,
                               header.coded_checksum};
  for (int n = 0; n < 5; ++n)
    for (int b = 0; b < 8; ++b) out[8 + n * 8 + b] = static_cast<uint8_t>(numbers[n] >> (8 * b));
  std::memcpy(out.data() + 48, shape.table, kClasses);
  return out;
}

uint64_t seal(uint64_t panels_checksum, std::span<const uint8_t> records, const CodedHeader& header) {
  const auto own = header_bytes(header);
  uint64_t state = checksum(panels_checksum, records.data(), records.size());
  state = checksum(state, own.data(), 40);
  return checksum(state, own.data() + 48, kClasses);
}

ContainerBuilder::ContainerBuilder(const CodeShape& shape, uint64_t blocks, uint64_t rows, uint64_t columns) {
  header_ = {.shape = shape, .blocks = blocks, .rows = rows, .columns = columns};
}

void ContainerBuilder::add(const PanelCode& panel, uint64_t decoded_checksum) {
  const uint64_t begin = records_.empty() ? 0 : records_.back().end;
  if ((begin + panel.bytes.size()) >> 40 != 0) throw Error(ErrorCode::unsupported, "codec", "a tensor of more than 1 TB when coded");
  records_.push_back({.end = begin + panel.bytes.size(), .fourth_bytes = panel.digit_bytes[2], .second_bytes = panel.digit_bytes[0], .third_bytes = panel.digit_bytes[1]});
  panels_checksum_ = checksum(panels_checksum_, panel.bytes.data(), panel.bytes.size());
  decoded_checksum_ = checksum(decoded_checksum_, &decoded_checksum, sizeof decoded_checksum);
}

CodedHeader ContainerBuilder::header() const {
  CodedHeader header = header_;
  header.panels = records_.size();
  header.decoded_checksum = decoded_checksum_;
  header.coded_checksum = seal(panels_checksum_, {reinterpret_cast<const uint8_t*>(records_.data()), records_.size() * sizeof(PanelRecord)}, header);
  return header;
}

CodedHeader coded_header(std::span<const uint8_t> bytes, const std::string& file, const std::string& tensor) {
  const auto fail = [&](ErrorCode code, const std::string& what) {
    throw Error(code, "codec", what, {.file = file, .tensor = tensor});
  };
  const auto number = [&](size_t at) {
    uint64_t x = 0;
    for (int b = 0; b < 8; ++b) x |= static_cast<uint64_t>(bytes[at + b]) << (8 * b);
    return x;
  };
  if (bytes.size() < kHeaderBytes + kCodedSlack || std::memcmp(bytes.data(), kMagic, 4) != 0)
    fail(ErrorCode::bad_input, "this is no coded tensor");
  if (bytes[4] != kContainerVersion)
    fail(ErrorCode::unsupported, "coded by version " + std::to_string(bytes[4]) + " of the container, which is not version " + std::to_string(kContainerVersion) +
                                     (bytes[4] < kContainerVersion ? "; make it anew from the original" : "; update codecllm"));
  CodedHeader header;
  header.shape = shape_of(bytes.data());
  header.blocks = number(8) & 0xFFFFFFFF;
  header.panels = number(8) >> 32;
  header.rows = number(16);
  header.columns = number(24);
  header.decoded_checksum = number(32);
  header.coded_checksum = number(40);
  if (!known_shape(header.shape)) fail(ErrorCode::bad_input, "a code that does not exist; the file is damaged");
  return header;
}

CodedTensor open_coded(std::span<const uint8_t> bytes, const std::string& file, const std::string& tensor) {
  CodedTensor out = {.header = coded_header(bytes, file, tensor), .view = {}};
  const CodedHeader& header = out.header;
  const auto fail = [&](ErrorCode code, const std::string& what) { throw Error(code, "codec", what, {.file = file, .tensor = tensor}); };
  if (header.blocks == 0 || header.blocks > kMostBlocks) fail(ErrorCode::bad_input, "panels of no or too many blocks");
  if (header.panels > (bytes.size() - kHeaderBytes - kCodedSlack) / sizeof(PanelRecord))
    fail(ErrorCode::bad_input, "shorter than its panels");
  out.view = {header.shape, static_cast<int64_t>(header.panels), static_cast<int64_t>(header.blocks),
              bytes.data() + kHeaderBytes, bytes.data() + prefix_bytes(header)};
  const uint64_t data = bytes.size() - prefix_bytes(header) - kCodedSlack;
  uint64_t begin = 0;
  for (int64_t panel = 0; panel < out.view.panels; ++panel) {
    if (out.view.record(panel).end > data) fail(ErrorCode::bad_input, "shorter than its panels");
    if (const char* what = damage(out.view, panel, begin)) fail(ErrorCode::bad_input, std::string(what) + "; the file is damaged");
    begin = out.view.record(panel).end;
  }
  if (begin != data) fail(ErrorCode::bad_input, "longer than its panels");
  const auto slack = bytes.last(kCodedSlack);
  if (std::any_of(slack.begin(), slack.end(), [](uint8_t b) { return b != 0; }))
    fail(ErrorCode::bad_input, "no zeros at its end; the file is damaged");
  uint64_t state = begin = 0;
  for (int64_t panel = 0; panel < out.view.panels; ++panel) {
    state = checksum(state, out.view.data + begin, out.view.record(panel).end - begin);
    begin = out.view.record(panel).end;
  }
  if (seal(state, {out.view.records, header.panels * sizeof(PanelRecord)}, header) != header.coded_checksum)
    fail(ErrorCode::bad_input, "its checksum does not agree; the file is damaged");
  return out;
}

}  // namespace codecllm
