// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"

namespace codecllm::text {

namespace {

class SequenceStage : public DecoderStage {
 public:
  explicit SequenceStage(const std::vector<Decoder>& members) {
    for (const Decoder& member : members) stages_.push_back(member());
  }

  void push(const Fragment& fragment, const Sink& sink) override { push_from(0, fragment, sink); }

  void finish(const Sink& sink) override {
    for (size_t i = 0; i < stages_.size(); i++) {
      stages_[i]->finish([&](const Fragment& out) { push_from(i + 1, out, sink); });
    }
  }

 private:
  void push_from(size_t first, const Fragment& fragment, const Sink& sink) {
    if (first == stages_.size()) return sink(fragment);
    stages_[first]->push(fragment, [&](const Fragment& out) { push_from(first + 1, out, sink); });
  }

  std::vector<std::unique_ptr<DecoderStage>> stages_;
};

}  // namespace

Decoder sequence_decoder(const ComponentSource& source) {
  auto members = load_members(source, "decoders", &load_decoder);
  // Each stage calls the next one from inside itself.
  if (members.size() > 32)
    fail_component(source, "Sequence has more than 32 members", ErrorCode::unsupported);
  return [members = std::move(members)] { return std::make_unique<SequenceStage>(members); };
}

}  // namespace codecllm::text
