// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/coded_row.h"
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// An odd code is 2 c + 1 with c as an integer code has it, so that the same product serves both: that of c + 128. (What no writer
// makes, an even code among odd ones or digits beyond 63, is multiplied otherwise than decode_panel decodes it.)
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

template <class Dot, class Block>
void int_panels(const MatrixView& w, const IntActivations& x, float* y, int64_t begin, int64_t end) {
  const bool odd = w.coded->shape.kind == CodeKind::odd;
  for (int64_t panel = begin; panel < end; ++panel) {
    const auto product = sum_panel<IntProduct<Dot>, Block>(Dot::zero(), *w.coded, panel, x.codes, w.coded->blocks);
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
void int_row(const MatrixView& w, const IntActivations& x, float* y, int64_t begin, int64_t end) {
  const auto run = [&](auto block) { int_panels<Dot, typename decltype(block)::Of>(w, x, y, begin, end); };
  if (w.coded->shape.kind == CodeKind::sparse) return run(Type<SparseBlock>());
  at_fixed_bits<false>(w.coded->shape, run);
}

template <bool kFuses>
bool matmul_coded_int(const MatrixView& w, const IntActivations& x, float* y, int64_t panel_begin, int64_t panel_end) {
  if constexpr (kFuses) x.halves == 2 ? int_row<WordDot>(w, x, y, panel_begin, panel_end) : int_row<ByteDot>(w, x, y, panel_begin, panel_end);
  return kFuses;
}

}  // namespace

void fill_matmul_coded_int(KernelTable& table) { table.matmul_coded_int = matmul_coded_int<kFusesCoded>; }

}  // namespace codecllm::CODECLLM_TIER
