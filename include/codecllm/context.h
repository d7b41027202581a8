// SPDX-License-Identifier: Apache-2.0
// Everything that is shared by the models of one embedding program: the threads, the choice of instructions, the log.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "codecllm/export.h"

namespace codecllm {

// Receives one line (no newline). The library never prints by itself.
using LogSink = std::function<void(std::string_view line)>;

// Called during long work with the part done (0..1) and what is being done; returning false cancels the work, which
// then throws Error with ErrorCode::interrupted and leaves no output behind (a quantization can be resumed).
using Progress = std::function<bool(double done, std::string_view what)>;

struct ContextOptions {
  int threads = 0;   // 0: one per CPU that this process may run on
  std::string isa = {};  // "" : the best tier of this CPU, or what the environment variable CODECLLM_ISA names
  LogSink log = {};  // empty: silent
};

// Thread-safe. Must outlive the models and sessions that were made with it.
class CODECLLM_API Context {
 public:
  explicit Context(ContextOptions options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int threads() const;
  std::string_view isa() const;  // "reference", "avx2", "avx512", "avx512vbmi" or "avx512bf16"

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace codecllm
