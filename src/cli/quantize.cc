// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "cli/command.h"
#include "gen/machine.h"
#include "plan/kl_budget.h"
#include "quant/dry_run.h"

namespace codecllm::cli {

namespace {

struct QuantizeArguments {
  std::string model, output, scheme, recipe, rule = "codecllm";
  Selection selection;
  bool force = false, strict = false, dry_run = false;
  AlgorithmOptions algorithm;
  RateTarget target;
  std::optional<double> max_kl;
};

OrderedJson to_json(const KlBudgetResult& budget, const QuantizeArguments& a) {
  const QuantizeResult& r = budget.made;
  OrderedJson out = {{"scheme", a.recipe.empty() ? a.scheme : a.recipe}, {"algorithm", a.recipe.empty() ? a.algorithm.name : "recipe"},
                     {"output", a.output}, {"weight_bytes", r.weight_bytes},
                     {"source_bytes", r.source_bytes}, {"bits_per_weight", r.bits_per_weight},
                     {"ratio", r.ratio},           {"seconds", r.seconds}, {"calibration_seconds", r.calibration_seconds}, {"resumed", r.resumed}};
  out["layers"] = OrderedJson::array();
  for (const LayerReport& layer : r.layers)
    out["layers"].push_back({{"name", layer.name}, {"scheme", layer.scheme}, {"sqnr_db", layer.sqnr_db},
                             {"max_abs_error", layer.max_abs_error}});
  if (!r.plan.empty()) out["plan"] = OrderedJson::array();
  for (const PlannedRate& layer : r.plan)
    out["plan"].push_back({{"name", layer.name}, {"weights", layer.weights}, {"energy", layer.energy},
                           {"sensitivity", layer.sensitivity}, {"bits", layer.bits}});
  if (a.max_kl) {
    out["kl_mean"] = budget.kl;
    out["kl_tokens"] = budget.tokens;
    out["trials"] = OrderedJson::array();
    for (const RateTrial& trial : budget.trials) out["trials"].push_back({{"bits", trial.bits}, {"kl_mean", trial.kl}});
  }
  out["notes"] = r.notes;
  out["bad"] = r.bad;
  out["verdict"] = r.bad.empty() ? "good" : "bad";
  return out;
}

void print(const KlBudgetResult& budget, const QuantizeArguments& a) {
  const QuantizeResult& r = budget.made;
  for (const RateTrial& trial : budget.trials)
    fmt::print("tried {:>6.3f} bits per weight: KL {:.5f} over {} tokens{}\n", trial.bits, trial.kl, budget.tokens, trial.bits == budget.bits ? ", chosen" : "");
  if (!r.plan.empty()) fmt::print("{:<44} {:>12} {:>12} {:>12} {:>6}\n", "planned", "weights", "energy", "sensitivity", "bits");
  for (const PlannedRate& layer : r.plan)
    fmt::print("{:<44} {:>12} {:>12.3g} {:>12.3g} {:>6.2f}\n", layer.name, layer.weights, layer.energy, layer.sensitivity, layer.bits);
  fmt::print("{:<44} {:<16} {:>8} {:>12}\n", "layer", "scheme", "SQNR dB", "max error");
  for (const LayerReport& layer : r.layers)
    fmt::print("{:<44} {:<16} {:>8.2f} {:>12.3g}\n", layer.name, layer.scheme, layer.sqnr_db, layer.max_abs_error);
  fmt::print("\n{} -> {} ({:.2f}x smaller), {:.3f} bits per quantized weight, {:.1f} s{}\n",
             bytes_text(static_cast<double>(r.source_bytes)), bytes_text(static_cast<double>(r.weight_bytes)), r.ratio,
             r.bits_per_weight, r.seconds, r.resumed ? ", taken up after an interruption" : "");
  fmt::print("every tensor was read back and checked: {}; written to {}\n",
             r.bad.empty() ? "good" : fmt::format("{} BAD", r.bad.size()), a.output);
}

// The plan, its size, and how fast it can be at most: a decode step reads all weights once.
int print_plan(const Globals& globals, const Context& context, const QuantizePlan& plan) {
  for (const std::string& sentence : plan.notes) note(globals, sentence);
  const double read_bytes_s = probe_machine(context).read_bytes_s, tok_s = read_bytes_s / static_cast<double>(plan.read_bytes_per_token);
  if (globals.json) {
    OrderedJson out = {{"weight_bytes", plan.weight_bytes}, {"source_bytes", plan.source_bytes}, {"bits_per_weight", plan.bits_per_weight},
                       {"ratio", plan.ratio}, {"read_bytes_per_token", plan.read_bytes_per_token},
                       {"machine", {{"read_bytes_s", read_bytes_s}}}, {"decode_tok_s_at_most", tok_s}};
    out["layers"] = OrderedJson::array();
    for (const PlannedLayer& layer : plan.layers)
      out["layers"].push_back({{"name", layer.name}, {"scheme", layer.scheme}, {"activations", layer.activations},
                               {"algorithm", layer.algorithm}, {"bytes", layer.bytes}});
    out["notes"] = plan.notes;
    globals.print_json("quantize-plan", out);
    return 0;
  }
  fmt::print("{:<44} {:<24} {:<12} {:<12} {:>10}\n", "layer", "scheme", "activations", "algorithm", "size");
  for (const PlannedLayer& layer : plan.layers)
    fmt::print("{:<44} {:<24} {:<12} {:<12} {:>10}\n", layer.name, layer.scheme, layer.activations, layer.algorithm,
               bytes_text(static_cast<double>(layer.bytes)));
  fmt::print("\n{} -> {} ({:.2f}x smaller), {:.3f} bits per quantized weight; nothing was written\n",
             bytes_text(static_cast<double>(plan.source_bytes)), bytes_text(static_cast<double>(plan.weight_bytes)), plan.ratio, plan.bits_per_weight);
  fmt::print("a decode step reads {}: at most {:.0f} tok/s at the {:.1f} GB/s that this machine reads now\n",
             bytes_text(static_cast<double>(plan.read_bytes_per_token)), tok_s, read_bytes_s * 1e-9);
  return 0;
}

// Options that stand in the steps of a recipe, and how.
struct StepOption {
  const char *name, *key;
};
constexpr StepOption kStepOptions[] = {{"--only", "\"targets\": [...]"}, {"--ignore", "\"ignore\": [...]"}, {"--algorithm", "\"algorithm\": \"NAME\""},
                                       {"--clip", "\"parameters\": {\"clip\": true}"}, {"--alpha", "\"parameters\": {\"alpha\": X}"}};

QuantizeOptions options_of(const CLI::App& command, QuantizeArguments& a) {
  if (a.scheme.empty() && a.recipe.empty() && !a.target && !a.max_kl)
    throw Error(ErrorCode::bad_call, "quantize", "say what to make: --scheme NAME, --recipe FILE, or --target-bits, --target-size or --max-kl");
  if (!a.recipe.empty() && (!a.scheme.empty() || a.target || a.max_kl))
    throw Error(ErrorCode::bad_call, "quantize", "--recipe has the schemes of its steps; leave --scheme out, and targets of bits, bytes or divergence");
  // The rates of the layers come from the target; the name says what was asked for.
  if (a.scheme.empty() && a.recipe.empty()) a.scheme = a.target.bits ? fmt::format("coded-{:g}", *a.target.bits) : "coded-4";
  QuantizeOptions options = {.target = a.target, .selection = a.selection, .algorithm = a.algorithm, .force = a.force, .strict = a.strict};
  options.scale_rule = a.rule == "compressed-tensors" ? ScaleRule::full : ScaleRule::restricted;
  if (a.recipe.empty()) {
    options.scheme = scheme_preset(a.scheme);
    return options;
  }
  for (const StepOption& option : kStepOptions)
    if (command.count(option.name) > 0)
      throw Error(ErrorCode::bad_call, "quantize", fmt::format("{} does not go with --recipe; say {} in the steps of the recipe", option.name, option.key),
                  {.file = a.recipe});
  options.recipe = read_recipe(a.recipe, a.algorithm.calibration);
  return options;
}

// Sentences about options that were given and change nothing.
std::vector<std::string> without_effect(const CLI::App& command, const QuantizeArguments& a, const QuantizeOptions& options) {
  bool observed = false, smooths = false, calibrated = a.target || a.max_kl, codes = false, ruled = false;
  const auto rules = [](const std::optional<QuantArgs>& args) { return args && args->type == NumberType::integer && args->symmetric && !args->dynamic; };
  for (const RecipeStep& step : recipe_of(options)) {
    const auto& inputs = step.scheme.activations;
    if (!step.scheme.weights && !coded_scheme(step.scheme.name)) continue;
    codes = true;
    ruled = ruled || rules(step.scheme.weights) || rules(inputs);
    const Algorithm algorithm = algorithm_named(step.algorithm.name);
    observed = observed || (inputs && !inputs->dynamic);
    smooths = smooths || algorithm.parameters.find("alpha") != std::string::npos;
    calibrated = calibrated || algorithm.calibrates() || (inputs && inputs->outliers);
  }
  calibrated = (calibrated || observed) && !a.algorithm.calibration.text.empty();
  std::vector<std::string> sentences;
  const auto say = [&](bool effect, const char* why, std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (!effect && command.count(name) > 0) sentences.push_back(fmt::format("{}, so {} has no effect", why, name));
  };
  say(codes, "plain numbers have no codes to find", {"--algorithm", "--clip"});
  say(ruled, "nothing here is symmetric integers", {"--scale-rule"});
  say(calibrated, "nothing here is calibrated", {"--calibrate", "--samples", "--sample-tokens"});
  say(observed, "no activations here have static scales", {"--observer", "--percentile"});
  say(!observed || a.algorithm.calibration.observer.name == "percentile", "the observer is not percentile", {"--percentile"});
  say(smooths, "nothing here is smoothed by SmoothQuant", {"--alpha"});
  return sentences;
}

int quantize(const CLI::App& given, const Globals& globals, QuantizeArguments& a) {
  const auto context = globals.context();
  const QuantizeOptions options = options_of(given, a);
  const auto add_idle = [&](std::vector<std::string>& notes) {
    for (std::string& sentence : without_effect(given, a, options)) notes.push_back(std::move(sentence));
  };
  if (a.dry_run) {
    QuantizePlan plan = plan_checkpoint(a.model, options);
    add_idle(plan.notes);
    return print_plan(globals, *context, plan);
  }
  if (a.output.empty()) throw Error(ErrorCode::bad_call, "quantize", "no directory to write; give one with -o");
  KlBudgetResult result;
  if (a.max_kl) {
    result = quantize_within_kl(*context, a.model, a.output, options, *a.max_kl, globals.progress());
    a.scheme = fmt::format("coded-{:g}", result.bits);
  } else {
    result.made = quantize_checkpoint(*context, a.model, a.output, options, globals.progress());
  }
  add_idle(result.made.notes);
  for (const std::string& sentence : result.made.notes) note(globals, sentence);
  for (const std::string& sentence : result.made.bad) note(globals, "BAD, written because of --force: " + sentence);
  if (globals.json) {
    globals.print_json("quantize", to_json(result, a));
  } else {
    print(result, a);
  }
  return result.made.bad.empty() ? 0 : 1;
}

}  // namespace

void add_quantize(CLI::App& app, Globals& globals) {
  auto a = std::make_shared<QuantizeArguments>();
  CLI::App& command = add_command(app, globals, "quantize", "Writes a smaller checkpoint, and proves that it is a good one",
                                  [&app, &globals, a] { return quantize(*app.get_subcommand("quantize"), globals, *a); });
  std::string presets;
  for (const QuantScheme& preset : scheme_presets()) presets += (presets.empty() ? "" : ", ") + preset.name;
  presets += ", lossless, int8-coded, fp8-coded, coded-B (for example coded-4.5)";
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("-o,--output", a->output, "Directory to write; must not exist");
  command.add_option("--scheme", a->scheme, presets);
  command.add_option("--target-bits", a->target.bits, "Choose the bits of every coded layer so that they are so many a weight together")->check(CLI::Range(2.0, 8.0));
  as_size(command.add_option("--target-size", a->target.bytes, "The same for the bytes of all weight files, such as 4MB"));
  command.add_option("--max-kl", a->max_kl, "Choose them so that the divergence from the model on the text of --calibrate is at most this, nats per token")->check(CLI::PositiveNumber);
  command.add_option("--recipe", a->recipe, "A JSON file of steps: schemes, algorithms and the layers they are for (docs/recipes.md)")->check(CLI::ExistingFile);
  command.add_flag("--dry-run", a->dry_run, "Prints the plan, the size and how fast it can be at most; writes nothing");
  command.add_flag("--strict", a->strict, "Refuse what would otherwise be done in another way than asked for");
  command.add_option("--ignore", a->selection.ignore, "Layers to leave in 16 bits: a glob, re:REGEX, attention, mlp, first-block or last-block; repeatable")
      ->expected(1)->take_all();
  command.add_option("--only", a->selection.only, "Layers to quantize (default: all linear layers but lm_head); repeatable")
      ->expected(1)->take_all();
  command.add_option("--scale-rule", a->rule, "codecllm (amax/127) or compressed-tensors (amax/127.5)")
      ->check(CLI::IsMember({"codecllm", "compressed-tensors"}))->capture_default_str();
  CalibrationOptions& calibration = a->algorithm.calibration;
  command.add_option("--algorithm", a->algorithm.name, "How the codes are found: rtn, gptq, awq, smoothquant, smoothquant+gptq or awq+gptq")->capture_default_str();
  command.add_option("--calibrate", calibration.text, "A text file for what looks at activations")->check(CLI::ExistingFile);
  command.add_option("--samples", calibration.samples, "Windows of that text")->check(CLI::Range(int64_t{1}, int64_t{1} << 20))->capture_default_str();
  command.add_option("--sample-tokens", calibration.tokens, "Tokens of a window (default: 512, or the trained length)")->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command.add_option("--observer", calibration.observer.name, "What static activation scales cover")
      ->check(CLI::IsMember(observer_names()))->capture_default_str();
  command.add_option("--percentile", calibration.observer.percentile, "Share of magnitudes that --observer percentile covers")->capture_default_str();
  command.add_flag("--clip", a->algorithm.clip, "Scales of the smallest squared error of the weights, instead of the largest weight's");
  command.add_option("--alpha", a->algorithm.alpha, "smoothquant: share of the difficulty that moves to the weights")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  command.add_flag("--force", a->force, "Keep the output even when a check fails (exit code 1 all the same)");
}

}  // namespace codecllm::cli
