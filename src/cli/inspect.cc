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
  for (const TensorReport& t : r.tensors) {
    OrderedJson tensor = {{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}, {"bytes", t.bytes},
                          {"entropy_bits", t.entropy_bits}, {"not_finite", t.not_finite}};
    if (t.coded)
      tensor["coded"] = {{"kind", t.coded->kind}, {"low_bits", t.coded->low_bits}, {"digits", t.coded->digits}, {"weights", t.coded->weights},
                         {"bits_per_weight", t.coded->bits_per_weight}, {"overhead_bits", t.coded->bits_per_weight - t.entropy_bits}};
    out["tensors"].push_back(tensor);
  }
  out["problems"] = OrderedJson::array();
  for (const Problem& p : r.problems)
    out["problems"].push_back({{"severity", p.error ? "error" : "warning"}, {"text", p.text}, {"remedy", p.remedy}});
  return out;
}

// "odd 2+2+3": kind and bits of the digits, low bits first where there are some.
std::string code_text(const CodedReport& c) {
  std::string text = c.kind + " ";
  if (c.low_bits > 0) text += fmt::format("{}:", c.low_bits);
  for (size_t i = 0; i < c.digits.size(); ++i) text += (i > 0 ? "+" : "") + std::to_string(c.digits[i]);
  return text;
}

// What coding made of all coded tensors together.
void print_coded(const InspectResult& r) {
  double weights = 0, bits = 0, entropy = 0;
  int64_t tensors = 0;
  for (const TensorReport& t : r.tensors) {
    if (!t.coded) continue;
    const auto n = static_cast<double>(t.coded->weights);
    ++tensors, weights += n, bits += n * t.coded->bits_per_weight, entropy += n * t.entropy_bits;
  }
  if (tensors > 0)
    fmt::print("  {} coded tensors: {:.3f} bits per weight, {:.3f} over the entropy of what they hold ({:+.1f}%)\n", tensors, bits / weights,
               (bits - entropy) / weights, 100 * (bits / entropy - 1));
}

void print(const InspectResult& r, bool verbose) {
  fmt::print("{}: {:.1f} M parameters in {} ({:.3f} bits per weight of the {} linear layers)\n", r.family, r.parameters / 1e6,
             bytes_text(static_cast<double>(r.weight_bytes)), r.bits_per_weight, r.linear_layers);
  for (const auto& [kind, count] : r.kinds) fmt::print("  {:<10} {}\n", kind, count);
  for (const auto& [scheme, count] : r.schemes) fmt::print("  {} linear layers are {}\n", count, scheme);
  if (r.scales.count > 0)
    fmt::print("  {} scales, {:.3g} to {:.3g}, mean {:.3g}, {} zero\n", r.scales.count, r.scales.min, r.scales.max,
               r.scales.mean, r.scales.zeros);
  print_coded(r);
  if (verbose || r.tensors.size() <= 24) {
    fmt::print("\n{:<52} {:<5} {:>15} {:>10} {:>8} {:>7} {:>9}\n", "tensor", "type", "shape", "bytes", "entropy", "coded", "overhead");
    for (const TensorReport& t : r.tensors)
      fmt::print("{:<52} {:<5} {:>15} {:>10} {:>8}{}\n", t.name, t.dtype, shape_text(t.shape), t.bytes,
                 t.entropy_bits > 0 ? fmt::format("{:.2f}", t.entropy_bits) : "",
                 t.coded ? fmt::format(" {:>7.3f} {:>9.3f}  {}", t.coded->bits_per_weight, t.coded->bits_per_weight - t.entropy_bits, code_text(*t.coded)) : "");
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
  command.add_option("model", *model, "Model directory or .gguf file")->required();
}

}  // namespace codecllm::cli
