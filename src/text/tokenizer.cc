// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include "base/utf8.h"
#include "text/tokenizer_data.h"

namespace codecllm {

using text::Piece;
using text::Pieces;

namespace {

// Words come again and again in one text; their ids are remembered while it is encoded.
class PieceEncoder {
 public:
  PieceEncoder(const text::Bpe& bpe, std::vector<int32_t>& ids) : bpe_(bpe), ids_(ids) {}

  void encode(const std::string& piece) {
    constexpr size_t max_size = 64, max_entries = 1 << 16;
    if (piece.size() > max_size) return bpe_.encode(piece, ids_);
    if (const auto known = known_.find(piece); known != known_.end()) {
      ids_.insert(ids_.end(), known->second.begin(), known->second.end());
      return;
    }
    const size_t before = ids_.size();
    bpe_.encode(piece, ids_);
    if (known_.size() < max_entries)
      known_.emplace(piece, std::vector(ids_.begin() + static_cast<ptrdiff_t>(before), ids_.end()));
  }

 private:
  const text::Bpe& bpe_;
  std::vector<int32_t>& ids_;
  std::unordered_map<std::string, std::vector<int32_t>> known_;
};

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view input, bool add_special, bool parse_special) const {
  const Data& data = *data_;
  std::string repaired;
  if (!is_utf8(input)) input = repaired = to_valid_utf8(input);
  const size_t limit = text::size_limit(input.size());

  std::vector<int32_t> ids;
  if (add_special) ids = data.before;
  PieceEncoder encoder(data.bpe, ids);
  const auto encode_piece = [&](Piece piece) {
    Pieces pieces;
    pieces.push_back(std::move(piece));
    if (data.pretokenizer) data.pretokenizer(pieces, limit);
    for (const Piece& part : pieces) encoder.encode(part.text);
  };
  for (const auto& raw : data.raw_tokens.cut(input, parse_special)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    Piece piece{std::string(input.substr(raw.begin, raw.end - raw.begin)), raw.begin == 0};
    if (data.normalizer) data.normalizer(piece, limit);
    for (const auto& part : data.normalized_tokens.cut(piece.text, parse_special)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        encode_piece(
            {piece.text.substr(part.begin, part.end - part.begin), piece.at_start && part.begin == 0});
      }
    }
  }
  if (add_special) ids.insert(ids.end(), data.after.begin(), data.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  StreamDecoder stream(*this, skip_special);
  std::string out;
  for (const int32_t one : ids) out += stream.push(one);
  return out + stream.finish();
}

int32_t Tokenizer::vocab_size() const { return data_->vocabulary.size(); }
std::optional<std::string_view> Tokenizer::token(int32_t id) const { return data_->vocabulary.token(id); }
std::optional<int32_t> Tokenizer::id(std::string_view token) const { return data_->vocabulary.id(token); }
bool Tokenizer::is_special(int32_t id) const { return token(id) && data_->vocabulary.is_special(id); }
std::optional<int32_t> Tokenizer::bos_id() const { return data_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return data_->eos; }
const std::string& Tokenizer::chat_template() const { return data_->chat_template; }

}  // namespace codecllm
