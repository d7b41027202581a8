// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/coded_row.h"
#include "kernels/cpu/float_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// As matmul_float's tile of one row: even units and odd ones apart.
template <Element E>
struct FloatProduct {
  static_assert(E == Element::bf16);
  using Dot = FloatDot<E>;
  struct Sums {
    vf even, odd;
  };
  static constexpr int64_t kUnits = 2 * 2 * kCodedBlock / Dot::kTwoUnits, kUnitBytes = sizeof(float);

  VEC static void step_two(Sums& sums, const uint8_t* decoded, const float* x) {
    vf even, odd;
    Dot::load(decoded, even, odd);
    sums.even = Dot::multiply_add(sums.even, even, set1(x[0]));
    sums.odd = Dot::multiply_add(sums.odd, odd, set1(x[1]));
  }
  VEC static void step(Sums& sums, const uint8_t* decoded, const uint8_t* x) {
    each<kUnits / 2>(EACH(i) { step_two(sums, decoded + i * Dot::kTwoUnits, reinterpret_cast<const float*>(x) + 2 * i); });
  }
  VEC static void patch(uint8_t* at, const uint8_t* element, CodeKind) { __builtin_memcpy(at, element, sizeof(uint16_t)); }
  __attribute__((noinline)) static Sums rest(Sums sums, const uint8_t* decoded, const uint8_t* x, int64_t units) {
    const auto* floats = reinterpret_cast<const float*>(x);
    for (; units >= 2; units -= 2, decoded += Dot::kTwoUnits, floats += 2) step_two(sums, decoded, floats);
    if (units > 0) sums.even = Dot::multiply_add(sums.even, Dot::load_one(decoded), set1(floats[0]));
    return sums;
  }
};

template <class Block>
void bf16_panels(const MatrixView& w, const float* x, float* y, int64_t begin, int64_t end) {
  using Product = FloatProduct<Element::bf16>;
  using Dot = Product::Dot;
  const int64_t units = (w.columns + Dot::kUnitColumns - 1) / Dot::kUnitColumns;
  for (int64_t panel = begin; panel < end; ++panel) {
    const auto sums = sum_panel<Product, Block>({zero(), zero()}, *w.coded, panel, reinterpret_cast<const uint8_t*>(x), units);
    store_rows(w, panel, y, add(sums.even, sums.odd));
  }
}

template <bool kFuses>
bool matmul_coded_float(const MatrixView& w, const float* x, float* y, int64_t panel_begin, int64_t panel_end) {
  if constexpr (kFuses) {
    if (w.coded->shape.kind != CodeKind::bf16) return false;
    at_first_bits<Bf16Block>(w.coded->shape, [&](auto block) { bf16_panels<typename decltype(block)::Of>(w, x, y, panel_begin, panel_end); });
    return true;
  } else {
    return false;
  }
}

}  // namespace

void fill_matmul_coded_float(KernelTable& table) { table.matmul_coded_float = matmul_coded_float<kFusesCoded>; }

}  // namespace codecllm::CODECLLM_TIER
