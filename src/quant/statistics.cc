// SPDX-License-Identifier: Apache-2.0
#include "quant/statistics.h"

#include <algorithm>
#include <cmath>

#include "codecllm/error.h"
#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/matrix.h"

namespace codecllm {

static constexpr int64_t kGramRows = 1024;  // rows that enter X^T X at once, so that a product is worth its set-up

InputStatistics::InputStatistics(const Context& context, int64_t columns, unsigned kinds)
    : context_(context), columns_(columns), kinds_(kinds) {
  const auto n = static_cast<size_t>(columns);
  if ((kinds & kChannelStatistics) != 0) amax_.resize(n), sum_.resize(n), squares_.resize(n);
  if ((kinds & kGramStatistics) != 0) gram_.resize(n * n);
}

void InputStatistics::add(const float* x, int64_t rows, int64_t stride, const std::string& what) {
  ThreadPool& pool = context_.impl().pool;
  std::vector<float> values(static_cast<size_t>(rows * columns_));
  for (int64_t r = 0; r < rows; ++r) std::copy_n(x + r * stride, columns_, values.begin() + r * columns_);
  if (!divisors_.empty())
    for (size_t i = 0; i < values.size(); ++i) values[i] /= divisors_[i % divisors_.size()];
  const Range range = finite_range(values);
  if (std::isnan(range.low))
    throw Error(ErrorCode::bad_input, "calibrate", "what " + what + " reads is not finite; the model is damaged");
  largest_ = std::max(largest_, range.amax());
  if ((kinds_ & kRangeStatistics) != 0) histogram_.add(values);
  if ((kinds_ & kChannelStatistics) != 0)
    pool.parallel_for(static_cast<size_t>(columns_), 64, [&](size_t begin, size_t end, int) {
      for (int64_t r = 0; r < rows; ++r)
        for (size_t c = begin; c < end; ++c) {
          const float magnitude = std::fabs(values[static_cast<size_t>(r * columns_) + c]);
          amax_[c] = std::max(amax_[c], magnitude);
          sum_[c] += magnitude;
          squares_[c] += static_cast<double>(magnitude) * magnitude;
        }
    });
  rows_ += rows;
  if ((kinds_ & kGramStatistics) == 0) return;
  pending_.insert(pending_.end(), values.begin(), values.end());
  if (static_cast<int64_t>(pending_.size()) >= kGramRows * columns_) add_gram();
}

void InputStatistics::add_gram() {
  const int64_t count = static_cast<int64_t>(pending_.size()) / columns_, stride = round_up(count, kColumnPadding);
  if (count == 0) return;
  ThreadPool& pool = context_.impl().pool;
  const KernelTable& kernels = kernels_for(context_.impl().isa);
  std::vector<float> transposed(static_cast<size_t>(columns_ * stride));  // [columns, stride]
  Matrix matrix(Element::f32, columns_, count, count, ScaleType::f32);
  pool.parallel_for(static_cast<size_t>(matrix.view().panels()), 1, [&](size_t begin, size_t end, int) {
    for (auto panel = static_cast<int64_t>(begin); panel < static_cast<int64_t>(end); ++panel) {
      const void* rows[kPanelRows];
      const int64_t first = panel * kPanelRows, n = std::min(kPanelRows, columns_ - first);
      for (int64_t i = 0; i < n; ++i) {
        float* row = &transposed[(first + i) * stride];
        for (int64_t r = 0; r < count; ++r) row[r] = pending_[r * columns_ + first + i];
        rows[i] = row;
      }
      matrix.set_panel(panel, Matrix::FloatRows(rows, static_cast<size_t>(n)), DType::f32);
    }
  });
  // The product's panels of columns from each run of rows on: the upper triangle.
  constexpr int64_t kRun = 4 * kPanelRows;
  pool.parallel_for(static_cast<size_t>((columns_ + kRun - 1) / kRun), 1, [&](size_t begin, size_t end, int) {
    std::vector<float> product(static_cast<size_t>(kRun * columns_)), tiles;
    for (auto run = static_cast<int64_t>(begin); run < static_cast<int64_t>(end); ++run) {
      const int64_t first = run * kRun, n = std::min(kRun, columns_ - first);
      const FloatRows x = interleave(nullptr, kernels, Element::f32, &transposed[first * stride], stride, n, count, tiles);
      kernels.matmul_float(matrix.view(), x.x, x.stride, n, product.data(), columns_, first / kPanelRows, matrix.view().panels());
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = first + i; j < columns_; ++j) gram_[(first + i) * columns_ + j] += product[i * columns_ + j];
    }
  });
  pending_.clear();
}

std::vector<float> InputStatistics::channel_mean() const {
  std::vector<float> mean(sum_.size());
  for (size_t c = 0; c < mean.size(); ++c) mean[c] = rows_ > 0 ? static_cast<float>(sum_[c] / static_cast<double>(rows_)) : 0.0f;
  return mean;
}

std::vector<double> InputStatistics::channel_mean_square() const {
  std::vector<double> mean(squares_);
  for (double& square : mean) square = rows_ > 0 ? square / static_cast<double>(rows_) : 0.0;
  return mean;
}

std::vector<float> InputStatistics::take_gram() {
  add_gram();
  const float scale = rows_ > 0 ? 1.0f / static_cast<float>(rows_) : 0.0f;
  for (int64_t i = 0; i < columns_; ++i)
    for (int64_t j = i; j < columns_; ++j) gram_[j * columns_ + i] = gram_[i * columns_ + j] *= scale;
  return std::move(gram_);
}

}  // namespace codecllm
