// SPDX-License-Identifier: Apache-2.0
#include "gen/generate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "cli/loaded.h"
#include "cli/sampling.h"
#include "model/compute.h"

namespace codecllm::cli {

void add_generate(CLI::App& app, Globals& globals) {
  struct Arguments : SamplingArguments {
    std::string model, prompt;
  };
  auto a = std::make_shared<Arguments>();
  CLI::App& command = add_command(app, globals, "generate", "Continues a text", [&globals, a] {
    const auto context = globals.context();
    check(a->options.sampler);
    const Loaded loaded = load(*context, globals, a->model, a->held);
    const std::vector<int32_t> prompt = loaded.tokenizer.encode(a->prompt);
    if (prompt.empty()) throw Error(ErrorCode::bad_call, "generate", "the prompt is empty, and this model has no token to begin with");
    const int64_t trained = loaded.model.spec.max_positions, wanted = static_cast<int64_t>(prompt.size()) + a->options.max_tokens;
    if (static_cast<int64_t>(prompt.size()) >= trained)
      throw Error(ErrorCode::bad_call, "generate",
                  fmt::format("the prompt has {} tokens, the model was trained for {}", prompt.size(), trained));
    if (wanted > trained) note(globals, fmt::format("the text will end after {} tokens, the model's trained length", trained));
    TokenSession session(loaded.model, std::min(wanted, trained), kv_type(a->kv));
    const bool stream = !globals.json;
    a->options.cancelled = interrupted;
    if (stream) fmt::print("{}", a->prompt);
    const GenerateResult result = generate(session, loaded.model, loaded.tokenizer, prompt, a->options, [&](std::string_view text) {
      if (stream) {
        fmt::print("{}", text);
        std::fflush(stdout);
      }
      return !interrupted();
    });
    if (globals.json) {
      OrderedJson out = {{"text", result.text}, {"tokens", result.tokens}, {"finish", result.finish}, {"compute", compute_of(loaded.model.weights)},
                         {"prompt_tokens", result.prompt_tokens}, {"prompt_tok_s", result.prompt_tok_s()},
                         {"decode_tok_s", result.decode_tok_s()}, {"ttft_ms", 1e3 * result.ttft_s},
                         {"tpot_ms_p50", 1e3 * result.token_percentile_s(0.5)},
                         {"tpot_ms_p99", 1e3 * result.token_percentile_s(0.99)}, {"load_s", loaded.seconds}};
      if (loaded.cache) out["decode_cache"] = decode_cache_json(*loaded.cache);
      globals.print_json("generate", out);
    } else {
      fmt::print("\n");
      std::fflush(stdout);
      note(globals, fmt::format("{} prompt tokens at {:.0f} tok/s, {} new ones at {:.0f} tok/s ({})", result.prompt_tokens,
                                result.prompt_tok_s(), result.tokens.size(), result.decode_tok_s(), result.finish));
    }
    if (interrupted()) throw Error(ErrorCode::interrupted, "generate", fmt::format("interrupted after {} tokens", result.tokens.size()));
    return 0;
  });
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("-p,--prompt", a->prompt, "The text to continue")->required();
  add_sampling(command, *a);
}

}  // namespace codecllm::cli
