// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <map>

#include "cli/bench_modes.h"
#include "cli/loaded.h"
#include "gen/profile.h"

namespace codecllm::cli {

namespace {

OrderedJson profile_json(const BenchTarget& target, const Profile& p) {
  OrderedJson run = {{"name", target.name}};
  double prefill = 0, linear_s = 0, operations = 0;
  for (const OpTime& op : p.ops) {
    prefill += op.prefill_s;
    if (op.prefill_operations > 0 && op.op != "lm_head") linear_s += op.prefill_s, operations += op.prefill_operations;
    OrderedJson row = {{"op", op.op}, {"prefill_ms", 1e3 * op.prefill_s}, {"decode_us", 1e6 * op.decode_s}};
    if (op.weight_bytes > 0) {
      row["prefill_gop_s"] = op.prefill_s > 0 ? op.prefill_operations / op.prefill_s / 1e9 : 0;
      row["decode_gb_s"] = op.decode_s > 0 ? op.weight_bytes / op.decode_s / 1e9 : 0;
    }
    run["ops"].push_back(row);
  }
  run["prefill_linear_gop_s"] = linear_s > 0 ? operations / linear_s / 1e9 : 0;
  run["prefill_linear_share"] = prefill > 0 ? linear_s / prefill : 0;
  for (const KernelUse& k : p.kernels) run["kernels"].push_back({{"layer", k.layer}, {"kernel", k.kernel}, {"fallback", k.fallback}});
  run["memory"] = {{"weights", p.weight_bytes}, {"mapped", p.mapped_bytes}, {"kv", p.kv_bytes}, {"scratch", p.scratch_bytes}};
  return run;
}

void print_profile(const OrderedJson& run, double int8_ops_s) {
  fmt::print("\n{}\n{:<12} {:>12} {:>10} {:>12} {:>10}\n", run["name"].get<std::string>(), "operation", "prefill ms", "GOP/s", "decode us", "GB/s");
  for (const auto& op : run["ops"]) {
    const bool linear = op.contains("decode_gb_s");
    fmt::print("{:<12} {:>12.2f} {:>10} {:>12.1f} {:>10}\n", op["op"].get<std::string>(), op["prefill_ms"].get<double>(),
               linear ? fmt::format("{:.1f}", op["prefill_gop_s"].get<double>()) : "", op["decode_us"].get<double>(),
               linear ? fmt::format("{:.2f}", op["decode_gb_s"].get<double>()) : "");
  }
  const double rate = run["prefill_linear_gop_s"];
  fmt::print("linear layers in prefill: {:.1f} GOP/s, {:.2f} of the INT8 multiplier, {:.0f}% of the time\n", rate, 1e9 * rate / int8_ops_s,
             100 * run["prefill_linear_share"].get<double>());
  std::map<std::string, int> kernels;
  for (const auto& k : run["kernels"])
    ++kernels[k["kernel"].get<std::string>() + (k["fallback"].get<bool>() ? " (falls back: this layer is not quantized)" : "")];
  for (const auto& [kernel, count] : kernels) fmt::print("{:>4} layers: {}\n", count, kernel);
  const auto& memory = run["memory"];
  fmt::print("memory: weights {}{}, KV cache {}, scratch {}\n", bytes_text(memory["weights"].get<double>()),
             memory["mapped"] > 0 ? ", of them " + bytes_text(memory["mapped"].get<double>()) + " in files" : "", bytes_text(memory["kv"].get<double>()),
             bytes_text(memory["scratch"].get<double>()));
}

}  // namespace

int bench_profile(const Globals& globals, const std::vector<BenchTarget>& targets, const MeasureOptions& options, int rounds) {
  const auto context = globals.context();
  OrderedJson runs = OrderedJson::array();
  std::vector<MachineState> machines;
  for (const BenchTarget& target : targets) {
    DecodeCache cache;
    const DecoderModel model = make_model(*context, target, &cache);
    machines.push_back(probe_machine(*context));
    runs.push_back(profile_json(target, profile(model, options, rounds)));
    runs.back()["decode_cache"] = decode_cache_json(cache);
  }
  OrderedJson out = {{"rounds", rounds}, {"prompt_tokens", options.prompt_tokens}, {"decode_tokens", options.decode_tokens}, {"runs", runs}};
  out["machine"] = machine_fields(*context, machines);
  if (globals.json) {
    globals.print_json("bench", out);
  } else {
    for (const auto& run : out["runs"]) print_profile(run, out["machine"]["int8_ops_s"]);
  }
  return 0;
}

}  // namespace codecllm::cli
