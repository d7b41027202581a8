// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "cli/bench_modes.h"
#include "cli/unpack.h"
#include "gen/measure.h"
#include "model/compute.h"

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
  std::vector<UnpackTimes> rounds;
  double difference = 0;

  // Of what `value` takes of each round.
  template <class Value>
  double median_of(Value value) const {
    std::vector<double> values;
    for (const UnpackTimes& round : rounds) values.push_back(std::invoke(value, round));
    return median(std::move(values));
  }
  double median_ms(double UnpackTimes::* stage) const { return 1e3 * median_of(stage); }
  size_t allocated_bytes() const { return std::ranges::max(rounds, {}, &UnpackTimes::allocated_bytes).allocated_bytes; }
};

// Rows of one model: its own products, then each way.
void add_rows(const DecoderModel& model, const BenchTarget& target, int rounds, const Progress& progress, OrderedJson& runs) {
  UnpackedProducts products(model);
  if (products.matrices() == 0)
    throw Error(ErrorCode::unsupported, "bench", "--baseline unpack takes 8-bit integers with one scale per row, and there are none; give a model or scheme such as int8, int8-coded or coded-4.5",
                {.file = target.model});
  const std::string compute(compute_of(model.weights));
  std::vector<double> ours;
  std::vector<WayTimes> ways(std::size(kWays));
  for (int round = 0; round < rounds; ++round) {
    if (!progress(static_cast<double>(round) / rounds, "measuring")) throw Error(ErrorCode::interrupted, "bench", "interrupted");
    ours.push_back(products.run_ours());
    for (size_t i = 0; i < ways.size(); ++i) {
      ways[i].rounds.push_back(products.run(kWays[i].way));
      ways[i].difference = products.largest_difference();
    }
  }
  runs.push_back({{"name", target.name}, {"way", "ours"}, {"compute", compute}, {"matrices", products.matrices()},
                  {"left_out", products.left_out()}, {"weight_bytes", products.our_bytes()}, {"products_ms", 1e3 * median(ours)}, {"times_ours", 1.0}});
  for (size_t i = 0; i < ways.size(); ++i) {
    const WayTimes& w = ways[i];
    const double total = w.median_of(&UnpackTimes::total);
    runs.push_back({{"name", target.name}, {"way", kWays[i].name}, {"compute", kWays[i].way.fuse ? compute : "a16"}, {"matrices", products.matrices()},
                    {"left_out", products.left_out()}, {"weight_bytes", products.packed_bytes()}, {"products_ms", 1e3 * total}, {"times_ours", total / median(ours)},
                    {"stages_ms", {{"allocate", w.median_ms(&UnpackTimes::allocate)}, {"unpack", w.median_ms(&UnpackTimes::unpack)},
                                   {"widen", w.median_ms(&UnpackTimes::widen)}, {"multiply", w.median_ms(&UnpackTimes::multiply)}}},
                    {"allocated_bytes", w.allocated_bytes()},
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
  out["machine"] = machine_fields(*context, {machine});
  if (globals.json) {
    globals.print_json("bench", out);
    return 0;
  }
  fmt::print("the products of one token, milliseconds; {}\n{:<16} {:<24} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}\n", machine_text(out["machine"]), "", "", "compute", "weights", "all",
             "allocate", "unpack", "widen", "multiply", "x ours");
  for (const auto& r : out["runs"]) {
    const auto stage = [&](const char* name) { return r.contains("stages_ms") ? fmt::format("{:.1f}", r["stages_ms"][name].get<double>()) : "-"; };
    fmt::print("{:<16} {:<24} {:>7} {:>9} {:>9.1f} {:>9} {:>9} {:>9} {:>9} {:>8.2f}\n", r["name"].get<std::string>(), r["way"].get<std::string>(),
               r["compute"].get<std::string>(), bytes_text(r["weight_bytes"].get<double>()), r["products_ms"].get<double>(), stage("allocate"),
               stage("unpack"), stage("widen"), stage("multiply"), r["times_ours"].get<double>());
  }
  for (const auto& r : out["runs"])
    if (r["way"] == "ours" && r["left_out"] > 0)
      fmt::print("{}: {} of {} matrices are no 8-bit integers with one scale per row, and are left out on both sides\n", r["name"].get<std::string>(),
                 r["left_out"].get<int64_t>(), r["left_out"].get<int64_t>() + r["matrices"].get<int64_t>());
  return 0;
}

}  // namespace codecllm::cli
