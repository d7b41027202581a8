// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "format/grid.h"
#include "format/plain_float.h"
#include "io/column_order.h"
#include "quant/rtn.h"
#include "quant/verify.h"

namespace codecllm {

std::string scheme_text(const QuantArgs& args) {
  const std::string type = args.type == NumberType::integer    ? "int" + std::to_string(args.num_bits)
                           : args.type == NumberType::floating ? "fp8"
                                                               : "fp8-e5m2";
  std::string text = type + " " + std::string(strategy_name(args.strategy));
  if (args.strategy == Strategy::group) text += " " + std::to_string(args.group_size);
  if (args.strategy == Strategy::block) text += " " + std::to_string(args.block[0]) + "x" + std::to_string(args.block[1]);
  if (!args.symmetric) text += " asymmetric";
  return text;
}

// An integer's step is 6.02 dB finer with each bit, and a row whose largest weight is 40 times its usual one, as the worst
// honest rows are, keeps 20 dB of eight bits. Rounded to nearest no weight's error is more than the weight: the noise of
// few bits is at most the signal, and their floor nears 0 dB, which a row that became all zeros does not reach. Rows that
// share a scale may differ by a factor of three.
// A float's error is a share of each value, whatever the scale, as long as values stay within its range: 2^-4 at most for
// E4M3 (31 dB on average), 2^-3 for E5M2 (25 dB). Below these floors the range was missed.
double sqnr_floor_db(const QuantArgs& args) {
  if (args.type == NumberType::floating) return 22.0;
  if (args.type == NumberType::float_e5m2) return 17.0;
  const double uneven = args.strategy == Strategy::tensor || args.strategy == Strategy::block ? 10 : 0;
  return 10 * std::log10(1 + std::pow(10, (6.02 * args.num_bits - 28.0 - uneven) / 10));
}

double sqnr_db(double signal, double noise) {
  return noise == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / noise);
}

std::string gain_problem(double signal, double product, int bits) {
  // Rounding takes away at most what few bits lose, and adds little.
  constexpr double kMost = 1.4, kLeast = 0.4;
  if (!(product > kMost * signal) && !(bits >= 4 && product < kLeast * signal)) return "";
  char text[120];
  std::snprintf(text, sizeof text, "the weights come back %.2f times as large: the scales are not those of these codes", product / signal);
  return text;
}

