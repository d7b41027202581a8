// SPDX-License-Identifier: Apache-2.0
// What this machine gives right now: speeds are quoted as a share of it.
#pragma once

#include "base/context.h"

namespace codecllm {

struct MachineState {
  std::string cpu;
  std::string isa;
  int threads = 0;
  double read_bytes_s = 0;   // all threads reading memory that no cache holds
  double int8_ops_s = 0;     // multiply-adds of INT8, counted as two operations, in registers
  double bf16_flops_s = 0;   // what BF16 products run on: BF16 dot products, or f32 multiply-adds without them
  double two_over_one = 0;   // compute of two threads over that of one: about 2 for two cores, 1 for two threads of one
  bool two_cores() const { return two_over_one > 1.6; }
};

// Takes about half a second. Virtual CPUs can be two cores in one second and two threads of one core in the next, so
// probe beside every measurement.
MachineState probe_machine(const Context& context);

}  // namespace codecllm
