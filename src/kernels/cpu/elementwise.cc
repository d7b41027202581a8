// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/vec.h"

namespace codecllm::CODECLLM_TIER {

namespace {

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y) {
  vf squares = zero();
  for (int64_t i = 0; i < n; i += 16) {
    const vf v = n - i >= 16 ? load(x + i) : load_n(x + i, n - i);
    squares = fma(v, v, squares);
  }
  const vf inverse = set1(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += 16) {
    if (n - i >= 16) {
      store(y + i, mul(mul(load(x + i), inverse), load(weight + i)));
    } else {
      store_n(y + i, mul(mul(load_n(x + i, n - i), inverse), load_n(weight + i, n - i)), n - i);
    }
  }
}

void rotate(float* head, const float* cosine, const float* sine, int64_t rotary) {
  const int64_t half = rotary / 2;
  for (int64_t i = 0; i < half; i += 16) {
    const int64_t n = half - i < 16 ? half - i : 16;
    const vf a = load_n(head + i, n), b = load_n(head + half + i, n);
    const vf c = load_n(cosine + i, n), s = load_n(sine + i, n);
    store_n(head + i, sub(mul(a, c), mul(b, s)), n);
    store_n(head + half + i, add(mul(b, c), mul(a, s)), n);
  }
}

void silu_mul(float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t left = n - i < 16 ? n - i : 16;
    const vf g = load_n(gate + i, left);
    const vf sigmoid = div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), g))));
    store_n(gate + i, mul(mul(g, sigmoid), load_n(up + i, left)), left);
  }
}

void add_rows(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t left = n - i < 16 ? n - i : 16;
    store_n(x + i, add(load_n(x + i, left), load_n(y + i, left)), left);
  }
}

}  // namespace

void fill_elementwise(KernelTable& table) {
  table.rms_norm = rms_norm;
  table.rotate = rotate;
  table.silu_mul = silu_mul;
  table.add = add_rows;
  // store_kv is a transposition of one token, bound by its scattered stores: the reference loop serves.
}

}  // namespace codecllm::CODECLLM_TIER
