// SPDX-License-Identifier: Apache-2.0
// How fast values become codes and codes values, on one thread, as bytes read and written per second and as a share of
// what memcpy moves on the same machine.
//
//   bench_quantize_speed [millions of values]
#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/function_ref.h"
#include "base/rng.h"
#include "format/grid.h"

using namespace codecllm;

namespace {

// Bytes per second: the best of five, since whatever else the machine does only makes it slower.
double rate(double bytes, FunctionRef<void()> work) {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    Stopwatch clock;
    work();
    best = std::max(best, bytes / clock.seconds());
  }
  return best;
}

struct Layout {
  const char* name;
  int64_t block;     // values that share a scale; 0: all
  bool interleaved;  // the scale before its codes; false: in an array of its own
};

}  // namespace

int main(int argc, char** argv) {
  const int64_t count = (argc > 1 ? std::atoll(argv[1]) : 16) * (int64_t{1} << 20);
  std::vector<float> values(static_cast<size_t>(count)), back(values.size()), scales(values.size() / 64);
  std::vector<int8_t> codes(values.size() + values.size() / 64 * sizeof(float));
  Rng rng(1);
  for (float& v : values) v = static_cast<float>(rng.normal());
  const double copied = rate(8.0 * static_cast<double>(count), [&] { std::memcpy(back.data(), values.data(), values.size() * 4); });
  fmt::print("{} million f32 values, one thread; copying moves {:.2f} GB/s (read and written)\n\n", count >> 20, copied * 1e-9);
  fmt::print("| type | scales | quantize GB/s | of copy | dequantize GB/s | of copy |\n|---|---|---|---|---|---|\n");

  constexpr Layout kLayouts[] = {{"tensor", 0, false},     {"blocks of 64, apart", 64, false},   {"blocks of 128, apart", 128, false},
                                 {"blocks of 256, apart", 256, false}, {"blocks of 128, interleaved", 128, true}};
  for (const QuantArgs& args : {QuantArgs{}, QuantArgs{.type = NumberType::floating}})
    for (const Layout& layout : kLayouts) {
      const int64_t block = layout.block == 0 ? count : layout.block;
      const int64_t stride = block + (layout.interleaved ? static_cast<int64_t>(sizeof(float)) : 0);
      const auto each = [&](auto body) {
        for (int64_t i = 0; i < count / block; ++i) {
          int8_t* at = codes.data() + i * stride;
          body(i * block, layout.interleaved ? at : reinterpret_cast<int8_t*>(&scales[i]), at + (stride - block));
        }
      };
      const double bytes = static_cast<double>(count) * 5 + static_cast<double>(count / block) * 4;
      const double quantized = rate(bytes, [&] {
        each([&](int64_t first, int8_t* scale, int8_t* out) {
          const auto part = std::span<const float>(values).subspan(first, block);
          const Grid grid = fit_grid(finite_range(part), args, ScaleRule::restricted, DType::f32);
          std::memcpy(scale, &grid.scale, sizeof grid.scale);
          encode(part, grid, args, ScaleRule::restricted, out);
        });
      });
      const double dequantized = rate(bytes, [&] {
        each([&](int64_t first, const int8_t* scale, const int8_t* in) {
          Grid grid;
          std::memcpy(&grid.scale, scale, sizeof grid.scale);
          decode(std::span(in, static_cast<size_t>(block)), grid, args, back.data() + first);
        });
      });
      fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} |\n", args.type == NumberType::integer ? "INT8" : "E4M3", layout.name,
                 quantized * 1e-9, quantized / copied, dequantized * 1e-9, dequantized / copied);
    }
  return 0;
}
