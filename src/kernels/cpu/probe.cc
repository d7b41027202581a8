// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int_dot.h"

namespace codecllm::CODECLLM_TIER {

namespace {

// Keeps a register's value unknown to the compiler, so that the loop is neither folded nor hoisted.
template <class T>
VEC void opaque(T& value) {
#if defined(__AVX512F__)
  asm volatile("" : "+v"(value));
#else
  asm volatile("" : "+x"(value.a), "+x"(value.b));
#endif
}

constexpr int kChains = 12;  // more than latency times issue width

double probe_int8(int64_t steps) {
  alignas(64) uint8_t line[64] = {1, 2, 3};
  vi sums[kChains];
  for (vi& s : sums) s = zero_int();
#if defined(__AVX512VNNI__)
  __m512i a = _mm512_load_si512(line), b = a;
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));
    for (vi& s : sums) s = _mm512_dpbusd_epi32(s, a, b);
  }
  constexpr double kOps = 128;
#else
  vi a = {load256(line), load256(line + 32)};
  for (int64_t i = 0; i < steps; ++i) {
    opaque(a);
    for (vi& s : sums) s = add(s, {_mm256_madd_epi16(a.a, a.a), _mm256_madd_epi16(a.b, a.b)});
  }
  constexpr double kOps = 64;  // 32 multiply-adds of widened codes
#endif
  for (vi& s : sums) opaque(s);
  return kOps * kChains * static_cast<double>(steps);
}

double probe_float(int64_t steps) {
  vf a = set1(0.5f), sums[kChains];
  for (vf& s : sums) s = zero();
  for (int64_t i = 0; i < steps; ++i) {
    opaque(a);
    for (vf& s : sums) s = fma(s, a, a);
  }
  for (vf& s : sums) opaque(s);
  return 32.0 * kChains * static_cast<double>(steps);
}

uint64_t probe_read(const uint8_t* data, int64_t lines) {
  vi sums[4] = {zero_int(), zero_int(), zero_int(), zero_int()};
  const auto at = [&](int64_t i) {
    const uint8_t* p = data + i * kLineBytes;
#if defined(__AVX512F__)
    return _mm512_loadu_si512(p);
#else
    return vi{load256(p), load256(p + 32)};
#endif
  };
  for (int64_t i = 0; i + 4 <= lines; i += 4)
    for (int j = 0; j < 4; ++j) sums[j] = add(sums[j], at(i + j));
  return static_cast<uint32_t>(sum(add(add(sums[0], sums[1]), add(sums[2], sums[3]))));
}

}  // namespace

void fill_probe(KernelTable& table) {
  table.probe_int8 = probe_int8;
  table.probe_float = probe_float;
  table.probe_read = probe_read;
}

}  // namespace codecllm::CODECLLM_TIER
