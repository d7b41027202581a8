// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "format/float16.h"
#include "format/float8.h"
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + eps));
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * inverse * weight[i];
}

void rotate(float* head, const float* cosine, const float* sine, int64_t rotary) {
  const int64_t half = rotary / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosine[i] - b * sine[i];
    head[i + half] = b * cosine[i] + a * sine[i];
  }
}

void silu_mul(float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

// For codes: stores the scale of one head's values and returns its inverse. A value that is not finite makes the scale NaN.
float store_scale(const KvView& kv, uint8_t* base, int64_t slot, const float* values) {
  if (!is_scaled(kv.type)) return 1;
  float largest = 0;
  for (int64_t d = 0; d < kv.head_dim; ++d)
    largest = std::isfinite(values[d]) ? std::fmax(largest, std::fabs(values[d])) : std::numeric_limits<float>::infinity();
  const bool usable = largest >= kSmallestActivation && std::isfinite(largest);
  reinterpret_cast<float*>(base + kv.code_bytes())[slot] = usable ? largest / kv_limit(kv.type) : std::isfinite(largest) ? 0.0f : std::nanf("");
  return usable ? kv_limit(kv.type) / largest : 0.0f;
}

void put(const KvView& kv, uint8_t* base, int64_t index, float value, float inverse) {
  switch (kv.type) {
    case KvType::f32: reinterpret_cast<float*>(base)[index] = value; break;
    case KvType::f16: reinterpret_cast<uint16_t*>(base)[index] = f32_to_f16(value); break;
    case KvType::i8:
      base[index] = inverse == 0 ? 0 : static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(value * inverse)));
      break;
    case KvType::e4m3: base[index] = inverse == 0 ? 0 : f32_to_float8(value * inverse, kE4m3); break;
  }
}

void store_kv(const KvView& kv, int64_t block, int64_t slot, const float* key, const float* value) {
  for (int64_t h = 0; h < kv.heads; ++h) {
    uint8_t* keys = kv.keys + block * kv.block_bytes() + h * kv.head_bytes();
    uint8_t* values = kv.values + block * kv.block_bytes() + h * kv.head_bytes();
    const float key_inverse = store_scale(kv, keys, slot, key + h * kv.head_dim);
    const float value_inverse = store_scale(kv, values, slot, value + h * kv.head_dim);
    for (int64_t d = 0; d < kv.head_dim; ++d) {
      put(kv, keys, kv.key_index(slot, d), key[h * kv.head_dim + d], key_inverse);
      put(kv, values, kv.value_index(slot, d), value[h * kv.head_dim + d], value_inverse);
    }
  }
}

}  // namespace

void fill_elementwise(KernelTable& table) {
  table.rms_norm = rms_norm;
  table.rotate = rotate;
  table.silu_mul = silu_mul;
  table.add = add;
  table.store_kv = store_kv;
}

}  // namespace codecllm::reference
