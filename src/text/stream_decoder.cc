// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"
#include "text/tokenizer.h"
#include "text/tokenizer_data.h"

namespace codecllm {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : data_(tokenizer.data_), skip_special_(skip_special), stage_(data_->decoder()) {}

StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  std::string out;
  const auto token = data_->vocabulary.token(id);
  if (!token || (skip_special_ && data_->vocabulary.is_special(id))) return out;
  const auto normalized = data_->normalized_texts.find(id);
  const std::string_view piece = normalized == data_->normalized_texts.end() ? *token : normalized->second;
  stage_->push({piece}, [&](const text::Fragment& fragment) { out += fragment.text; });
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  stage_->finish([&](const text::Fragment& fragment) { out += fragment.text; });
  stage_ = data_->decoder();
  return out;
}

}  // namespace codecllm
