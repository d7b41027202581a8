// SPDX-License-Identifier: Apache-2.0
// Damaged containers: every flipped bit and every truncation is refused, and what passes a forged checksum still decodes
// without leaving its buffers (the address sanitizer looks on).
#include <gtest/gtest.h>

#include "codecllm/error.h"
#include "support.h"

namespace codecllm {
namespace {

Bytes small_container(CodeKind kind, Rng& rng) {
  return coded_container(kind, gaussian_elements(kind, 64 * 3 * 4, codes_integers(kind) ? 9 : 0.02, rng), 3);
}

TEST(CodecHostile, EveryFlippedBitIsRefused) {
  Rng rng(1);
  for (CodeKind kind : {CodeKind::integer, CodeKind::bf16, CodeKind::e4m3, CodeKind::sparse}) {
    Bytes coded = small_container(kind, rng);
    ASSERT_NO_THROW(open_coded(coded, "file", "tensor"));
    for (size_t bit = 0; bit < coded.size() * 8; bit += bit < 1024 ? 1 : 3) {
      coded[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      EXPECT_THROW(open_coded(coded, "file", "tensor"), Error) << "bit " << bit;
      coded[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
  }
}

TEST(CodecHostile, EveryTruncationIsRefused) {
  Rng rng(2);
  const Bytes coded = small_container(CodeKind::bf16, rng);
  for (size_t size = 0; size < coded.size(); size += size < 600 ? 1 : 7) {
    const Bytes part(coded.begin(), coded.begin() + size);
    EXPECT_THROW(open_coded(part, "file", "tensor"), Error) << size;
  }
  Bytes longer = coded;
  longer.push_back(0);
  EXPECT_THROW(open_coded(longer, "file", "tensor"), Error);
}

// Puts the checksum right, as an attacker would.
void forge(Bytes& coded) {
  CodedHeader header;
  std::memcpy(&header.decoded_checksum, coded.data() + 32, 8);
  try {
    open_coded(coded, "file", "tensor");
  } catch (const Error&) {
    // Where only the checksum is wrong, this is the one that is right.
    uint64_t counts, rows, columns;
    std::memcpy(&counts, coded.data() + 8, 8);
    std::memcpy(&rows, coded.data() + 16, 8);
    std::memcpy(&columns, coded.data() + 24, 8);
    header.shape = shape_of(coded.data());
    header.panels = counts >> 32;
    header.blocks = counts & 0xFFFFFFFF;
    header.rows = rows;
    header.columns = columns;
    if (header.panels > 64 || coded.size() < prefix_bytes(header) + kCodedSlack) return;
    std::vector<PanelRecord> records(header.panels);
    std::memcpy(records.data(), coded.data() + kHeaderBytes, records.size() * sizeof(PanelRecord));
    const size_t data = prefix_bytes(header), all = coded.size() - data - kCodedSlack;
    uint64_t state = 0, begin = 0;
    for (const PanelRecord& record : records) {
      if (record.end < begin || record.end > all) return;
      state = checksum(state, coded.data() + data + begin, record.end - begin);
      begin = record.end;
    }
    const uint64_t seal_value = seal(state, {coded.data() + kHeaderBytes, header.panels * sizeof(PanelRecord)}, header);
    std::memcpy(coded.data() + 40, &seal_value, 8);
  }
}

TEST(CodecHostile, ForgedContainersDecodeWithinTheirBuffers) {
  Rng rng(3);
  int opened = 0;
  for (CodeKind kind : kAllKinds) {
    const Bytes good = small_container(kind, rng);
    for (int round = 0; round < 1500; ++round) {
      Bytes bad = good;
      for (uint64_t changes = 1 + rng.below(6); changes > 0; --changes) {
        const size_t at = rng.below(3) == 0 ? rng.below(kHeaderBytes + 64) : rng.below(bad.size() - kCodedSlack);
        bad[at] = static_cast<uint8_t>(rng.below(4) == 0 ? 255 : rng.next());
      }
      forge(bad);
      try {
        const CodedTensor tensor = open_coded(bad, "file", "tensor");
        if (tensor.view.panel_bytes() > 1 << 20) continue;
        Bytes out(tensor.view.panel_bytes());
        for (int64_t p = 0; p < tensor.view.panels; ++p) decode_panel_portable(tensor.view, p, out.data());
        ++opened;
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(opened, 500) << "the forgery no longer gets past the checks, so nothing was tested";
}

// Products patch exceptions as they come, so their order is a part of the format.
TEST(CodecHostile, ExceptionsOutOfOrderAreRefused) {
  Rng rng(4);
  Bytes wild = gaussian_elements(CodeKind::integer, 64 * 40, 2, rng);
  wild[0] = wild[64 * 39] = 255;
  Bytes coded = coded_container(CodeKind::integer, wild, 40);
  const CodedTensor good = open_coded(coded, "file", "tensor");
  const PanelStreams s = streams_of(good.view, 0);
  ASSERT_GE(s.exception_count, 2);
  const size_t at = static_cast<size_t>(s.exceptions - coded.data());
  std::swap_ranges(coded.begin() + at, coded.begin() + at + 2, coded.begin() + at + 2 * (s.exception_count - 1));
  forge(coded);
  try {
    open_coded(coded, "file", "tensor");
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("out of order"), std::string::npos) << error.what();
  }
}

// A mapped file may change after it was opened: exceptions out of order, or beyond their blocks, are put nowhere else.
TEST(CodecHostile, ExceptionsStayInTheirPiece) {
  Rng rng(9);
  constexpr int64_t kCount = 200, kBegin = 8, kEnd = 16, kBytes = 2;
  int put = 0;
  for (int round = 0; round < 50; ++round) {
    Bytes entries(kCount * (3 + kBytes));
    for (int64_t i = 0; i < kCount; ++i) entries[2 * i] = static_cast<uint8_t>(rng.below(20));  // blocks, in no order
    for (int64_t i = 2 * kCount; i < 3 * kCount; ++i) entries[i] = static_cast<uint8_t>(rng.next());  // lanes
    const PanelStreams s = {.fixed = nullptr, .digits = {}, .exceptions = entries.data(), .exception_count = kCount};
    Bytes out((kEnd - kBegin) * kCodedBlock * kBytes);
    for (int64_t index = 0; index < kCount; ++index)
      index = patch_exceptions(s, kBytes, index, kBegin, kEnd, out.data(), [&](const uint8_t* to, const uint8_t* element) {
        EXPECT_GE(to, out.data());
        EXPECT_LE(to + kBytes, out.data() + out.size());
        EXPECT_GE(element, entries.data() + 3 * kCount);
        EXPECT_LE(element + kBytes, entries.data() + entries.size());
        ++put;
      });
  }
  EXPECT_GT(put, 1000);
}

}  // namespace
}  // namespace codecllm
