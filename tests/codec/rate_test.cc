// SPDX-License-Identifier: Apache-2.0
// A rate is kept, and what it buys is near what theory gives.
#include <gtest/gtest.h>

#include "codec/rate.h"
#include "support.h"

namespace codecllm {
namespace {

struct Coded {
  double bits = 0, sqnr_db = 0;
  CodeShape shape = {};
};

std::vector<std::vector<float>> sample_panels(bool heavy, int64_t columns, int panels, Rng& rng) {
  std::vector<std::vector<float>> out(static_cast<size_t>(panels));
  for (auto& panel : out)
    for (int64_t i = 0; i < 16 * columns; ++i) {
      double x = rng.normal();
      if (heavy) {  // Student-t with five degrees of freedom
        double chi = 0;
        for (int d = 0; d < 5; ++d) chi += std::pow(rng.normal(), 2);
        x /= std::sqrt(chi / 5);
      }
      panel.push_back(static_cast<float>(0.02 * x));
    }
  return out;
}

// True bits, container and 16-bit scales included.
Coded code(const std::vector<std::vector<float>>& panels, int64_t columns, double bits) {
  const auto rows = static_cast<int64_t>(panels.size()) * 16;
  const UniformRate rate = choose_rate(panels, columns, bits, container_bits(rows, columns, 16));
  Bytes elements;
  std::vector<int8_t> codes(static_cast<size_t>(columns));
  double signal = 0, noise = 0;
  for (const auto& panel : panels)
    for (size_t at = 0; at < panel.size(); at += codes.size()) {
      const std::span<const float> row(panel.data() + at, codes.size());
      const float scale = rate_scale(rate, row);
      rate_codes(rate, row, scale, codes.data());
      for (size_t k = 0; k < codes.size(); ++k) {
        elements.push_back(static_cast<uint8_t>(codes[k] + 128));
        signal += std::pow(row[k], 2);
        noise += std::pow(row[k] - scale * codes[k], 2);
      }
    }
  const Bytes container = coded_container(rate.kind, elements, static_cast<size_t>(columns / 4));
  return {(8.0 * static_cast<double>(container.size()) + 16.0 * static_cast<double>(rows)) / static_cast<double>(elements.size()),
          10 * std::log10(signal / noise), open_coded(container, "file", "tensor").header.shape};
}

TEST(CodecRate, IsKeptAndBuysNearlyWhatTheoryGives) {
  Rng rng(11);
  constexpr int64_t kColumns = 1024;
  const auto normal = sample_panels(false, kColumns, 4, rng), heavy = sample_panels(true, kColumns, 4, rng);
  // Shannon's bound for a Gaussian is 6.02 dB a bit; scalar codes lose 1.53 dB of it at high rates, less at low ones, and the
  // container of so small a matrix 0.6 dB.
  for (const auto& [bits, loss] : {std::pair{2.0, 4.0}, {2.5, 3.45}, {3.0, 2.95}, {3.5, 2.6}, {4.5, 2.65}, {6.0, 3.1}}) {
    const Coded coded = code(normal, kColumns, bits);
    EXPECT_LE(coded.bits, bits + 0.003);
    EXPECT_GT(coded.bits, bits - 0.05);
    EXPECT_GT(coded.sqnr_db, 6.02 * bits - loss) << bits << " bits";
  }
  for (const auto& [bits, sqnr] : {std::pair{2.0, 8.7}, {3.0, 15.4}, {4.5, 24.2}}) {
    const Coded coded = code(heavy, kColumns, bits);
    EXPECT_LE(coded.bits, bits + 0.003);
    EXPECT_GT(coded.sqnr_db, sqnr) << bits << " bits";
  }
}

// The cost of a rounding decision is in the code, not only in the distance.
TEST(CodecRate, RoundingIsTheBestOfAllLevels) {
  const CodeShape odd = {CodeKind::odd, 1, {2, 1, 1, 2}, {}}, sparse = {CodeKind::sparse, 0, {1, 1, 1}, {}}, integer = {CodeKind::integer, 2, {2, 2, 3}, {}};
  Rng rng(12);
  for (const CodeShape& shape : {odd, sparse, integer})
    for (const double lambda : {0.0, 0.1155, 0.5}) {
      const RateRounding rounding(shape, lambda);
      const int step = shape.kind == CodeKind::odd ? 2 : 1;
      for (int i = 0; i < 2000; ++i) {
        const double x = rng.normal() * (i % 10 == 0 ? 60 : 6);
        const auto cost = [&](int code) {
          const double error = (x - code) / step;
          return error * error + lambda * class_bits(shape, split_element(shape, static_cast<uint32_t>(code + 128)).selector);
        };
        double best = INFINITY;
        for (int code = -127; code <= 127; code += step)
          if (code * x >= 0) best = std::min(best, cost(code));
        EXPECT_NEAR(cost(rounding.code(x)), best, 1e-5 * best) << x;
      }
    }
}

}  // namespace
}  // namespace codecllm
