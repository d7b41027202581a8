// SPDX-License-Identifier: Apache-2.0
#include "codec/rate.h"

#include <algorithm>
#include <cmath>

#include "codec/container.h"
#include "codec/encoder.h"

namespace codecllm {

namespace {

struct Trial {
  double bits = 0, noise = 0;
};

class RateSearch {
 public:
  RateSearch(std::span<const std::vector<float>> panels, int64_t columns) : panels_(panels), columns_(columns) {}

  // What a rate costs, by the best code's exact count of bits on the sample.
  Trial attempt(const UniformRate& rate) const {
    Trial trial;
    std::vector<std::vector<uint8_t>> coded;
    std::vector<int8_t> codes(static_cast<size_t>(columns_));
    uint64_t weights = 0;
    for (const std::vector<float>& panel : panels_) {
      // The order within a block does not matter to the count.
      std::vector<uint8_t> elements(panel.size() / kCodedBlock * kCodedBlock, 0x81);
      for (size_t at = 0; at + codes.size() <= panel.size(); at += codes.size()) {
        const std::span<const float> row(panel.data() + at, codes.size());
        const float scale = rate_scale(rate, row);
        rate_codes(rate, row, scale, codes.data());
        for (size_t k = 0; k < codes.size(); ++k) {
          const double error = static_cast<double>(row[k]) - static_cast<double>(scale) * codes[k];
          trial.noise += error * error;
          if (at + k < elements.size()) elements[at + k] = static_cast<uint8_t>(codes[k] + 128);
        }
      }
      weights += elements.size();
      coded.push_back(std::move(elements));
    }
    const std::vector<std::span<const uint8_t>> spans(coded.begin(), coded.end());
    const Encoder encoder(rate.kind, spans);
    PanelCode code;
    uint64_t bytes = 0;
    for (const auto& span : spans) {
      encoder.encode(span, code);
      bytes += code.bytes.size();
    }
    trial.bits = 8.0 * static_cast<double>(bytes) / static_cast<double>(std::max<uint64_t>(1, weights));
    return trial;
  }

  // The most steps that stay within the bits.
  UniformRate finest(CodeKind kind, double bits) const {
    // One bit more for each doubling; a Gaussian has log2(steps) + 2.05 bits (Gish and Pierce), other shapes fewer.
    double low = std::exp2(bits - 3.5), high = std::exp2(bits - 1);
    for (int i = 0; i < 8; ++i) {
      const double middle = std::sqrt(low * high);
      (attempt({kind, middle}).bits <= bits ? low : high) = middle;
    }
    return {kind, low};
  }

 private:
  std::span<const std::vector<float>> panels_;
  int64_t columns_;
};

}  // namespace

float rate_scale(const UniformRate& rate, std::span<const float> row) {
  double squares = 0;
  float largest = 0;
  for (const float w : row) {
    squares += static_cast<double>(w) * w;
    largest = std::max(largest, std::fabs(w));
  }
  const double step = std::sqrt(squares / static_cast<double>(row.size())) / rate.steps_per_rms;
  const double scale = std::max(rate.kind == CodeKind::odd ? step / 2 : step, static_cast<double>(largest) / 127);
  return scale > 0 && std::isfinite(scale) ? static_cast<float>(scale) : 1.0f;
}

void rate_codes(const UniformRate& rate, std::span<const float> row, float scale, int8_t* codes) {
  for (size_t k = 0; k < row.size(); ++k) {
    const double steps = static_cast<double>(row[k]) / scale;
    const double code = rate.kind == CodeKind::odd ? 2 * std::floor(steps / 2) + 1 : std::nearbyint(steps);
    codes[k] = static_cast<int8_t>(std::clamp(code, -127.0, 127.0));
  }
}

double container_bits(int64_t rows, int64_t columns, int scale_bits) {
  const auto n = static_cast<double>(columns);
  const double header = 8.0 * static_cast<double>(kHeaderBytes + kCodedSlack) / (static_cast<double>(rows) * n);
  return scale_bits / n + 8.0 * sizeof(PanelRecord) / (16 * n) + header;
}

UniformRate choose_rate(std::span<const std::vector<float>> panels, int64_t columns, double bits, double container_bits) {
  const RateSearch search(panels, columns);
  const UniformRate tread = search.finest(CodeKind::integer, bits - container_bits);
  const UniformRate rise = search.finest(CodeKind::odd, bits - container_bits);
  return search.attempt(rise).noise < search.attempt(tread).noise ? rise : tread;
}

}  // namespace codecllm
