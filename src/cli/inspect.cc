// SPDX-License-Identifier: Apache-2.0
#include "eval/inspect.h"

#include <fmt/core.h>

#include "cli/command.h"

namespace codecllm::cli {

namespace {

OrderedJson to_json(const InspectResult& r) {
  OrderedJson out = {{"family", r.family},         {"linear_layers", r.linear_layers}, {"kinds", r.kinds},
                     {"parameters", r.parameters}, {"weight_bytes", r.weight_bytes},   {"bits_per_weight", r.bits_per_weight},
                     {"dtypes", r.dtypes},         {"schemes", r.schemes}};
  out["scales"] = {{"count", r.scales.count}, {"dtypes", r.scales.dtypes}, {"min", r.scales.min},
                   {"max", r.scales.max},     {"mean", r.scales.mean},     {"zeros", r.scales.zeros}};
  out["tensors"] = OrderedJson::array();
  for (const TensorReport& t : r.tensors)
    out["tensors"].push_back({{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}, {"bytes", t.bytes},
                              {"entropy_bits", t.entropy_bits}, {"not_finite", t.not_finite}});
  out["problems"] = OrderedJson::array();
  for (const Problem& p : r.problems)
    out["problems"].push_back({{"severity", p.error ? "error" : "warning"}, {"text", p.text}, {"remedy", p.remedy}});
  return out;
}

void print(const InspectResult& r, bool verbose) {
  fmt::print("{}: {:.1f} M parameters in {} ({:.3f} bits per weight of the {} linear layers)\n", r.family, r.parameters / 1e6,
             bytes_text(static_cast<double>(r.weight_bytes)), r.bits_per_weight, r.linear_layers);
  for (const auto& [kind, count] : r.kinds) fmt::print("  {:<10} {}\n", kind, count);
  for (const auto& [scheme, count] : r.schemes) fmt::print("  {} linear layers are {}\n", count, scheme);
  if (r.scales.count > 0)
    fmt::print("  {} scales, {:.3g} to {:.3g}, mean {:.3g}, {} zero\n", r.scales.count, r.scales.min, r.scales.max,
               r.scales.mean, r.scales.zeros);
  if (verbose || r.tensors.size() <= 24) {
    fmt::print("\n{:<52} {:<5} {:>15} {:>10} {:>8}\n", "tensor", "type", "shape", "bytes", "entropy");
    for (const TensorReport& t : r.tensors)
      fmt::print("{:<52} {:<5} {:>15} {:>10} {:>8}\n", t.name, t.dtype, shape_text(t.shape), t.bytes,
                 t.entropy_bits > 0 ? fmt::format("{:.2f}", t.entropy_bits) : "");
  } else {
    fmt::print("  {} tensors (-v lists them)\n", r.tensors.size());
  }
  for (const Problem& p : r.problems)
    fmt::print("\n{}: {}\n  remedy: {}\n", p.error ? "ERROR" : "warning", p.text, p.remedy);
  if (r.problems.empty()) fmt::print("\nno problems found\n");
}

}  // namespace

void add_inspect(CLI::App& app, Globals& globals) {
  auto model = std::make_shared<std::string>();
  CLI::App& command = add_command(app, globals, "inspect", "What a model holds, and what is wrong with it", [&globals, model] {
    const auto context = globals.context();
    const InspectResult result = inspect(*context, Checkpoint(*model), globals.progress());
    if (globals.json) {
      globals.print_json("inspect", to_json(result));
    } else {
      print(result, globals.verbose);
    }
    return std::any_of(result.problems.begin(), result.problems.end(), [](const Problem& p) { return p.error; }) ? 1 : 0;
  });
  command.add_option("model", *model, "Model directory")->required();
}

}  // namespace codecllm::cli
