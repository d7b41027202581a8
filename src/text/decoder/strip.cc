// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"
#include "text/decoder/decoder.h"

namespace codecllm::text {

namespace {

// Takes up to `start` and `stop` times the character `content` from the two ends of every token.
struct StripSettings {
  std::string content;
  size_t start, stop;
};

class StripStage : public DecoderStage {
 public:
  explicit StripStage(const StripSettings& settings) : settings_(settings), left_(settings.start) {}

  void push(const Fragment& fragment, const Sink& sink) override {
    std::string_view text = fragment.text;
    const std::string& content = settings_.content;
    for (; left_ > 0 && text.starts_with(content); left_--) text.remove_prefix(content.size());
    if (!text.empty()) left_ = 0;
    if (settings_.stop == 0) {
      sink({text, fragment.ends_token});
    } else {
      push_held(text, fragment.ends_token, sink);
    }
    if (fragment.ends_token) left_ = settings_.start;
  }

 private:
  // The end of the token is not known yet: what could be stripped waits in held_.
  void push_held(std::string_view text, bool ends_token, const Sink& sink) {
    held_ += text;
    size_t keep = held_.size();
    for (size_t n = 0;
         n < settings_.stop && std::string_view(held_).substr(0, keep).ends_with(settings_.content); n++) {
      keep -= settings_.content.size();
    }
    sink({std::string_view(held_).substr(0, keep), ends_token});
    held_.erase(0, ends_token ? held_.size() : keep);
  }

  const StripSettings settings_;
  size_t left_;
  std::string held_;
};

}  // namespace

Decoder strip_decoder(const ComponentSource& source) {
  StripSettings settings;
  settings.content = json_need<std::string>(source.json, "content", source.file);
  settings.start = json_or<uint32_t>(source.json, "start", 0, source.file);
  settings.stop = json_or<uint32_t>(source.json, "stop", 0, source.file);
  if (settings.content.empty() || decode_utf8(settings.content, 0).size != settings.content.size()) {
    fail_component(source, "Strip needs a content of one character", ErrorCode::bad_input);
  }
  return [settings] { return std::make_unique<StripStage>(settings); };
}

}  // namespace codecllm::text
