// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/bench_modes.h"
#include "cli/unpack.h"
#include "gen/machine.h"

namespace codecllm::cli {

namespace {

struct NamedWay {
  const char* name;
  UnpackWay way;
};
constexpr NamedWay kWays[] = {{"unpack", {}},
                              {"unpack, buffers reused", {.reuse = true}},
                              {"unpack, layers batched", {.batch = true}},
                              {"unpack, product fused", {.fuse = true}},
                              {"unpack, all three", {.reuse = true, .batch = true, .fuse = true}}};

struct WayTimes {
  std::vector<double> total, allocate, unpack, widen, multiply;
  double difference = 0;

  void add(const UnpackTimes& t) {
    total.push_back(t.total());
    allocate.push_back(t.allocate), unpack.push_back(t.unpack), widen.push_back(t.widen), multiply.push_back(t.multiply);
  }
};

// Rows of one model: its own products, then each way.
void add_rows(const DecoderModel& model, const BenchTarget& target, int rounds, const Progress& progress, OrderedJson& runs) {
  UnpackedProducts products(model);
  std::vector<double> ours;
  std::vector<WayTimes> ways(std::size(kWays));
  for (int round = 0; round < rounds; ++round) {
    if (!progress(static_cast<double>(round) / rounds, "measuring")) throw Error(ErrorCode::interrupted, "bench", "interrupted");
    ours.push_back(products.run_ours());
    for (size_t i = 0; i < ways.size(); ++i) {
      ways[i].add(products.run(kWays[i].way));
      ways[i].difference = products.largest_difference();
    }
  }
  runs.push_back({{"name", target.name}, {"way", "ours"}, {"compute", target.compute}, {"matrices", products.matrices()},
                  {"weight_bytes", model.read_bytes_per_token()}, {"products_ms", 1e3 * median(ours)}, {"times_ours", 1.0}});
  for (size_t i = 0; i < ways.size(); ++i) {
    const WayTimes& w = ways[i];
    runs.push_back({{"name", target.name}, {"way", kWays[i].name}, {"compute", target.compute}, {"matrices", products.matrices()},
                    {"weight_bytes", products.packed_bytes()}, {"products_ms", 1e3 * median(w.total)}, {"times_ours", median(w.total) / median(ours)},
                    {"stages_ms", {{"allocate", 1e3 * median(w.allocate)}, {"unpack", 1e3 * median(w.unpack)},
                                   {"widen", 1e3 * median(w.widen)}, {"multiply", 1e3 * median(w.multiply)}}},
                    {"max_difference", w.difference}});
  }
}

}  // namespace

int bench_unpack(const Globals& globals, const std::vector<BenchTarget>& targets, int rounds) {
  const auto context = globals.context();
  const MachineState machine = probe_machine(*context);
  OrderedJson out = {{"baseline", "unpack"}, {"rounds", rounds}, {"runs", OrderedJson::array()}};
  for (const BenchTarget& target : targets) {
    const DecoderModel model = make_model(*context, target);
    add_rows(model, target, rounds, globals.progress(), out["runs"]);
  }
  out["machine"] = machine_fields(*context, machine.read_bytes_s, machine.int8_ops_s, machine.bf16_flops_s, machine.two_over_one);
  if (globals.json) {
    globals.print_json("bench", out);
    return 0;
  }
  fmt::print("the products of one token, milliseconds\n{:<16} {:<24} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}\n", "", "", "compute", "weights", "all",
             "allocate", "unpack", "widen", "multiply", "x ours");
  for (const auto& r : out["runs"]) {
    const auto stage = [&](const char* name) { return r.contains("stages_ms") ? fmt::format("{:.1f}", r["stages_ms"][name].get<double>()) : "-"; };
    fmt::print("{:<16} {:<24} {:>7} {:>9} {:>9.1f} {:>9} {:>9} {:>9} {:>9} {:>8.2f}\n", r["name"].get<std::string>(), r["way"].get<std::string>(),
               r["compute"].get<std::string>(), bytes_text(r["weight_bytes"].get<double>()), r["products_ms"].get<double>(), stage("allocate"),
               stage("unpack"), stage("widen"), stage("multiply"), r["times_ours"].get<double>());
  }
  return 0;
}

}  // namespace codecllm::cli
