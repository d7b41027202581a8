// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"

namespace codecllm::text {

namespace {

// Makes one token of all.
class FuseStage : public DecoderStage {
 public:
  void push(const Fragment& fragment, const Sink& sink) override { sink({fragment.text, false}); }
  void finish(const Sink& sink) override { sink({"", true}); }
};

}  // namespace

Decoder fuse_decoder(const ComponentSource&) {
  return [] { return std::make_unique<FuseStage>(); };
}

}  // namespace codecllm::text