namespace {

// Algorithms that look at activations let a weight's error grow where its input is small, at two or three bits beyond the
// weight itself, and are better for it: their layers, not their rows, are held to this, and to a correlation with the source.
// Layers that `convert` made of other codes keep those codes' error, of however few bits.
double floor_of(const QuantArgs& args, const LayerOrigin& origin) {
  if (origin.rounded_again) return -12;
  return sqnr_floor_db(args) - (origin.nearest ? 0 : args.type == NumberType::integer ? 12 : 15);
}

struct Sums {
  double signal = 0, noise = 0, product = 0;  // of w w, (w - w') squared and w w'
  double steps = 0;                           // of (w' - w) / scale
  double power() const { return noise - signal + 2 * product; }  // of w' w'
};

struct RowResult : Sums {
  double max_error = 0;
  Range range;
  bool bad_scale = false, bad_code = false, unstable_code = false, bad_source = false, not_nearest = false, bad_outlier = false;
};

// Adds a row's errors: `original` and `values` [columns] are w and w' in the order of the groups.
void add_errors(const PackedReader& reader, int64_t row, std::span<const float> original, std::span<const float> values,
                RowResult& result) {
  const int64_t group = reader.group(), columns = reader.columns();
  for (int64_t g = 0; g < reader.groups(); ++g) {
    double drift = 0;  // of w' - w
    for (int64_t k = g * group; k < std::min(columns, (g + 1) * group); ++k) {
      const double w = original[k], error = w - values[k];
      result.signal += w * w;
      result.product += w * values[k];
      result.noise += error * error;
      drift -= error;
      result.max_error = std::max(result.max_error, std::fabs(error));
    }
    result.steps += drift / static_cast<double>(reader.scale(row, g));
  }
}

RowResult check_row(const PackedReader& reader, const QuantArgs& args, const LayerOrigin& origin, int64_t row,
                    std::vector<int8_t>& codes, std::vector<int8_t>& again, std::vector<float>& values,
                    std::vector<float>& original, std::span<const int32_t> order) {
  RowResult result;
  const int64_t columns = reader.columns(), group = reader.group();
  reader.codes(row, codes.data());
  to_group_order(codes, order);
  for (int64_t g = 0; g < reader.groups(); ++g) {
    const Grid grid = reader.grid(row, g);
    if (!std::isfinite(grid.scale) || grid.scale == 0) {
      result.bad_scale = true;
      return result;
    }
    const int64_t begin = g * group, end = std::min(columns, begin + group);
    decode(std::span(codes).subspan(begin, end - begin), grid, args, values.data() + begin);
    encode(std::span(values).subspan(begin, end - begin), grid, args, ScaleRule::full, again.data() + begin);
  }
  result.unstable_code = codes != again;
  result.bad_code = std::any_of(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (origin.source == nullptr) return result;
  if (origin.smoothed != nullptr) {
    origin.smoothed->read(*origin.source, row, original);
  } else {
    read_source_row(*origin.source, row, original);
  }
  for (size_t i = 0; i < origin.outliers.size(); ++i) {
    float& value = original[origin.outliers[i]];
    const auto count = static_cast<int64_t>(origin.outliers.size());
    if (load_float(origin.outlier_weight->data.data(), row * count + static_cast<int64_t>(i), origin.outlier_weight->dtype) != value)
      result.bad_outlier = true;
    result.signal += static_cast<double>(value) * value;
    result.product += static_cast<double>(value) * value;
    value = 0;
  }
  to_group_order(original, order);
  result.range = finite_range(original);
  // What round-to-nearest makes of this row, under either scale rule. One scale per tensor or block is no function of the
  // row; judge() looks at the tensor's.
  for (ScaleRule rule : {ScaleRule::restricted, ScaleRule::full}) {
    result.not_nearest = false;
    for (int64_t g = 0; g < reader.groups(); ++g) {
      const auto part = std::span<const float>(original).subspan(g * group, std::min(group, columns - g * group));
      const Grid grid = reader.grid(row, g);
      const bool own = args.strategy != Strategy::tensor && args.strategy != Strategy::block;
      if (own && grid != fit_grid(finite_range(part), args, rule, reader.scale_type())) result.not_nearest = true;
      encode(part, grid, args, rule, again.data() + g * group);
    }
    if (again != codes) result.not_nearest = true;
    if (!result.not_nearest) break;
  }
  add_errors(reader, row, original, values, result);
  result.bad_source = !std::isfinite(result.signal);
  return result;
}

// Whether the one scale of a tensor is what its largest weight gives, under either rule.
bool fits_tensor(const PackedReader& reader, const std::vector<RowResult>& rows, const QuantArgs& args) {
  Range range;
  for (const RowResult& row : rows) range.include(row.range);
  for (ScaleRule rule : {ScaleRule::restricted, ScaleRule::full})
    if (reader.grid(0, 0) == fit_grid(range, args, rule, reader.scale_type())) return true;
  return false;
}

// What is wrong with the codes and scales themselves, or with the source.
std::string damage_of(const std::vector<RowResult>& rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].bad_scale) return "row " + std::to_string(i) + " has a scale that is zero or not finite";
    if (rows[i].bad_code) return "row " + std::to_string(i) + " holds a code that stands for NaN or infinity";
    if (rows[i].unstable_code) return "row " + std::to_string(i) + " holds codes that its scale does not reproduce";
    if (rows[i].bad_outlier) return "row " + std::to_string(i) + " of outlier_weight is not the source's";
    if (rows[i].bad_source) return "row " + std::to_string(i) + " of the source is not finite";
  }
  return "";
}

