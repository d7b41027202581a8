// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/bench_modes.h"
#include "gen/gemm.h"

namespace codecllm::cli {

int bench_gemm(const Globals& globals, const GemmArguments& a) {
  if (a.size.size() != 3) throw Error(ErrorCode::bad_call, "bench", "--op gemm needs --size M,N,K");
  if (a.schemes.empty()) throw Error(ErrorCode::bad_call, "bench", "--op gemm needs one or more --scheme");
  if (a.outliers > a.size[2]) throw Error(ErrorCode::bad_call, "bench", "--outliers are at most the K columns that --size gives");
  if (a.experts > 0) return bench_grouped(globals, a);
  if (!a.sweep.empty()) return bench_sweep(globals, a);
  const auto context = globals.context();
  const GemmSize gemm = {a.size[0], a.size[1], a.size[2], a.outliers};
  OrderedJson runs = OrderedJson::array();
  std::vector<MachineState> machines;
  for (const QuantScheme& scheme : a.schemes) {
    const MachineState& machine = machines.emplace_back(probe_machine(*context));
    const GemmResult r = measure_gemm(*context, gemm, scheme, a.compute == "a8", a.rounds, machine);
    const double share = r.compute == "a8" && scheme.weights->type == NumberType::integer ? r.operations / r.seconds / machine.int8_ops_s : 0;
    OrderedJson run = {{"name", scheme.name}, {"compute", r.compute}, {"seconds", r.seconds}, {"ratio_to_bf16", r.bf16_seconds / r.seconds},
                       {"gb_s", r.weight_bytes / r.seconds / 1e9}, {"gop_s", r.operations / r.seconds / 1e9},
                       {"bound", r.memory_bound ? "memory" : "compute"}, {"bandwidth_fraction", r.weight_bytes / r.seconds / machine.read_bytes_s}};
    if (share > 0) run["int8_peak_fraction"] = share;
    run.update({{"mse", r.mse}, {"max_difference", r.max_difference}});
    runs.push_back(run);
  }
  OrderedJson out = {{"op", "gemm"}, {"size", a.size}, {"rounds", a.rounds}, {"runs", runs}};
  out["machine"] = machine_fields(*context, machines);
  if (globals.json) {
    globals.print_json("bench", out);
    return 0;
  }
  fmt::print("y [{}, {}] = x [{}, {}] . w; {}\n", gemm.m, gemm.n, gemm.m, gemm.k, machine_text(out["machine"]));
  fmt::print("{:<14} {:>7} {:>11} {:>8} {:>8} {:>9} {:>8} {:>10} {:>10}\n", "", "compute", "us", "x bf16", "GB/s", "GOP/s", "bound", "MSE", "max diff");
  for (const auto& r : out["runs"])
    fmt::print("{:<14} {:>7} {:>11.1f} {:>8.2f} {:>8.2f} {:>9.1f} {:>8} {:>10.3g} {:>10.3g}\n", r["name"].get<std::string>(), r["compute"].get<std::string>(),
               1e6 * r["seconds"].get<double>(), r["ratio_to_bf16"].get<double>(), r["gb_s"].get<double>(), r["gop_s"].get<double>(),
               r["bound"].get<std::string>(), r["mse"].get<double>(), r["max_difference"].get<double>());
  return 0;
}

}  // namespace codecllm::cli
