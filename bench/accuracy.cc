// SPDX-License-Identifier: Apache-2.0
// The error of every number format and granularity on real weights and on tensors with outliers: the tables of
// docs/accuracy.md. Scales are f32 here, so that only the codes differ.
//
//   bench_accuracy MODEL_DIR
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "format/grid.h"
#include "format/grid_map.h"
#include "format/plain_float.h"
#include "model/weights.h"

using namespace codecllm;

namespace {

struct Values {
  int64_t rows, columns;
  std::vector<float> data;  // [rows, columns]
};

struct Errors {
  double signal = 0, noise = 0, sum = 0, largest = 0, count = 0;
  std::vector<double> row_sqnr;
};

void add_errors(const Values& values, const QuantArgs& args, Errors& out) {
  const GridMap map(args, values.rows, values.columns);
  const int64_t height = map.row_span, width = map.column_span;
  std::vector<int8_t> codes(static_cast<size_t>(width));
  std::vector<float> back(static_cast<size_t>(width));
  std::vector<double> signal(static_cast<size_t>(values.rows)), noise(signal.size());
  for (int64_t top = 0; top < values.rows; top += height)
    for (int64_t left = 0; left < values.columns; left += width) {
      const int64_t bottom = std::min(values.rows, top + height), n = std::min(width, values.columns - left);
      const auto part = [&](int64_t row) { return std::span(values.data).subspan(row * values.columns + left, n); };
      Range range;
      for (int64_t row = top; row < bottom; ++row) range.include(finite_range(part(row)));
      const Grid grid = fit_grid(range, args, ScaleRule::restricted, DType::f32);
      for (int64_t row = top; row < bottom; ++row) {
        encode(part(row), grid, args, ScaleRule::restricted, codes.data());
        decode(std::span(codes).first(n), grid, args, back.data());
        for (int64_t k = 0; k < n; ++k) {
          const double value = part(row)[k], error = value - back[k];
          signal[row] += value * value;
          noise[row] += error * error;
          out.sum += std::fabs(error);
          out.largest = std::max(out.largest, std::fabs(error));
        }
      }
      out.count += static_cast<double>((bottom - top) * n);
    }
  for (size_t row = 0; row < signal.size(); ++row) {
    out.signal += signal[row];
    out.noise += noise[row];
    if (signal[row] > 0 && noise[row] > 0) out.row_sqnr.push_back(10 * std::log10(signal[row] / noise[row]));
  }
}

void print_table(const char* title, const std::vector<Values>& tensors) {
  fmt::print("\n{}\n\n| scheme | mean error | largest error | SQNR dB | of the worst 1% of rows |\n|---|---|---|---|---|\n", title);
  for (const char* name : {"int8-tensor", "int8", "int8-g128", "int8-g128-asym", "fp8", "fp8-channel", "fp8-block", "fp8-e5m2",
                           "int4-tensor", "int4", "int4-g128", "int4-g128-asym", "int4-g32", "int3-g32", "int2-g32"}) {
    Errors errors;
    const QuantScheme scheme = scheme_preset(name);
    for (const Values& tensor : tensors) add_errors(tensor, *fit_scheme(scheme, tensor.columns).weights, errors);
    const auto worst = errors.row_sqnr.begin() + static_cast<ptrdiff_t>(errors.row_sqnr.size() / 100);
    std::nth_element(errors.row_sqnr.begin(), worst, errors.row_sqnr.end());
    fmt::print("| `{}` | {:.3g} | {:.3g} | {:.2f} | {:.2f} |\n", name, errors.sum / errors.count, errors.largest,
               10 * std::log10(errors.signal / errors.noise), *worst);
  }
}

std::vector<Values> linear_weights(const std::string& directory) {
  const Checkpoint checkpoint(directory);
  std::vector<Values> out;
  for (const LinearSpec& linear : read_spec(checkpoint).linears()) {
    if (linear.kind == LinearKind::lm_head) continue;
    const TensorInfo& tensor = checkpoint.need(linear.name + ".weight");
    out.push_back({linear.rows, linear.columns, std::vector<float>(static_cast<size_t>(tensor.elements()))});
    load_floats(tensor.data.data(), 0, tensor.dtype, out.back().data);
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: bench_accuracy MODEL_DIR\n");
    return 2;
  }
  std::vector<Values> weights = linear_weights(argv[1]);
  print_table("### The linear layers of the model", weights);

  Rng rng(1);
  std::vector<Values> columns = weights, rows = weights;
  for (Values& tensor : columns)
    for (int i = 0; i < 8; ++i) {
      const auto k = static_cast<int64_t>(rng.below(tensor.columns));
      const auto factor = static_cast<float>(20 * std::pow(10.0, rng.uniform()));
      for (int64_t n = 0; n < tensor.rows; ++n) tensor.data[n * tensor.columns + k] *= factor;
    }
  print_table("### The same, eight input columns of each times 20 to 200", columns);

  for (Values& tensor : rows)
    for (int64_t n = 0; n < tensor.rows; ++n) {
      const auto factor = static_cast<float>(std::exp2(24 * rng.uniform() - 24));
      for (int64_t k = 0; k < tensor.columns; ++k) tensor.data[n * tensor.columns + k] *= factor;
    }
  print_table("### The same, each row times 2^-24 to 1: beyond E4M3's range for one scale", rows);

  const float scale = 100.0f / kE4m3.largest, value = float8_to_f32(f32_to_float8(0.1f / scale, kE4m3), kE4m3);
  fmt::print("\nE4M3, one scale for 0.1 beside 100: the scale is {:.6f}, and 0.1 becomes {} x {:.6f} = {:.4f}\n", scale, value,
             scale, value * scale);
  return 0;
}
