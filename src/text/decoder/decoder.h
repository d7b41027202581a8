// SPDX-License-Identifier: Apache-2.0
// Decoders turn token texts into text, one token at a time. Whatever has to wait for the tokens that follow
// (half of a character, a run of byte tokens) stays inside a stage, so that streaming and decoding at once
// are the same code.
#pragma once

#include "text/component.h"

namespace codecllm::text {

#define DECODER(type, load) Decoder load(const ComponentSource& source);
#include "text/decoder/decoders.def"
#undef DECODER

using Sink = std::function<void(const Fragment&)>;

// One decoder at work on one stream of tokens.
class DecoderStage {
 public:
  virtual ~DecoderStage() = default;

  // Takes a token, or a part of one when an earlier stage joined tokens.
  virtual void push(const Fragment& fragment, const Sink& sink) = 0;

  // The last token has been pushed.
  virtual void finish(const Sink&) {}
};

// For stages that look at whole tokens: waits until the last part of a token is there.
class TokenStage : public DecoderStage {
 public:
  void push(const Fragment& fragment, const Sink& sink) override;

 protected:
  virtual void push_token(std::string token, const Sink& sink) = 0;

 private:
  std::string parts_;
};

// For decoders that change each token by itself.
Decoder map_decoder(std::function<std::string(std::string token, bool first)> change);

// Without a decoder, tokens are joined by spaces.
Decoder plain_decoder();

}  // namespace codecllm::text
