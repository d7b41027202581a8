// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back, as the Hugging Face tokenizer.json of a model says. Immutable once loaded: any
// number of threads may use one Tokenizer, and copies share their data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace codecllm {

namespace text {
class DecoderStage;
}

class Tokenizer {
 public:
  // Reads tokenizer.json and, where they are there, tokenizer_config.json, special_tokens_map.json and
  // chat_template.jinja. Throws Error(bad_input) for damaged files, Error(unsupported) for components we do
  // not know.
  static Tokenizer load(const std::string& model_directory);

  // The same from texts; an empty `config` (tokenizer_config.json) says nothing. `name` is for messages.
  static Tokenizer from_json(std::string_view tokenizer, const std::string& name = "tokenizer.json",
                             std::string_view config = {});

  // `text` may be any bytes: each invalid UTF-8 sequence counts as U+FFFD. `add_special` adds what the model
  // wants around a text (BOS, EOS). With `parse_special` off, special tokens written in the text are ordinary
  // text.
  std::vector<int32_t> encode(std::string_view text, bool add_special = true,
                              bool parse_special = true) const;

  // Ids that are no token are left out, as is what `skip_special` leaves out.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  int32_t vocab_size() const;  // the highest id + 1, added tokens included
  std::optional<std::string_view> token(int32_t id) const;
  std::optional<int32_t> id(std::string_view token) const;
  bool is_special(int32_t id) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  const std::string& chat_template() const;  // Jinja source; empty when the model has none

  struct Data;  // tokenizer_data.h

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

  std::shared_ptr<const Data> data_;
};

// Decodes while the ids come. What push and finish return is always whole characters, and all of it joined is
// what Tokenizer::decode gives for all ids. One stream belongs to one thread.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  std::string push(int32_t id);
  std::string finish();  // the rest, an incomplete character as U+FFFD; then a new text may begin

 private:
  std::shared_ptr<const Tokenizer::Data> data_;
  bool skip_special_;
  std::unique_ptr<text::DecoderStage> stage_;
};

}  // namespace codecllm
