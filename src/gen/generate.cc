// SPDX-License-Identifier: Apache-2.0
#include "gen/generate.h"

#include <algorithm>

#include "base/clock.h"

namespace codecllm {

double GenerateResult::token_percentile_s(double p) const {
  if (token_s.empty()) return 0;
  std::vector<double> sorted = token_s;
  std::sort(sorted.begin(), sorted.end());
  return sorted[static_cast<size_t>(p * static_cast<double>(sorted.size() - 1) + 0.5)];
}

size_t certain_prefix(std::string_view text, std::span<const std::string> stops, bool* stopped) {
  *stopped = false;
  size_t certain = text.size();
  for (const std::string& stop : stops) {
    if (stop.empty()) continue;
    const size_t at = text.find(stop);
    if (at != std::string_view::npos && (!*stopped || at < certain)) {
      certain = at;
      *stopped = true;
    }
  }
  if (*stopped) return certain;
  for (const std::string& stop : stops)
    for (size_t n = std::min(stop.size(), text.size() + 1) - (stop.empty() ? 0 : 1); n > 0; --n)
      if (text.ends_with(std::string_view(stop).substr(0, n))) {
        certain = std::min(certain, text.size() - n);
        break;
      }
  return certain;
}

namespace {

// Turns tokens into text that is safe to show.
class Output {
 public:
  Output(const Tokenizer& tokenizer, const GenerateOptions& options, const TextSink& sink, std::string& text)
      : decoder_(tokenizer), options_(options), sink_(sink), text_(text) {}

  // Returns false when generation must end; *stopped tells whether a stop string did it.
  bool push(std::string_view piece, bool last, bool* stopped) {
    pending_ += piece;
    size_t certain = certain_prefix(pending_, options_.stop, stopped);
    if (last && !*stopped) certain = pending_.size();
    const std::string shown = pending_.substr(0, certain);
    pending_.erase(0, certain);
    text_ += shown;
    const bool wanted = shown.empty() || !sink_ || sink_(shown);
    return wanted && !*stopped;
  }

  // The text goes on from these tokens: what a decoder does only at the start of a text is done with.
  void begin_after(std::span<const int32_t> tokens) {
    for (const int32_t token : tokens) decoder_.push(token);
  }

  StreamDecoder& decoder() { return decoder_; }

 private:
  StreamDecoder decoder_;
  const GenerateOptions& options_;
  const TextSink& sink_;
  std::string& text_;
  std::string pending_;
};

}  // namespace

GenerateResult generate(TokenSession& session, const DecoderModel& model, const Tokenizer& tokenizer,
                        std::span<const int32_t> prompt, const GenerateOptions& options, const TextSink& sink) {
  if (session.length() + static_cast<int64_t>(prompt.size()) > session.capacity())
    throw Error(ErrorCode::bad_call, "generate",
                "the prompt has " + std::to_string(prompt.size()) + " tokens, room for " +
                    std::to_string(session.capacity() - session.length()));
  if (options.max_tokens < 1) throw Error(ErrorCode::bad_call, "generate", "the most tokens to generate must be 1 or more");
  GenerateResult result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  result.finish = "length";
  Sampler sampler(options.sampler);
  Output output(tokenizer, options, sink, result.text);
  Stopwatch clock;
  std::span<const float> logits;
  try {
    logits = session.append(prompt, options.cancelled);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::interrupted) throw;
    result.finish = "cancelled";
    return result;
  }
  result.prompt_s = clock.restart();
  if (!options.own_text) output.begin_after(session.tokens());
  bool stopped = false, wanted = true;
  while (wanted && static_cast<int64_t>(result.tokens.size()) < options.max_tokens) {
    const int32_t token = sampler.pick(logits.first(static_cast<size_t>(model.spec.vocab)), session.tokens());
    const auto& eos = model.spec.eos;
    const bool ends = std::find(eos.begin(), eos.end(), token) != eos.end() || tokenizer.eos_id() == token;
    if (ends && !options.ignore_eos) {
      result.finish = "eos";
      break;
    }
    result.tokens.push_back(token);
    const bool held = session.hold(token);
    if (result.tokens.size() == 1) {
      result.ttft_s = result.prompt_s + clock.restart();
    } else {
      result.token_s.push_back(clock.restart());
      result.decode_s += result.token_s.back();
    }
    wanted = output.push(output.decoder().push(token), false, &stopped);
    if (!wanted || static_cast<int64_t>(result.tokens.size()) == options.max_tokens) break;
    if (!held) {
      result.finish = "context";
      break;
    }
    logits = session.append({});
  }
  if (wanted) output.push(output.decoder().finish(), true, &stopped);
  if (!wanted) result.finish = stopped ? "stop" : "cancelled";
  return result;
}

}  // namespace codecllm
