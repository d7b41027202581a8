// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__GNUC__)
#define CODECLLM_API __attribute__((visibility("default")))
#else
#define CODECLLM_API
#endif
