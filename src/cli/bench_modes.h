// SPDX-License-Identifier: Apache-2.0
// What `bench` measures besides whole models side by side.
#pragma once

#include <string>
#include <vector>

#include "cli/bench_worker.h"
#include "format/scheme.h"
#include "gen/machine.h"

namespace codecllm::cli {

struct GemmArguments {
  std::vector<int64_t> size;         // M, N, K
  std::vector<QuantScheme> schemes;
  std::string compute;
  int64_t outliers = 0;              // columns of x
  int64_t experts = 0;               // 0: one weight
  std::string layout = "contiguous";  // or "masked"
  std::string sweep;                 // "tiles", "block-size" or "scale-layout"
  int rounds = 5;
};

// bench --op gemm --size M,N,K: one product in each scheme, beside BF16.
int bench_gemm(const Globals& globals, const GemmArguments& a);

// With --experts: one call for all experts, beside a dense product of as many rows.
int bench_grouped(const Globals& globals, const GemmArguments& a);

// With --sweep: a table of times over the choices.
int bench_sweep(const Globals& globals, const GemmArguments& a);

// bench --profile: time by operation, kernel by layer, memory by owner.
int bench_profile(const Globals& globals, const std::vector<BenchTarget>& targets, const MeasureOptions& options, int rounds);

// bench --requests N: many prompts, as a server runs them.
int bench_requests(const Globals& globals, const std::vector<BenchTarget>& targets, const MeasureOptions& options);

// bench --baseline unpack: the products of a token beside the naive way, which unpacks each layer with zstd first.
int bench_unpack(const Globals& globals, const std::vector<BenchTarget>& targets, int rounds);

// The fields of "machine" that every form of bench prints: medians of what was probed.
OrderedJson machine_fields(const Context& context, const std::vector<MachineState>& states);
// The same in words, but for the name of the CPU.
std::string machine_text(const OrderedJson& machine);

}  // namespace codecllm::cli
