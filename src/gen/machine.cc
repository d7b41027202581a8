// SPDX-License-Identifier: Apache-2.0
#include "gen/machine.h"

#include <algorithm>
#include <atomic>

#include "base/clock.h"
#include "base/memory.h"
#include "kernels/dispatch.h"

namespace codecllm {

namespace {

// Best of some runs: others' work only ever slows one down.
template <class Run>
double best_rate(int runs, const Run& run) {
  double best = 0;
  for (int i = 0; i < runs; ++i) {
    Stopwatch clock;
    const double amount = run();
    best = std::max(best, amount / clock.seconds());
  }
  return best;
}

// The same probe on `threads` threads of the pool at once; returns operations per second.
double compute_rate(ThreadPool& pool, int threads, double (*probe)(int64_t)) {
  int64_t steps = 1000;
  for (;; steps *= 4) {  // about 10 ms each, whatever the tier
    Stopwatch clock;
    probe(steps);
    if (clock.seconds() > 0.004) break;
  }
  return best_rate(5, [&] {
    std::atomic<double> total{0};
    pool.parallel_for(static_cast<size_t>(threads), 1, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) total.fetch_add(probe(steps));
    });
    return total.load();
  });
}

}  // namespace

MachineState probe_machine(const Context& context) {
  const KernelTable& kernels = kernels_for(context.impl().isa);
  ThreadPool& pool = context.impl().pool;
  MachineState state = {.cpu = cpu_model_name(), .isa = std::string(context.isa()), .threads = pool.threads()};
  state.int8_ops_s = compute_rate(pool, pool.threads(), kernels.probe_int8);
  state.bf16_flops_s = compute_rate(pool, pool.threads(), kernels.probe_float);
  const double one = compute_rate(pool, 1, kernels.probe_float);
  state.two_over_one = pool.threads() > 1 ? state.bf16_flops_s / one * 2 / pool.threads() : 1;

  constexpr size_t kBytes = size_t{256} << 20, kPiece = size_t{1} << 20;
  Buffer buffer(kBytes);
  for (size_t i = 0; i < kBytes; i += 4096) buffer.as<uint8_t>()[i] = 1;
  std::atomic<uint64_t> sink{0};
  state.read_bytes_s = best_rate(4, [&] {
    pool.parallel_for(kBytes / kPiece, 1, [&](size_t begin, size_t end, int) {
      sink += kernels.probe_read(buffer.as<uint8_t>().data() + begin * kPiece, static_cast<int64_t>((end - begin) * kPiece / 64));
    });
    return static_cast<double>(kBytes);
  });
  return state;
}

}  // namespace codecllm
