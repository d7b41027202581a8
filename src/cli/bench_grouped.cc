// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/bench_modes.h"
#include "gen/gemm_grouped.h"

namespace codecllm::cli {

int bench_grouped(const Globals& globals, const GemmArguments& a) {
  const auto context = globals.context();
  const GroupedLayout layout = a.layout == "masked" ? GroupedLayout::masked : GroupedLayout::contiguous;
  const MachineState machine = probe_machine(*context);
  OrderedJson runs = OrderedJson::array();
  for (const QuantScheme& scheme : a.schemes) {
    const GroupedGemmResult r = measure_grouped_gemm(*context, {a.size[0], a.size[1], a.size[2]}, a.experts, layout, scheme, a.compute == "a8", a.rounds);
    runs.push_back({{"name", scheme.name}, {"compute", r.compute}, {"seconds", r.seconds}, {"gop_s", r.operations / r.seconds / 1e9},
                    {"gb_s", r.weight_bytes / r.seconds / 1e9}, {"dense_seconds", r.dense_seconds}, {"over_dense", r.dense_seconds / r.seconds},
                    {"single_seconds", r.single_seconds}, {"over_single", r.single_seconds / r.seconds},
                    {"rows", {r.fewest_rows, r.most_rows}}, {"experts_with_rows", r.used_experts}, {"weight_bytes", r.weight_bytes}});
  }
  OrderedJson out = {{"op", "gemm"}, {"size", a.size}, {"experts", a.experts}, {"layout", a.layout}, {"rounds", a.rounds}, {"runs", runs}};
  out["machine"] = machine_fields(*context, {machine});
  if (globals.json) {
    globals.print_json("bench", out);
    return 0;
  }
  fmt::print("{} rows over {} experts, {}, each [{}, {}]; {}\n", a.size[0], a.experts, a.layout, a.size[1], a.size[2], machine_text(out["machine"]));
  fmt::print("{:<14} {:>7} {:>11} {:>9} {:>8} {:>11} {:>8} {:>14} {:>8} {:>12}\n", "", "compute", "us", "GOP/s", "GB/s", "dense us", "x dense",
             "one by one us", "x single", "rows");
  for (const auto& r : runs)
    fmt::print("{:<14} {:>7} {:>11.1f} {:>9.1f} {:>8.2f} {:>11.1f} {:>8.2f} {:>14.1f} {:>8.2f} {:>12}\n", r["name"].get<std::string>(),
               r["compute"].get<std::string>(), 1e6 * r["seconds"].get<double>(), r["gop_s"].get<double>(), r["gb_s"].get<double>(),
               1e6 * r["dense_seconds"].get<double>(), r["over_dense"].get<double>(), 1e6 * r["single_seconds"].get<double>(),
               r["over_single"].get<double>(), fmt::format("{} to {}", r["rows"][0].get<int64_t>(), r["rows"][1].get<int64_t>()));
  return 0;
}

}  // namespace codecllm::cli
