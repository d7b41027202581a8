// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "codecllm/context.h"

namespace codecllm {

struct Context::Impl {
  Isa isa;
  ThreadPool pool;
  LogSink log;
};

inline void log_line(const Context& context, std::string_view line) {
  if (context.impl().log) context.impl().log(line);
}

}  // namespace codecllm
