// SPDX-License-Identifier: Apache-2.0
#include "gen/gemm_grouped.h"

#include <algorithm>

#include "base/rng.h"
#include "gen/gemm_parts.h"
#include "gen/measure.h"
#include "kernels/dispatch.h"
#include "kernels/linear_grouped.h"

namespace codecllm {

namespace {

std::vector<int64_t> draw_counts(int64_t rows, int64_t experts) {
  std::vector<int64_t> counts(static_cast<size_t>(experts), 0);
  Rng rng(5);
  for (int64_t m = 0; m < rows; ++m) ++counts[rng.below(static_cast<uint64_t>(experts))];
  return counts;
}

}  // namespace

GroupedGemmResult measure_grouped_gemm(const Context& context, const GemmSize& size, int64_t experts, GroupedLayout layout,
                                       const QuantScheme& scheme, bool a8, int rounds) {
  ThreadPool& pool = context.impl().pool;
  const KernelTable& kernels = kernels_for(context.impl().isa);
  const std::vector<int64_t> counts = draw_counts(size.m, experts);
  const auto [fewest, most] = std::ranges::minmax(counts);
  const int64_t used = experts - std::ranges::count(counts, 0);
  // Room for twice the mean, as servers give, and for the expert that has more.
  const int64_t capacity = std::max(most, 2 * tile_count(size.m, experts)), stride = round_up(size.k, kColumnPadding);
  const bool masked = layout == GroupedLayout::masked;
  const std::vector<RowSegment> segments = masked ? masked_layout(counts, capacity) : contiguous_layout(counts);
  const std::vector<float> x = gemm_inputs(masked ? experts * capacity : size.m, size.k);
  std::vector<float> y(x.size() / static_cast<size_t>(stride) * static_cast<size_t>(size.n));

  GemmWeights weights(context, size, scheme, a8, static_cast<size_t>(used));
  GemmProduct dense(context, size);
  GroupedScratch scratch;
  std::vector<const MatrixView*> views(static_cast<size_t>(experts));
  const auto take = [&] {  // copies that caches do not hold go to the experts that read theirs
    for (size_t e = 0; e < views.size(); ++e) views[e] = &(segments[e].rows > 0 ? weights.next() : weights.first()).view();
  };
  const auto together = [&] {
    take();
    linear_grouped(pool, kernels, scratch, x.data(), stride, views, segments, y.data(), size.n);
  };
  const auto one_by_one = [&] {
    take();
    for (size_t e = 0; e < views.size(); ++e) {
      const LinearOut out = {views[e], y.data() + segments[e].first * size.n, size.n};
      linear(pool, kernels, scratch.linear, x.data() + segments[e].first * stride, stride, segments[e].rows, {&out, 1});
    }
  };
  std::vector<double> grouped, single, plain;
  for (int round = 0; round < rounds; ++round) {
    grouped.push_back(time_of(1, together));
    plain.push_back(dense.time(weights));
    single.push_back(time_of(1, one_by_one));
  }
  return {.seconds = median(grouped),
          .single_seconds = median(single),
          .dense_seconds = median(plain),
          .weight_bytes = static_cast<double>(weights.first().bytes()) * static_cast<double>(used),
          .operations = 2.0 * static_cast<double>(size.m) * static_cast<double>(size.n) * static_cast<double>(size.k),
          .fewest_rows = fewest,
          .most_rows = most,
          .used_experts = used,
          .compute = weights.compute()};
}

}  // namespace codecllm
