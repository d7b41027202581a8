// SPDX-License-Identifier: Apache-2.0
#include "kernels/dispatch.h"

#include <array>

namespace codecllm {

static std::array<KernelTable, kIsaCount> build() {
  std::array<KernelTable, kIsaCount> tables;
  KernelTable table = {};
  const auto keep = [&](Isa isa) { tables[static_cast<int>(isa)] = table; };
#define KERNEL_FILE(name) reference::fill_##name(table);
#include "kernels/files.def"
#undef KERNEL_FILE
  keep(Isa::reference);
#if defined(CODECLLM_X86_TIERS)
#define KERNEL_FILE(name) avx2::fill_##name(table);
#include "kernels/files.def"
#undef KERNEL_FILE
#endif
  keep(Isa::avx2);
#if defined(CODECLLM_X86_TIERS)
#define KERNEL_FILE(name) avx512::fill_##name(table);
#include "kernels/files.def"
#undef KERNEL_FILE
#endif
  keep(Isa::avx512);
#if defined(CODECLLM_X86_TIERS)
#define KERNEL_FILE(name) avx512vbmi::fill_##name(table);
#include "kernels/vbmi_files.def"
#undef KERNEL_FILE
#endif
  keep(Isa::avx512vbmi);
#if defined(CODECLLM_X86_TIERS)
#define KERNEL_FILE(name) avx512bf16::fill_##name(table);
#include "kernels/bf16_files.def"
#undef KERNEL_FILE
#endif
  keep(Isa::avx512bf16);
  return tables;
}

const KernelTable& kernels_for(Isa isa) {
  static const std::array<KernelTable, kIsaCount> tables = build();
  return tables[static_cast<int>(isa)];
}

}  // namespace codecllm
