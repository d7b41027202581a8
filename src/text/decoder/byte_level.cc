// SPDX-License-Identifier: Apache-2.0
#include "text/byte_level.h"

#include "base/utf8.h"
#include "text/decoder/decoder.h"

namespace codecllm::text {

namespace {

// Makes one long token of all, as it goes.
class ByteLevelStage : public DecoderStage {
 public:
  void push(const Fragment& fragment, const Sink& sink) override {
    if (!fragment.ends_token || !part_.empty()) part_ += fragment.text;
    if (!fragment.ends_token) return;
    append_bytes(part_.empty() ? fragment.text : part_);
    part_.clear();
    const size_t whole = bytes_.size() - incomplete_utf8_tail(bytes_);
    if (whole == 0) return;
    sink({to_valid_utf8(std::string_view(bytes_).substr(0, whole)), false});
    bytes_.erase(0, whole);
  }

  void finish(const Sink& sink) override { sink({to_valid_utf8(bytes_), true}); }

 private:
  // A token with a character outside the alphabet (an added token) stands for itself.
  void append_bytes(std::string_view token) {
    const size_t before = bytes_.size();
    bool in_alphabet = true;
    for_each_character(token, [&](char32_t code, size_t, size_t) {
      const auto byte = character_to_byte(code);
      in_alphabet = in_alphabet && byte;
      if (in_alphabet) bytes_ += static_cast<char>(*byte);
    });
    if (in_alphabet) return;
    bytes_.resize(before);
    bytes_ += token;
  }

  std::string part_, bytes_;
};

}  // namespace

Decoder byte_level_decoder(const ComponentSource&) {
  return [] { return std::make_unique<ByteLevelStage>(); };
}

}  // namespace codecllm::text
