// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "cli/bench_modes.h"
#include "cli/loaded.h"

namespace codecllm::cli {

namespace {

struct BenchArguments {
  std::vector<std::string> models, schemes;
  std::string op, baseline;
  GemmArguments gemm;
  bool profile = false;
  std::vector<std::string> prompts;
  std::string shape, kv = "f16";
  int rounds = 5;
  ModelOptions held;
  MeasureOptions measure;
};

struct Run {
  BenchTarget target;
  BenchWorker worker;
  Json info = {};
  std::vector<double> prefill = {}, decode = {};
  std::map<int64_t, std::vector<double>> batch = {}, context = {};  // by sequences, by tokens
  std::map<std::string, std::vector<double>> prompts = {};          // by PromptBatch::name
  double peak_rss = 0;
};

struct Spread {
  double middle, low, high;
};

Spread spread_of(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {median(values), *low, *high};
}

std::vector<BenchTarget> targets_of(const BenchArguments& a) {
  std::vector<BenchTarget> targets;
  for (const std::string& model : a.models) targets.push_back({model, model, "", "", a.held});
  if (a.shape.empty() && targets.empty())
    throw Error(ErrorCode::bad_call, "bench", "give model directories, or --shape with one or more --scheme");
  if (a.shape.empty() != a.schemes.empty())
    throw Error(ErrorCode::bad_call, "bench", "--shape and --scheme go together");
  for (const std::string& scheme : a.schemes) targets.push_back({scheme_preset(scheme).name, "", a.shape, scheme, a.held});
  return targets;
}

MachineState machine_state(const Json& m) {
  return {.read_bytes_s = m.at("read_bytes_s"), .int8_ops_s = m.at("int8_ops_s"), .bf16_flops_s = m.at("bf16_flops_s"), .two_over_one = m.at("two_over_one")};
}

// One round of every run in turn, with the machine probed before and after.
void measure_round(BenchWorker& machine, std::vector<Run>& runs, std::vector<MachineState>& machines) {
  machines.push_back(machine_state(machine.ask("round")));
  for (Run& run : runs) {
    const Json m = run.worker.ask("round");
    run.prefill.push_back(m.at("prefill_tok_s"));
    run.decode.push_back(m.at("decode_tok_s"));
    for (const auto& [count, rate] : m.at("batch").items()) run.batch[std::stoll(count)].push_back(rate);
    for (const auto& [tokens, rate] : m.at("context").items()) run.context[std::stoll(tokens)].push_back(rate);
    for (const auto& [name, rate] : m.at("prompts").items()) run.prompts[name].push_back(rate);
    run.peak_rss = m.at("peak_rss_bytes");
  }
  machines.push_back(machine_state(machine.ask("round")));
}

OrderedJson run_json(const Run& run, double read_bytes_s) {
  const Spread decode = spread_of(run.decode), prefill = spread_of(run.prefill);
  const double read = run.info.at("read_bytes_per_token");
  OrderedJson out = {{"name", run.target.name}, {"compute", run.info.at("compute")}, {"prefill_tok_s", prefill.middle}, {"decode_tok_s", decode.middle}};
  out["batch"] = {{"1", decode.middle}};
  for (const auto& [count, rates] : run.batch) out["batch"][std::to_string(count)] = median(rates);
  out["context"] = OrderedJson::object();
  for (const auto& [tokens, rates] : run.context) out["context"][std::to_string(tokens)] = median(rates);
  out["prompts"] = OrderedJson::object();
  for (const auto& [name, rates] : run.prompts) out["prompts"][name] = median(rates);
  out["weight_bytes"] = run.info.at("weight_bytes").get<uint64_t>();
  out["mapped_bytes"] = run.info.at("mapped_bytes").get<uint64_t>();
  out["bits_per_weight"] = run.info.at("bits_per_weight").get<double>();
  out["read_bytes_per_token"] = run.info.at("read_bytes_per_token").get<uint64_t>();
  out["bandwidth_fraction"] = read * decode.middle / read_bytes_s;
  out["kv_bytes"] = run.info.at("kv_bytes").get<uint64_t>();
  out["peak_rss_bytes"] = run.peak_rss;
  out["decode_cache"] = run.info.at("decode_cache");
  out["load_s"] = run.info.at("load_s").get<double>();
  out["spread"] = {{"decode", {decode.low, decode.high}}, {"prefill", {prefill.low, prefill.high}}};
  return out;
}

void print(const OrderedJson& out) {
  const auto& machine = out.at("machine");
  fmt::print("{}, {}\n", machine.at("cpu").get<std::string>(), machine_text(machine));
  fmt::print("{:<28} {:>7} {:>10} {:>10} {:>9} {:>20} {:>9} {:>6} {:>9}\n", "", "compute", "weights", "bits/w", "prefill",
             "decode (min-max)", "batch 8", "of bw", "peak");
  for (const auto& run : out.at("runs")) {
    const auto& spread = run.at("spread").at("decode");
    const auto& batch = run.at("batch");
    std::string name = run.at("name").get<std::string>();
    if (name.size() > 28) name = "..." + name.substr(name.size() - 25);
    fmt::print("{:<28} {:>7} {:>10} {:>10.3f} {:>9.1f} {:>20} {:>9} {:>6.2f} {:>9}\n", name,
               run.at("compute").get<std::string>(), bytes_text(run.at("weight_bytes").get<double>()),
               run.at("bits_per_weight").get<double>(), run.at("prefill_tok_s").get<double>(),
               fmt::format("{:.1f} ({:.1f}-{:.1f})", run.at("decode_tok_s").get<double>(), spread[0].get<double>(), spread[1].get<double>()),
               batch.contains("8") ? fmt::format("{:.1f}", batch.at("8").get<double>()) : "-",
               run.at("bandwidth_fraction").get<double>(), bytes_text(run.at("peak_rss_bytes").get<double>()));
    for (const auto& [sequences, rate] : batch.items())
      if (sequences != "1" && sequences != "8") fmt::print("{:<28} {} sequences together: {:.1f} tok/s\n", "", sequences, rate.get<double>());
    if (const auto& cache = run.at("decode_cache"); cache.at("matrices") > 0)
      fmt::print("  {}\n", decode_cache_text({cache.at("matrices"), cache.at("of"), cache.at("bytes")}));
    if (const double mapped = run.at("mapped_bytes"); mapped > 0)
      fmt::print("  {} of the weights in files, ready after {:.2f} s; the peak counts what is read of them\n", bytes_text(mapped), run.at("load_s").get<double>());
    for (const auto& [tokens, rate] : run.at("context").items())
      fmt::print("{:<28} behind {} tokens, KV cache {}: {:.2f} tok/s\n", "", tokens, out.at("kv").get<std::string>(), rate.get<double>());
  }
}

// Milliseconds of a pass, and tokens a second; a run across.
void print_prompts(const OrderedJson& out, const std::vector<PromptBatch>& prompts) {
  if (prompts.empty()) return;
  fmt::print("prompts x tokens, read together: ms (tok/s)\n{:>12}", "");
  for (const auto& run : out.at("runs")) fmt::print(" {:>20.20}", run.at("name").get<std::string>());
  for (const PromptBatch& p : prompts) {
    fmt::print("\n{:>12}", p.name());
    for (const auto& run : out.at("runs")) {
      const double rate = run.at("prompts").at(p.name());
      fmt::print(" {:>20}", fmt::format("{:.1f} ({:.1f})", 1e3 * static_cast<double>(p.sequences * p.tokens) / rate, rate));
    }
  }
  fmt::print("\n");
}

PromptBatch prompt_batch(const std::string& text) {
  PromptBatch p = {};
  const char *begin = text.data(), *end = begin + text.size();
  const auto first = std::from_chars(begin, end, p.sequences);
  const auto second = first.ec == std::errc() && first.ptr != end && *first.ptr == 'x' ? std::from_chars(first.ptr + 1, end, p.tokens) : first;
  if (second.ec != std::errc() || second.ptr != end || p.sequences < 1 || p.tokens < 1)
    throw Error(ErrorCode::bad_call, "--prompts", "'" + text + "' is not a number of prompts and one of tokens, such as 8x128");
  if (p.sequences > 4096 || p.tokens > (int64_t{1} << 20) / p.sequences)
    throw Error(ErrorCode::bad_call, "--prompts", "'" + text + "' are more than 4096 prompts, or more than a million tokens together; give fewer, such as 8x128");
  return p;
}

int bench(const Globals& globals, const BenchArguments& a) {
  if (!a.op.empty()) {
    GemmArguments gemm = a.gemm;
    for (const std::string& scheme : a.schemes) gemm.schemes.push_back(scheme_preset(scheme));
    gemm.compute = a.held.compute;
    gemm.rounds = a.rounds;
    return bench_gemm(globals, gemm);
  }
  if (a.measure.requests > 0) return bench_requests(globals, targets_of(a), a.measure);
  if (!a.baseline.empty()) return bench_unpack(globals, targets_of(a), a.rounds);
  if (a.profile) return bench_profile(globals, targets_of(a), a.measure, a.rounds);
  std::vector<Run> runs;
  // All processes are started before this one has threads. The machine is probed in one of its own, so that the probe's
  // buffer counts to nobody's memory.
  BenchWorker machine({"machine", "", "", ""}, globals, a.measure);
  for (const BenchTarget& target : targets_of(a)) runs.push_back({target, BenchWorker(target, globals, a.measure)});
  const Progress progress = globals.progress();
  const auto report = [&](double share, std::string_view what) {
    if (!progress(share, what)) throw Error(ErrorCode::interrupted, "bench", "interrupted");
  };
  report(0, "loading");
  for (Run& run : runs) run.info = run.worker.ask("info");
  std::vector<MachineState> machines;
  for (int round = 0; round < a.rounds; ++round) {
    report(static_cast<double>(round) / a.rounds, "measuring");
    measure_round(machine, runs, machines);
  }
  report(1, "measuring");
  const auto context = globals.context();
  const OrderedJson machine_json = machine_fields(*context, machines);
  OrderedJson out;
  out["rounds"] = a.rounds;
  out["prompt_tokens"] = a.measure.prompt_tokens;
  out["decode_tokens"] = a.measure.decode_tokens;
  out["kv"] = a.kv;
  out["runs"] = OrderedJson::array();
  for (const Run& run : runs) out["runs"].push_back(run_json(run, machine_json.at("read_bytes_s")));
  out["machine"] = machine_json;
  if (globals.json) {
    globals.print_json("bench", out);
  } else {
    print(out);
    print_prompts(out, a.measure.prompts);
  }
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Globals& globals) {
  auto a = std::make_shared<BenchArguments>();
  CLI::App& command = add_command(app, globals, "bench", "Speed and memory of models, or of schemes at a well-known size", [&globals, a] {
    a->measure.kv = kv_type(a->kv);
    for (const std::string& text : a->prompts) a->measure.prompts.push_back(prompt_batch(text));
    return bench(globals, *a);
  });
  CLI::Option* models = command.add_option("models", a->models, "Model directories");
  CLI::Option* shape = command.add_option("--shape", a->shape, "A well-known size with made-up weights, such as tinyllama-1.1b");
  command.add_option("--scheme", a->schemes, "With --shape: a scheme; repeatable")->expected(1)->take_all();
  CLI::Option* kv = add_kv(command, a->kv);
  const auto [decode_cache, mmap] = add_model_options(command, a->held);
  CLI::Option* op = command.add_option("--op", a->op, "Measure one operation with --scheme and --size instead of models: gemm")->check(CLI::IsMember({"gemm"}));
  CLI::Option* size = command.add_option("--size", a->gemm.size, "With --op gemm: M,N,K of y [M, N] = x [M, K] . w")->delimiter(',')->expected(3)->check(CLI::Range(int64_t{1}, int64_t{1} << 18));
  CLI::Option* outliers = command.add_option("--outliers", a->gemm.outliers, "With --op gemm: so many columns of x are 20 times as large as the others")->check(CLI::Range(0, 1 << 16));
  CLI::Option* experts = command.add_option("--experts", a->gemm.experts, "With --op gemm: M rows over so many weights, in one call, beside a dense product of M rows")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 12));
  CLI::Option* layout = command.add_option("--layout", a->gemm.layout, "With --experts: rows sorted by expert, or a fixed number of places for each, of which some are taken")
      ->check(CLI::IsMember({"contiguous", "masked"}))->capture_default_str();
  CLI::Option* sweep = command.add_option("--sweep", a->gemm.sweep, "With --op gemm: times over rows and panels that are handed out together (tiles), sizes of blocks that share a scale (block-size), or types of scales (scale-layout); sizes that divide K")
      ->check(CLI::IsMember({"tiles", "block-size", "scale-layout"}));
  CLI::Option* baseline = command.add_option("--baseline", a->baseline, "Measure the products of a token beside the naive way: unpack (zstd for each layer, then 16-bit weights)")
      ->check(CLI::IsMember({"unpack"}));
  CLI::Option* profile = command.add_flag("--profile", a->profile, "Time by operation, kernel by layer, memory by owner");
  CLI::Option* requests = command.add_option("--requests", a->measure.requests, "Run so many prompts, of a quarter to all of --prompt-tokens, up to the largest --batch at once")
      ->check(CLI::Range(1, 1 << 20));
  CLI::Option* rounds = command.add_option("--rounds", a->rounds, "Rounds in which the models take turns; medians are shown")->check(CLI::Range(1, 1000))->capture_default_str();
  CLI::Option* prompt = command.add_option("--prompt-tokens", a->measure.prompt_tokens, "Tokens of the prefill")->check(CLI::Range(int64_t{1}, int64_t{1} << 20))->capture_default_str();
  CLI::Option* decode = command.add_option("--decode-tokens", a->measure.decode_tokens, "Tokens decoded one by one")->check(CLI::Range(int64_t{1}, int64_t{1} << 20))->capture_default_str();
  CLI::Option* context = command.add_option("--context", a->measure.contexts, "Decode one sequence behind so many tokens with made-up keys and values, too; repeatable")
      ->expected(1)->take_all()->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  CLI::Option* prompts = command.add_option("--prompts", a->prompts, "Read so many prompts of so many tokens together, too, such as 8x128; repeatable")->expected(1)->take_all();
  CLI::Option* batch = command.add_option("--batch", a->measure.batches, "Sequences decoded together; repeatable (default 4, 8, 16)")
      ->expected(1)->take_all()->check(CLI::Range(1, 4096));
  // What has no meaning beside another option is refused, not dropped.
  for (CLI::Option* option : {size, outliers, experts, sweep}) option->needs(op);
  layout->needs(experts);
  const auto exclude = [](CLI::Option* option, std::initializer_list<CLI::Option*> others) {
    for (CLI::Option* other : others) option->excludes(other);
  };
  exclude(op, {models, shape, kv, decode_cache, mmap, baseline, profile, requests, prompt, decode, context, prompts, batch});
  exclude(experts, {outliers, sweep});
  exclude(sweep, {outliers});
  exclude(mmap, {shape, baseline});
  exclude(baseline, {kv, profile, requests, prompt, decode, context, prompts, batch});
  exclude(profile, {requests, context, prompts, batch});
  exclude(requests, {rounds, context, prompts});
}

}  // namespace codecllm::cli
