// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "codec/coded_view.h"
#include "kernels/views.h"

namespace codecllm {

struct KernelTable {
#define KERNEL(name, result, parameters) result(*name) parameters;
#include "kernels/kernels.def"
#undef KERNEL
};

// Each file of kernels fills its slots of its tier's table.
#define KERNEL_FILE(name) void fill_##name(KernelTable& table);
namespace reference {
#include "kernels/files.def"
}
namespace avx2 {
#include "kernels/files.def"
}
namespace avx512 {
#include "kernels/files.def"
}
namespace avx512vbmi {
#include "kernels/vbmi_files.def"
}
namespace avx512bf16 {
#include "kernels/bf16_files.def"
}
#undef KERNEL_FILE

}  // namespace codecllm
