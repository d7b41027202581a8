// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/bench_modes.h"
#include "gen/measure.h"

namespace codecllm::cli {

OrderedJson machine_fields(const Context& context, const std::vector<MachineState>& states) {
  const auto middle = [&](double MachineState::*rate) {
    std::vector<double> values;
    for (const MachineState& state : states) values.push_back(state.*rate);
    return median(values);
  };
  const MachineState m = {.read_bytes_s = middle(&MachineState::read_bytes_s), .int8_ops_s = middle(&MachineState::int8_ops_s),
                          .bf16_flops_s = middle(&MachineState::bf16_flops_s), .two_over_one = middle(&MachineState::two_over_one)};
  return {{"cpu", cpu_model_name()}, {"isa", context.isa()}, {"threads", context.threads()}, {"read_bytes_s", m.read_bytes_s},
          {"int8_ops_s", m.int8_ops_s}, {"bf16_flops_s", m.bf16_flops_s}, {"two_over_one", m.two_over_one}, {"two_cores", m.two_cores()}};
}

std::string machine_text(const OrderedJson& machine) {
  return fmt::format("{} thread(s) ({}), tier {}: reads {:.1f} GB/s, INT8 {:.0f} GOP/s, 16-bit {:.0f} GFLOP/s", machine.at("threads").get<int>(),
                     machine.at("two_cores").get<bool>() ? "two cores" : "one core's worth", machine.at("isa").get<std::string>(),
                     machine.at("read_bytes_s").get<double>() / 1e9, machine.at("int8_ops_s").get<double>() / 1e9,
                     machine.at("bf16_flops_s").get<double>() / 1e9);
}

}  // namespace codecllm::cli
