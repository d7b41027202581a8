// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include <sched.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <fstream>

#include "codecllm/error.h"

namespace codecllm {

static constexpr std::string_view kNames[] = {
#define ISA_TIER(name) #name,
#include "base/isa.def"
#undef ISA_TIER
};

std::string_view isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

#if defined(__x86_64__)
// clang 14's builtin does not know the name.
static bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

static std::vector<Isa> probe() {
  std::vector<Isa> found = {Isa::reference};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2") || !has_f16c())
    return found;
  found.push_back(Isa::avx2);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512vnni"))
    return found;
  found.push_back(Isa::avx512);
  if (!__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vbmi2")) return found;
  found.push_back(Isa::avx512vbmi);
  if (__builtin_cpu_supports("avx512bf16")) found.push_back(Isa::avx512bf16);
#endif
  return found;
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> tiers = probe();
  return tiers;
}

Isa choose_isa(std::string_view name) {
  if (name.empty()) {
    const char* environment = std::getenv("CODECLLM_ISA");
    if (environment == nullptr || *environment == 0) return available_isas().back();
    name = environment;
  }
  std::string list;
  for (Isa isa : available_isas()) {
    if (isa_name(isa) == name) return isa;
    list += (list.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  throw Error(ErrorCode::bad_call, "isa", "no ISA tier '" + std::string(name) + "' here; this CPU runs: " + list);
}

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 < line.size()) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

}  // namespace codecllm
