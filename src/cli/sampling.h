// SPDX-License-Identifier: Apache-2.0
// The options that generate and chat share.
#pragma once

#include "cli/loaded.h"
#include "gen/generate.h"

namespace codecllm::cli {

struct SamplingArguments {
  GenerateOptions options;
  std::string kv = "f16";
  ModelOptions held;
};

inline void add_sampling(CLI::App& command, SamplingArguments& a) {
  SamplerOptions& s = a.options.sampler;
  command.add_option("-n,--max-tokens", a.options.max_tokens, "Most tokens to generate")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))->capture_default_str();
  command.add_option("--temperature", s.temperature, "0 is greedy")->capture_default_str();
  command.add_option("--top-k", s.top_k, "Keep the K likeliest tokens; 0: all")->capture_default_str();
  command.add_option("--top-p", s.top_p, "Keep the likeliest tokens that make up P")->capture_default_str();
  command.add_option("--min-p", s.min_p, "Drop tokens below P times the likeliest")->capture_default_str();
  command.add_option("--repetition-penalty", s.repetition_penalty, "Above 1: less repetition")->capture_default_str();
  command.add_option("--seed", s.seed, "Same seed, same text")->check(check_unsigned)->capture_default_str();
  command.add_option("--stop", a.options.stop, "Text at which to stop; repeatable")->expected(1)->take_all();
  command.add_flag("--ignore-eos", a.options.ignore_eos, "Go on after the end token");
  add_kv(command, a.kv);
  add_model_options(command, a.held);
}

}  // namespace codecllm::cli
