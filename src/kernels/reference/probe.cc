// SPDX-License-Identifier: Apache-2.0
#include "kernels/table.h"

namespace codecllm::reference {

namespace {

double probe_int8(int64_t steps) {
  volatile uint8_t code = 3;
  volatile int8_t activation = 5;
  const int32_t a = code, b = activation;
  volatile int32_t sink = 0;
  for (int64_t i = 0; i < steps; ++i) sink = sink + a * b;
  return 2.0 * static_cast<double>(steps);
}

double probe_float(int64_t steps) {
  volatile float sink = 0;
  for (int64_t i = 0; i < steps; ++i) sink = sink * 0.5f + 1.0f;
  return 2.0 * static_cast<double>(steps);
}

uint64_t probe_read(const uint8_t* data, int64_t lines) {
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  uint64_t sum = 0;
  for (int64_t i = 0; i < lines * 8; ++i) sum += words[i];
  return sum;
}

}  // namespace

void fill_probe(KernelTable& table) {
  table.probe_int8 = probe_int8;
  table.probe_float = probe_float;
  table.probe_read = probe_read;
}

}  // namespace codecllm::reference
