// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/float_dot.h"
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// More than latency times issue width. Loops over them are unrolled, so that they stay in registers, and each is opaque, so
// that the compiler does not see that all are the same sum.
constexpr int kChains = 12;

double probe_int8(int64_t steps) {
  vi a = set1_int(1), sums[kChains];
#pragma GCC unroll 12
  for (vi& s : sums) opaque(s = zero_int());
  for (int64_t i = 0; i < steps; ++i) {
    opaque(a);
#pragma GCC unroll 12
    for (vi& s : sums) s = multiply_add(s, a, a);
  }
#pragma GCC unroll 12
  for (vi& s : sums) opaque(s);
  return kMultiplyAddOps * kChains * static_cast<double>(steps);
}

double probe_float(int64_t steps) {
  vf a = set1(0.5f), sums[kChains];
#pragma GCC unroll 12
  for (vf& s : sums) opaque(s = zero());
  for (int64_t i = 0; i < steps; ++i) {
    opaque(a);
#pragma GCC unroll 12
    for (vf& s : sums) s = FloatDot<Element::bf16>::multiply_add(s, a, a);
  }
#pragma GCC unroll 12
  for (vf& s : sums) opaque(s);
  return 32.0 * FloatDot<Element::bf16>::kUnitColumns * kChains * static_cast<double>(steps);
}

uint64_t probe_read(const uint8_t* data, int64_t lines) {
  vi sums[4] = {zero_int(), zero_int(), zero_int(), zero_int()};
  for (int64_t i = 0; i + 4 <= lines; i += 4)
    for (int j = 0; j < 4; ++j) sums[j] = add(sums[j], load_int(data + (i + j) * kLineBytes));
  return static_cast<uint32_t>(sum(add(add(sums[0], sums[1]), add(sums[2], sums[3]))));
}

}  // namespace

void fill_probe(KernelTable& table) {
  table.probe_int8 = probe_int8;
  table.probe_float = probe_float;
  table.probe_read = probe_read;
}

}  // namespace codecllm::CODECLLM_TIER
