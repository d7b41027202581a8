// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"

namespace codecllm::text {

void TokenStage::push(const Fragment& fragment, const Sink& sink) {
  parts_ += fragment.text;
  if (fragment.ends_token) push_token(std::exchange(parts_, {}), sink);
}

namespace {

class MapStage : public TokenStage {
 public:
  explicit MapStage(const std::function<std::string(std::string, bool)>& change) : change_(change) {}

 protected:
  void push_token(std::string token, const Sink& sink) override {
    sink({change_(std::move(token), first_)});
    first_ = false;
  }

 private:
  const std::function<std::string(std::string, bool)> change_;
  bool first_ = true;
};

}  // namespace

Decoder map_decoder(std::function<std::string(std::string token, bool first)> change) {
  return [change = std::move(change)] { return std::make_unique<MapStage>(change); };
}

Decoder plain_decoder() {
  return map_decoder([](std::string token, bool first) { return first ? token : " " + token; });
}

}  // namespace codecllm::text
