// SPDX-License-Identifier: Apache-2.0
#include "quant/gptq_rate.h"

#include <algorithm>
#include <mutex>

#include "codec/rate.h"
#include "codec/shapes.h"
#include "format/plain_float.h"
#include "quant/gptq_factor.h"

namespace codecllm {

namespace {

constexpr double kSlope = 0.1155;   // squared steps that a bit is worth: -dD/dR = 2 ln 2 step^2 / 12
constexpr double kMargin = 0.004;   // bits per weight for what only coding itself shows: exceptions, whole bytes
constexpr int64_t kLazyColumns = 128;

// Rounding for every column: lambda in steps of half a power of two.
class ColumnRounding {
 public:
  ColumnRounding(const RowMajor& factor, int64_t columns) {
    double mean = 0;
    for (int64_t j = 0; j < columns; ++j) mean += 1 / (factor(j, j) * factor(j, j)) / static_cast<double>(columns);
    for (int64_t j = 0; j < columns; ++j) {
      const double worth = factor(j, j) * factor(j, j) * mean;
      index_.push_back(static_cast<int>(std::clamp(std::nearbyint(2 * std::log2(worth)) + kZero, 0.0, double{kCount - 1})));
    }
  }

  void set_shape(const CodeShape& shape) {
    roundings_.clear();
    for (int i = 0; i < kCount; ++i) roundings_.emplace_back(shape, kSlope * std::exp2(0.5 * (i - kZero)));
  }

  int8_t code(int64_t column, double steps) const { return roundings_[static_cast<size_t>(index_[static_cast<size_t>(column)])].code(steps); }

 private:
  static constexpr int kCount = 25, kZero = 12;
  std::vector<int> index_;
  std::vector<RateRounding> roundings_;
};

class RateRounder {
 public:
  RateRounder(const LayerTask& task, const std::vector<float>& gram, const std::vector<int64_t>& order, const RowMajor& factor,
              const ColumnRounding& rounding)
      : task_(task), gram_(gram), order_(order), factor_(factor), rounding_(rounding), n_(task.linear.columns) {}

  // codes [columns]
  void run(int64_t row, float scale, int8_t* codes) const {
    std::vector<double> w(static_cast<size_t>(n_));
    for (int64_t j = 0; j < n_; ++j) {
      const int64_t column = order_[j];
      w[j] = gram_[column * n_ + column] > 0 ? static_cast<double>(task_.weights[row * n_ + column]) : 0.0;
    }
    round_with_feedback(factor_, w, kLazyColumns, [](int64_t, int64_t) {}, [&](int64_t j, double value) {
      const int8_t code = codes[order_[j]] = rounding_.code(j, value / static_cast<double>(scale));
      return static_cast<double>(scale) * code;
    });
  }

 private:
  const LayerTask& task_;
  const std::vector<float>& gram_;
  const std::vector<int64_t>& order_;
  const RowMajor& factor_;
  const ColumnRounding& rounding_;
  const int64_t n_;
};

}  // namespace

std::vector<Grid> gptq_rate(const Context& context, LayerTask& task, const std::vector<float>& gram, const GptqOptions& options) {
  const int64_t rows = task.linear.rows, n = task.linear.columns;
  const std::vector<int64_t> order = column_order(gram, n, options.act_order);
  const RowMajor factor = inverse_factor(gram, order, options.damping, task.linear.name);
  const double overhead = container_bits(rows, n, dtype_bits(task.scale_type)), room = task.coded_bits - overhead - kMargin;
  UniformRate rate = choose_rate({&task.weights, 1}, n, task.coded_bits, overhead);
  task.kind = rate.kind;
  ColumnRounding rounding(factor, n);
  rounding.set_shape(rate.shape);

  std::vector<Grid> grids(static_cast<size_t>(rows));
  std::vector<int8_t> codes(static_cast<size_t>(rows * n));
  double low = 0, high = 0;  // steps that take too few bits, and too many
  for (int attempt = 0; attempt < 8; ++attempt) {
    ClassCounts histogram;
    std::mutex lock;
    context.impl().pool.parallel_for(static_cast<size_t>(rows), 4, [&](size_t begin, size_t end, int) {
      const RateRounder rounder(task, gram, order, factor, rounding);
      ClassCounts own;
      std::vector<uint8_t> elements(static_cast<size_t>(n));
      for (size_t row = begin; row < end; ++row) {
        int8_t* to = codes.data() + static_cast<int64_t>(row) * n;
        const std::span<const float> weights(&task.weights[row * static_cast<size_t>(n)], static_cast<size_t>(n));
        grids[row].scale = round_to(rate_scale(rate, weights), task.scale_type);
        rounder.run(static_cast<int64_t>(row), grids[row].scale, to);
        for (int64_t k = 0; k < n; ++k) elements[k] = static_cast<uint8_t>(to[k] + 128);
        own.add(rate.kind, elements);
      }
      const std::lock_guard guard(lock);
      histogram.add(own);
    });
    double bits = 0;
    rate.shape = best_shape(rate.kind, histogram, bits);
    if (bits <= room && (room - bits < 0.01 || attempt >= 5)) break;
    (bits <= room ? low : high) = rate.steps_per_rms;
    const double next = rate.steps_per_rms * std::exp2(room - 0.003 - bits);
    rate.steps_per_rms = low > 0 && high > 0 && !(next > low && next < high) ? std::sqrt(low * high) : next;
    rounding.set_shape(rate.shape);
  }
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t k = 0; k < n; ++k)
      task.weights[row * n + k] = grids[static_cast<size_t>(row)].scale * static_cast<float>(codes[static_cast<size_t>(row * n + k)]);
  return grids;
}

}  // namespace codecllm