// How the weights that come back are not the source's.
std::string judge(const LayerReport& report, const Sums& sums, const PackedReader& reader, const std::vector<RowResult>& rows,
                  const QuantArgs& args, const LayerOrigin& origin) {
  const int64_t filled = std::count_if(rows.begin(), rows.end(), [](const RowResult& row) { return row.signal > 0; });
  if (origin.source == nullptr || filled == 0) return "";
  const auto other = std::count_if(rows.begin(), rows.end(), [](const RowResult& row) { return row.not_nearest; });
  const auto not_nearest = [&] {
    const auto first = std::find_if(rows.begin(), rows.end(), [](const RowResult& row) { return row.not_nearest; });
    return "row " + std::to_string(first - rows.begin()) + " is not its source rounded to the nearest, as codecllm_quantization.json says; of such rows there are " +
           std::to_string(other) + " among " + std::to_string(rows.size());
  };
  // A few are damaged; of many there may be more to say.
  if (origin.nearest && other > 0 && other * 10 <= static_cast<ptrdiff_t>(rows.size())) return not_nearest();
  // Weight-only integers with one scale per tensor are written by this program alone, by rounding to the nearest.
  if (origin.nearest && args.strategy == Strategy::tensor && args.type == NumberType::integer && !fits_tensor(reader, rows, args))
    return "the scale is not what the largest weight gives";
  if (!(sums.power() > 0)) return "all weights became zero";
  char text[200];
  if (report.correlation < kLeastCorrelation) {
    std::snprintf(text, sizeof text, "what comes back has little to do with the weights: a correlation of %.2f", report.correlation);
    return text;
  }
  if (std::string problem = gain_problem(sums.signal, sums.product, args.num_bits); !problem.empty()) return problem;
  if (const double drift = sums.steps / static_cast<double>(report.weights); args.type == NumberType::integer && std::fabs(drift) > 0.5) {
    std::snprintf(text, sizeof text, "the weights come back %+.2f steps off on average: %s", drift,
                  args.symmetric ? "these are not their codes" : "the zero points are told by another convention");
    return text;
  }
  const double floor = floor_of(args, origin);
  if (report.sqnr_db < floor || (origin.nearest && report.poor_rows * 20 > filled)) {
    std::snprintf(text, sizeof text, "SQNR %.1f dB, and %lld of %lld rows below %.1f dB: the scales do not fit the rows; use %s", report.sqnr_db,
                  static_cast<long long>(report.poor_rows), static_cast<long long>(filled), floor,
                  args.strategy == Strategy::tensor ? "one per channel or group" : "groups, smaller ones, or more bits");
    return text;
  }
  return origin.nearest && other > 0 ? not_nearest() : "";
}

}  // namespace

LayerReport check_layer(const Context& context, const std::string& module, const PackedReader& reader,
                        const QuantArgs& args, const LayerOrigin& origin,
                        FunctionRef<void(int64_t first, int64_t count)> rows_done) {
  LayerReport report;
  report.name = module;
  report.scheme = scheme_text(args);
  report.weights = reader.rows() * reader.columns();
  std::vector<RowResult> rows(static_cast<size_t>(reader.rows()));
  const std::vector<int32_t> order = reader.column_order();
  const int64_t slab = std::max<int64_t>(16, (int64_t{8} << 20) / std::max<int64_t>(1, reader.columns()));
  for (int64_t first = 0; first < reader.rows(); first += slab) {
    const int64_t count = std::min(slab, reader.rows() - first);
    context.impl().pool.parallel_for(static_cast<size_t>(count), 16, [&](size_t begin, size_t end, int) {
      const auto n = static_cast<size_t>(reader.columns());
      std::vector<int8_t> codes(n), again(n);
      std::vector<float> values(n), original(n);
      for (int64_t row = first + static_cast<int64_t>(begin); row < first + static_cast<int64_t>(end); ++row)
        rows[row] = check_row(reader, args, origin, row, codes, again, values, original, order);
    });
    rows_done(first, count);
  }
  Sums sums;
  const double floor = floor_of(args, origin);
  for (const RowResult& row : rows) {
    sums.signal += row.signal;
    sums.noise += row.noise;
    sums.product += row.product;
    sums.steps += row.steps;
    report.max_abs_error = std::max(report.max_abs_error, row.max_error);
    if (row.signal > 0 && sqnr_db(row.signal, row.noise) < floor) ++report.poor_rows;
  }
  if (origin.source != nullptr) {
    report.sqnr_db = sqnr_db(sums.signal, sums.noise);
    report.correlation = sums.power() > 0 ? sums.product / std::sqrt(sums.signal * sums.power()) : 0;
  }
  report.problem = damage_of(rows);
  if (!report.problem.empty()) return report;
  report.problem = judge(report, sums, reader, rows, args, origin);
  report.unlike = !report.problem.empty() && report.correlation >= kLeastCorrelation;
  return report;
}

}  // namespace codecllm
