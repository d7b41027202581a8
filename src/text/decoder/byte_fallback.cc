// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"
#include "text/decoder/decoder.h"

namespace codecllm::text {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The byte of a token "<0xHH>", or -1.
int byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = hex_digit(token[3]), low = hex_digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// A run of byte tokens is judged as a whole: one bad byte makes every byte of the run a U+FFFD. So nothing of
// a run can leave before it ends.
class ByteFallbackStage : public TokenStage {
 public:
  void finish(const Sink& sink) override { end_run(sink); }

 protected:
  void push_token(std::string token, const Sink& sink) override {
    const int byte = byte_of(token);
    if (byte >= 0) {
      run_ += static_cast<char>(byte);
      return;
    }
    end_run(sink);
    sink({token});
  }

 private:
  void end_run(const Sink& sink) {
    if (run_.empty()) return;
    const std::string run = std::exchange(run_, {});
    if (is_utf8(run)) return sink({run});
    for (size_t i = 0; i < run.size(); i++) sink({"\uFFFD"});
  }

  std::string run_;
};

}  // namespace

Decoder byte_fallback_decoder(const ComponentSource&) {
  return [] { return std::make_unique<ByteFallbackStage>(); };
}

}  // namespace codecllm::text
