// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cstdio>
#include <iostream>

#include "cli/loaded.h"
#include "cli/sampling.h"
#include "text/chat_template.h"

namespace codecllm::cli {

namespace {

// Runs the conversation again from where the session's tokens and the new ones part, and generates the answer.
std::string answer(TokenSession& session, const Loaded& loaded, const std::vector<int32_t>& tokens,
                   const GenerateOptions& options) {
  const std::span<const int32_t> held = session.tokens();
  size_t same = 0;
  while (same + 1 < tokens.size() && same < held.size() && held[same] == tokens[same]) ++same;
  session.truncate(static_cast<int64_t>(same));
  const auto fresh = std::span(tokens).subspan(same);
  const GenerateResult result = generate(session, loaded.model, loaded.tokenizer, fresh, options, [](std::string_view text) {
    fmt::print("{}", text);
    std::fflush(stdout);
    return !interrupted();
  });
  fmt::print("\n");
  return result.text;
}

}  // namespace

void add_chat(CLI::App& app, Globals& globals) {
  struct Arguments : SamplingArguments {
    std::string model, system;
  };
  auto a = std::make_shared<Arguments>();
  a->options.max_tokens = 512;
  a->options.own_text = true;
  a->options.cancelled = interrupted;
  CLI::App& command = add_command(app, globals, "chat", "Talks, with the model's chat template; Ctrl-D ends", [&globals, a] {
    if (globals.json) throw Error(ErrorCode::bad_call, "chat", "chat is interactive and has no --json; use generate");
    const auto context = globals.context();
    check(a->options.sampler);
    const Loaded loaded = load(*context, globals, a->model, a->compute, a->decode_cache);
    if (loaded.tokenizer.chat_template().empty())
      throw Error(ErrorCode::bad_call, "chat", "this model has no chat template; use generate", {.file = a->model});
    TokenSession session(loaded.model, loaded.model.spec.max_positions, kv_type(a->kv));
    std::vector<ChatMessage> messages;
    if (!a->system.empty()) messages.push_back({"system", a->system});
    for (std::string line; !interrupted() && (fmt::print("> "), std::fflush(stdout), std::getline(std::cin, line));) {
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty()) continue;
      messages.push_back({"user", line});
      const std::string text = apply_chat_template(loaded.tokenizer, messages, true);
      // The template writes BOS itself where the model wants it.
      messages.push_back({"assistant", answer(session, loaded, loaded.tokenizer.encode(text, false), a->options)});
    }
    fmt::print("\n");
    return interrupted() ? 130 : 0;
  });
  command.add_option("model", a->model, "Model directory")->required();
  command.add_option("--system", a->system, "System message");
  add_sampling(command, *a);
}

}  // namespace codecllm::cli
