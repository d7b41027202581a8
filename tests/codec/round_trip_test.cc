// SPDX-License-Identifier: Apache-2.0
// What goes in comes out, bit for bit, whatever it is.
#include <gtest/gtest.h>

#include "support.h"

namespace codecllm {
namespace {

void expect_round_trip(CodeKind kind, const Bytes& data, size_t blocks, const CodeShape* shape = nullptr) {
  const Bytes coded = coded_container(kind, data, blocks, shape);
  const CodedTensor tensor = open_coded(coded, "file", "tensor");
  const Bytes got = decode_all(tensor.view);
  ASSERT_GE(got.size(), data.size());
  ASSERT_TRUE(std::equal(data.begin(), data.end(), got.begin())) << "kind " << static_cast<int>(kind);
  uint64_t state = 0;
  for (int64_t p = 0; p < tensor.view.panels; ++p) {
    const uint64_t own = checksum(0, got.data() + p * tensor.view.panel_bytes(), tensor.view.panel_bytes());
    state = checksum(state, &own, 8);
  }
  EXPECT_EQ(state, tensor.header.decoded_checksum);
}

TEST(CodecRoundTrip, EverySixteenBitPattern) {
  Bytes data;
  for (int x = 0; x < 65536; ++x) data.insert(data.end(), {static_cast<uint8_t>(x), static_cast<uint8_t>(x >> 8)});
  for (CodeKind kind : {CodeKind::bf16, CodeKind::f16}) expect_round_trip(kind, data, 64);
}

TEST(CodecRoundTrip, EveryByteAndFourByteExtremes) {
  Bytes data;
  for (int i = 0; i < 4096; ++i) data.push_back(static_cast<uint8_t>(i * 37 + i / 256));
  for (CodeKind kind : kAllKinds) expect_round_trip(kind, data, 2);
}

TEST(CodecRoundTrip, ShapesOfEveryKind) {
  Rng rng(1);
  for (CodeKind kind : kAllKinds) {
    const Bytes data = gaussian_elements(kind, 64 * 40, codes_integers(kind) ? 6 : 0.02, rng);
    ClassCounts histogram;
    histogram.add(kind, data);
    for (const CodeShape& shape : some_shapes(kind, histogram, 12)) expect_round_trip(kind, data, 10, &shape);
  }
}

TEST(CodecRoundTrip, EmptyConstantAndAdversarial) {
  Rng rng(2);
  for (CodeKind kind : kAllKinds) {
    expect_round_trip(kind, {}, 1);
    for (int value : {0, 1, 127, 128, 129, 255}) expect_round_trip(kind, Bytes(64 * 4 * 3, static_cast<uint8_t>(value)), 3);
    // Classes that stand together: a shape chosen for the whole does not fit any part.
    Bytes clustered;
    for (int part = 0; part < 12; ++part) {
      const Bytes more = gaussian_elements(kind, 64, codes_integers(kind) ? 1 << part % 7 : std::pow(10.0, part - 6), rng);
      clustered.insert(clustered.end(), more.begin(), more.end());
    }
    expect_round_trip(kind, clustered, 6);
    Bytes noise(64 * 4 * 5);
    for (uint8_t& b : noise) b = static_cast<uint8_t>(rng.next());
    expect_round_trip(kind, noise, 5);
  }
}

// Panels are independent: each decodes alone to its own part.
TEST(CodecRoundTrip, PanelsDecodeAlone) {
  Rng rng(3);
  const Bytes data = gaussian_elements(CodeKind::bf16, 64 * 7 * 5, 0.02, rng);
  const Bytes coded = coded_container(CodeKind::bf16, data, 7);
  const CodedView view = open_coded(coded, "file", "tensor").view;
  ASSERT_EQ(view.panels, 5);
  Bytes out(view.panel_bytes());
  for (int64_t p : {3, 0, 4, 1}) {
    decode_panel_portable(view, p, out.data());
    EXPECT_TRUE(std::equal(out.begin(), out.end(), data.begin() + p * view.panel_bytes()));
  }
}

double bits_per_element(CodeKind kind, const Bytes& data, size_t blocks) {
  return 8.0 * static_cast<double>(coded_container(kind, data, blocks).size() - kCodedSlack) / (static_cast<double>(data.size()) / element_bytes(kind));
}

// The promise of the format: close to the entropy of what it codes, container included.
TEST(CodecRate, IsNearTheEntropy) {
  Rng rng(4);
  struct Case {
    CodeKind kind;
    double size, slack;
  };
  for (const Case& c : {Case{CodeKind::bf16, 0.02, 0.16}, {CodeKind::f32, 0.02, 0.16}, {CodeKind::integer, 30, 0.29},
                        {CodeKind::integer, 5, 0.2}, {CodeKind::odd, 2.5, 0.09}, {CodeKind::odd, 1.2, 0.2}, {CodeKind::sparse, 0.9, 0.32}, {CodeKind::e4m3, 0.05, 0.12}}) {
    const Bytes data = gaussian_elements(c.kind, 64 * 512 * 4, c.size, rng);
    ClassCounts histogram;
    histogram.add(c.kind, data);
    const double entropy = entropy_bits(c.kind, histogram), bits = bits_per_element(c.kind, data, 512);
    EXPECT_LT(bits, entropy + c.slack) << "kind " << static_cast<int>(c.kind) << " of size " << c.size;
    EXPECT_GT(bits, entropy) << "fewer bits than the entropy: the estimate is wrong";
  }
}

// Products wait for digits behind the first, so that matrices have fewer of them where that costs little; a file takes the fewest bytes.
TEST(Codec, ProductsGetFewerDigitsThanFiles) {
  Rng rng(8);
  for (CodeKind kind : {CodeKind::bf16, CodeKind::f16, CodeKind::f32}) {
    const Bytes data = gaussian_elements(kind, 512 * kCodedBlock, 0.02, rng);
    const std::span<const uint8_t> sample = data;
    const Encoder fast(kind, {&sample, 1}, Prefer::speed), small(kind, {&sample, 1}, Prefer::bytes);
    PanelCode of_fast, of_small;
    fast.encode(data, of_fast);
    small.encode(data, of_small);
    EXPECT_LT(of_fast.digit_bytes[0], 2 * of_small.digit_bytes[0] / 3);
    EXPECT_LT(of_small.bytes.size(), of_fast.bytes.size());
    EXPECT_LT(of_fast.bytes.size(), of_small.bytes.size() * 105 / 100);
  }
}

}  // namespace
}  // namespace codecllm
