// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/bench_modes.h"
#include "gen/gemm_sweep.h"

namespace codecllm::cli {

namespace {

OrderedJson tiles_json(const QuantScheme& scheme, const TileSweep& sweep, double operations) {
  OrderedJson rows = OrderedJson::array();
  for (const TileTime& t : sweep.times)
    rows.push_back({{"rows_per_pass", t.rows_per_pass}, {"panels_per_task", t.panels_per_task}, {"seconds", t.seconds}, {"gop_s", operations / t.seconds / 1e9}});
  return {{"name", scheme.name}, {"compute", sweep.compute}, {"times", rows}};
}

void print_tiles(const OrderedJson& rows) {
  fmt::print("us by rows of x that pass together (down) and panels of 16 outputs in a task (across; 0: as `linear` chooses)\n");
  int64_t before = -1;
  for (const auto& r : rows) {
    if (r["rows_per_pass"] != rows[0]["rows_per_pass"]) break;
    fmt::print("{}{:>10}", before++ < 0 ? fmt::format("{:>8}", "") : "", r["panels_per_task"].get<int64_t>());
  }
  before = -1;
  for (const auto& r : rows) {
    const int64_t pass = r["rows_per_pass"];
    if (pass != before) fmt::print("\n{:>8}", pass);
    before = pass;
    fmt::print("{:>10.1f}", 1e6 * r["seconds"].get<double>());
  }
  fmt::print("\n");
}

OrderedJson scales_json(const QuantScheme& scheme, const ScaleSweep& sweep, double operations) {
  OrderedJson rows = OrderedJson::array();
  for (const ScaleTime& t : sweep.times)
    rows.push_back({{"block", t.block}, {"scale_type", dtype_name(t.type)}, {"seconds", t.seconds}, {"gop_s", operations / t.seconds / 1e9}, {"gb_s", t.weight_bytes / t.seconds / 1e9},
                    {"weight_bytes", t.weight_bytes}, {"mse", t.mse}});
  return {{"name", scheme.name}, {"compute", sweep.compute}, {"times", rows}};
}

void print_scales(const OrderedJson& rows) {
  fmt::print("{:<10} {:<6} {:>11} {:>9} {:>8} {:>11} {:>10}\n", "scale of", "in", "us", "GOP/s", "GB/s", "weights", "MSE");
  for (const auto& r : rows)
    fmt::print("{:<10} {:<6} {:>11.1f} {:>9.1f} {:>8.2f} {:>11} {:>10.3g}\n", r["block"].get<std::string>(), r["scale_type"].get<std::string>(), 1e6 * r["seconds"].get<double>(),
               r["gop_s"].get<double>(), r["gb_s"].get<double>(), bytes_text(r["weight_bytes"].get<double>()), r["mse"].get<double>());
}

}  // namespace

int bench_sweep(const Globals& globals, const GemmArguments& a) {
  const bool tiles = a.sweep == "tiles", a8 = a.compute == "a8";
  for (const QuantScheme& scheme : a.schemes)
    if (!tiles) check_scale_sweep(scheme);
  const auto context = globals.context();
  const GemmSize size = {a.size[0], a.size[1], a.size[2]};
  const double operations = 2.0 * static_cast<double>(size.m) * static_cast<double>(size.n) * static_cast<double>(size.k);
  const MachineState machine = probe_machine(*context);
  OrderedJson runs = OrderedJson::array();
  const auto sweep_scales = a.sweep == "block-size" ? sweep_block_size : sweep_scale_layout;
  for (const QuantScheme& scheme : a.schemes)
    runs.push_back(tiles ? tiles_json(scheme, sweep_tiles(*context, size, scheme, a8, a.rounds), operations)
                         : scales_json(scheme, sweep_scales(*context, size, scheme, a8, a.rounds), operations));
  OrderedJson out = {{"op", "gemm"}, {"size", a.size}, {"sweep", a.sweep}, {"rounds", a.rounds}, {"runs", runs}};
  out["machine"] = machine_fields(*context, {machine});
  if (globals.json) {
    globals.print_json("bench", out);
    return 0;
  }
  fmt::print("y [{}, {}] = x [{}, {}] . w; {}\n", size.m, size.n, size.m, size.k, machine_text(out["machine"]));
  for (const auto& run : runs) {
    fmt::print("{}, compute {}\n", run["name"].get<std::string>(), run["compute"].get<std::string>());
    if (tiles) {
      print_tiles(run["times"]);
    } else {
      print_scales(run["times"]);
    }
  }
  return 0;
}

}  // namespace codecllm::cli
