// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <optional>

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

// The conversation as tokens. While the model has no room for them and for an answer (a quarter of it, or what may be
// generated), the oldest turn is left out. Where the last message is too long by itself, it is taken back, and nothing
// returned.
std::optional<std::vector<int32_t>> fit(std::vector<ChatMessage>& messages, const Globals& globals, const Loaded& loaded, int64_t max_tokens) {
  const int64_t room = loaded.model.spec.max_positions, most = room - std::min(max_tokens, room / 4);
  const size_t first = messages.front().role == "system" ? 1 : 0;
  // The template writes BOS itself where the model wants it.
  const auto tokens_from = [&](size_t turn) {
    std::vector<ChatMessage> shown(messages.begin(), messages.begin() + static_cast<ptrdiff_t>(first));
    shown.insert(shown.end(), messages.begin() + static_cast<ptrdiff_t>(turn), messages.end());
    return loaded.tokenizer.encode(apply_chat_template(loaded.tokenizer, shown, true), false);
  };
  size_t needed = 0;
  for (size_t turn = first; turn < messages.size(); turn += 2) {
    std::vector<int32_t> tokens = tokens_from(turn);
    needed = tokens.size();
    if (static_cast<int64_t>(needed) > most) continue;
    if (turn > first) note(globals, fmt::format("the conversation is longer than the {} tokens of this model; what was said first is left out", room));
    messages.erase(messages.begin() + static_cast<ptrdiff_t>(first), messages.begin() + static_cast<ptrdiff_t>(turn));
    return tokens;
  }
  fmt::print(stderr, "codecllm: with this message there are {} tokens, and the model has room for {} beside an answer; say it in fewer words\n",
             needed, most);
  messages.pop_back();
  return std::nullopt;
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
    const Loaded loaded = load(*context, globals, a->model, a->held);
    if (loaded.tokenizer.chat_template().empty())
      throw Error(ErrorCode::bad_call, "chat", "no chat template (`codecllm generate` goes on with a text)", {.file = a->model});
    TokenSession session(loaded.model, loaded.model.spec.max_positions, kv_type(a->kv));
    std::vector<ChatMessage> messages;
    const bool asks = isatty(STDIN_FILENO) != 0;  // else the lines come from a file
    const auto ask = [asks] {
      if (asks) fmt::print("> ");
      std::fflush(stdout);
    };
    if (!a->system.empty()) messages.push_back({"system", a->system});
    for (std::string line; !interrupted() && (ask(), std::getline(std::cin, line));) {
      if (line.ends_with('\r')) line.pop_back();
      if (line.empty()) continue;
      messages.push_back({"user", line});
      if (const auto tokens = fit(messages, globals, loaded, a->options.max_tokens))
        messages.push_back({"assistant", answer(session, loaded, *tokens, a->options)});
    }
    if (asks) fmt::print("\n");
    return interrupted() ? 130 : 0;
  });
  command.add_option("model", a->model, "Model directory or .gguf file")->required();
  command.add_option("--system", a->system, "System message");
  add_sampling(command, *a);
}

}  // namespace codecllm::cli
