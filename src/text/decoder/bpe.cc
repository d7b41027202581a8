// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"
#include "text/pattern.h"

namespace codecllm::text {

namespace {

// The end-of-word mark is a space, but for the last token: each token waits for the next one.
class BpeStage : public TokenStage {
 public:
  explicit BpeStage(const std::string& suffix) : suffix_(Pattern::literal(suffix)) {}

  void finish(const Sink& sink) override {
    if (waiting_) sink({suffix_.replace_all(*waiting_, "", waiting_->size())});
  }

 protected:
  void push_token(std::string token, const Sink& sink) override {
    if (waiting_) sink({suffix_.replace_all(*waiting_, " ", 2 * waiting_->size())});
    waiting_ = std::move(token);
  }

 private:
  Pattern suffix_;
  std::optional<std::string> waiting_;
};

}  // namespace

Decoder bpe_decoder(const ComponentSource& source) {
  return [suffix = json_or<std::string>(source.json, "suffix", "</w>", source.file)] {
    return std::make_unique<BpeStage>(suffix);
  };
}

}  // namespace codecllm::text
