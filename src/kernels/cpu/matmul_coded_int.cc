// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/coded_row.h"
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Codes with more are rare; they take decode_panel, as do sparse ones, which gain nothing here.
#ifdef CODECLLM_SANITIZED
constexpr int kMostLowBits = 0;  // instrumented, all of them take compilers minutes
#else
constexpr int kMostLowBits = 3;
#endif

// An odd code is 2 c + 1 with c as an integer code has it, so that the same product serves both: that of c + 128. (An even one
// among odd codes, which the encoder writes where there is padding, is not told from the next lower; padding does not count.)
template <class Dot>
struct IntProduct {
  using Sums = typename Dot::Sum;
  static constexpr int64_t kUnits = 1, kUnitBytes = Dot::kUnitBytes;
  VEC static void step(Sums& sum, const uint8_t* decoded, const uint8_t* x) { Dot::step(sum, Dot::load(decoded), Dot::broadcast(x)); }
  VEC static void patch(uint8_t* at, const uint8_t* element, CodeKind kind) {
    *at = kind == CodeKind::odd ? static_cast<uint8_t>((*element + 127) / 2) : *element;
  }
  __attribute__((noinline)) static Sums rest(Sums sum, const uint8_t* decoded, const uint8_t* x, int64_t units) {
    for (; units > 0; --units, decoded += kLineBytes, x += kUnitBytes) step(sum, decoded, x);
    return sum;
  }
};

template <class Dot, class Block, class Levels>
void int_panels(const MatrixView& w, const IntActivations& x, float* y, int64_t begin, int64_t end) {
  const bool odd = w.coded->shape.kind == CodeKind::odd;
  for (int64_t panel = begin; panel < end; ++panel) {
    const auto product = sum_panel<IntProduct<Dot>, Block, Levels>(Dot::zero(), *w.coded, panel, x.codes, w.coded->blocks);
    // code + 128 = 2 (c + 128) - 127
    const vi zeros = add(load_zeros(w, panel * kPanelRows), set1_int(odd ? 127 : 0));
    auto sum = start_sum<Dot>(zeros, w, panel, x, 0, 0);
    Dot::add_to(sum, product);
    if (odd) Dot::add_to(sum, product);
    const vf scaled = add(zero(), mul(Dot::to_float(sum), load_scales(w, panel * kPanelRows)));  // as matmul_int adds up groups
    store_rows(w, panel, y, mul(scaled, set1(x.scale[0])));
  }
}

template <class Dot>
bool int_row(const MatrixView& w, const IntActivations& x, float* y, int64_t begin, int64_t end) {
  const CodeShape& shape = w.coded->shape;
  const auto run = [&](auto block, auto levels) { int_panels<Dot, decltype(block), decltype(levels)>(w, x, y, begin, end); };
  return shape.kind != CodeKind::sparse && at_low_bits<false, kMostLowBits>(shape, run);
}

template <bool kFuses>
bool matmul_coded_int(const MatrixView& w, const IntActivations& x, float* y, int64_t panel_begin, int64_t panel_end) {
  if constexpr (kFuses) {
    return x.halves == 2 ? int_row<WordDot>(w, x, y, panel_begin, panel_end) : int_row<ByteDot>(w, x, y, panel_begin, panel_end);
  } else {
    return false;
  }
}

}  // namespace

void fill_matmul_coded_int(KernelTable& table) { table.matmul_coded_int = matmul_coded_int<kFusesCoded>; }

}  // namespace codecllm::CODECLLM_TIER
