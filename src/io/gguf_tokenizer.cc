// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "base/utf8.h"
#include "io/gguf_model.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {

constexpr const char* kGpt2Cut =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Cut =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Cut =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

using Cuts = std::vector<const char*>;  // regular expressions, one after the other
Cuts cut_plain() { return {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Cut, R"(\p{N}+)", R"([0-9][0-9][0-9])"}; }
Cuts cut_gpt2() { return {kGpt2Cut}; }
Cuts cut_llama3() { return {kLlama3Cut}; }
Cuts cut_qwen2() { return {kQwen2Cut}; }
Cuts cut_digits() { return {R"(\p{N})", kGpt2Cut}; }

struct PreRow {
  std::string_view name;
  Cuts (*cuts)();
  bool nfc, whole_words, bos;
};

constexpr PreRow kGgufPres[] = {
#define GGUF_PRE(name, cut, nfc, whole_words, bos) {name, cut_##cut, nfc, whole_words, bos},
#include "io/gguf_pre.def"
#undef GGUF_PRE
};

// tokenizer.ggml.token_type
enum TokenType : int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

constexpr size_t kLongestMerged = 1024;  // bytes; longer tokens are not made by merges

class TokenizerMaker {
 public:
  TokenizerMaker(const Json& metadata, const std::string& file) : metadata_(metadata), file_(file) {}

  GgufTokenizer make() {
    const auto kind = json_need<std::string>(metadata_, "tokenizer.ggml.model", file_);
    read_tokens();
    out_.tokenizer = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
    if (kind == "llama") {
      sentence_pieces();
    } else if (kind == "gpt2") {
      byte_level();
    } else {
      throw Error(ErrorCode::unsupported, "gguf", "the tokenizer kind '" + shown(kind) + "' is not in this version; there are: llama, gpt2",
                  {.file = file_});
    }
    Json vocabulary = Json::object();
    for (size_t id = 0; id < tokens_.size(); ++id) vocabulary.emplace(tokens_[id], id);
    out_.tokenizer["model"]["type"] = "BPE";
    out_.tokenizer["model"]["dropout"] = nullptr;
    out_.tokenizer["model"]["vocab"] = std::move(vocabulary);
    add_special();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::bad_input, "gguf", what, {.file = file_}); }

  // The list under `key`, as long as the vocabulary, or null.
  const Json* list(const char* key) const {
    const auto it = metadata_.find(key);
    if (it == metadata_.end()) return nullptr;
    if (!it->is_array() || (!tokens_.empty() && it->size() != tokens_.size()))
      fail(std::string(key) + " is not a list of one entry for each token");
    return &*it;
  }

  void read_tokens() {
    const Json* tokens = list("tokenizer.ggml.tokens");
    if (tokens == nullptr || tokens->empty()) fail("no list tokenizer.ggml.tokens");
    for (const Json& token : *tokens) {
      if (!token.is_string() || !is_utf8(token.get_ref<const std::string&>()))
        fail("tokenizer.ggml.tokens holds something that is no UTF-8 text, at " + std::to_string(tokens_.size()));
      tokens_.push_back(token.get<std::string>());
    }
    types_.assign(tokens_.size(), normal);
    if (const Json* types = list("tokenizer.ggml.token_type"))
      for (size_t i = 0; i < types_.size(); ++i) {
        if (!json_is<int64_t>((*types)[i])) fail("tokenizer.ggml.token_type holds something that is no whole number");
        types_[i] = (*types)[i].get<int64_t>();
      }
  }

  // The token under this key, which must be one.
  std::optional<int64_t> token(const char* key) const {
    const auto id = json_find<int64_t>(metadata_, key, file_);
    if (!id) return std::nullopt;
    if (*id < 0 || *id >= static_cast<int64_t>(tokens_.size())) fail(std::string(key) + " is " + std::to_string(*id) + ", which is no token");
    return id;
  }

  // SentencePiece: the pair whose union scores best is joined first (Kudo and Richardson 2018), which is byte pair
  // encoding with the pairs in the order of these scores.
  void sentence_pieces() {
    const bool prefix = json_or<bool>(metadata_, "tokenizer.ggml.add_space_prefix", true, file_);
    const Json spaces = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
    Json steps = Json::array();
    if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", "\u2581"}});
    steps.push_back(spaces);
    out_.tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
    out_.tokenizer["pre_tokenizer"] = nullptr;
    Json decoders = Json::array({{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                                 {{"type", "ByteFallback"}},
                                 {{"type", "Fuse"}}});
    if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    out_.tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
    const auto unknown_id = token("tokenizer.ggml.unknown_token_id");
    out_.tokenizer["model"] = {{"unk_token", tokens_[static_cast<size_t>(unknown_id.value_or(0))]},
                               {"fuse_unk", true}, {"byte_fallback", true}, {"merges", merges_of_scores()}};
    bos_ = true;
  }

  Json merges_of_scores() const {
    const Json* scores = list("tokenizer.ggml.scores");
    if (scores == nullptr) fail("no list tokenizer.ggml.scores");
    std::unordered_map<std::string_view, size_t> ids;
    for (size_t id = 0; id < tokens_.size(); ++id)
      if (types_[id] == normal || types_[id] == user_defined || types_[id] == unused) ids.emplace(tokens_[id], id);
    struct Merge {
      double score;
      size_t left, right;
    };
    std::vector<Merge> merges;
    for (size_t id = 0; id < tokens_.size(); ++id) {
      const std::string_view text = tokens_[id];
      if (!(*scores)[id].is_number() || !std::isfinite((*scores)[id].get<double>())) fail("tokenizer.ggml.scores holds something that is no finite number");
      if (!ids.contains(text) || text.size() > kLongestMerged) continue;
      const size_t first = merges.size();
      for (size_t cut = 1; cut < text.size(); ++cut) {
        if ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) continue;  // within a character
        const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
        if (left != ids.end() && right != ids.end()) merges.push_back({(*scores)[id].get<double>(), left->second, right->second});
      }
      std::sort(merges.begin() + static_cast<ptrdiff_t>(first), merges.end(),
                [](const Merge& a, const Merge& b) { return a.left != b.left ? a.left < b.left : a.right < b.right; });
    }
    std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) { return a.score > b.score; });
    Json out = Json::array();
    for (const Merge& merge : merges) out.push_back(Json::array({tokens_[merge.left], tokens_[merge.right]}));
    return out;
  }

  void byte_level() {
    const auto name = json_or<std::string>(metadata_, "tokenizer.ggml.pre", "default", file_);
    const auto row = std::find_if(std::begin(kGgufPres), std::end(kGgufPres), [&](const PreRow& pre) { return pre.name == name; });
    if (row == std::end(kGgufPres)) {
      std::string known;
      for (const PreRow& pre : kGgufPres) known += (known.empty() ? "" : ", ") + std::string(pre.name);
      throw Error(ErrorCode::unsupported, "gguf", "tokenizer.ggml.pre is '" + shown(name) + "', which is not in this version; there are: " + known,
                  {.file = file_});
    }
    const auto merges = metadata_.find("tokenizer.ggml.merges");
    if (merges == metadata_.end() || !merges->is_array()) fail("no list tokenizer.ggml.merges");
    for (const Json& merge : *merges)
      if (!merge.is_string() || !is_utf8(merge.get_ref<const std::string&>())) fail("tokenizer.ggml.merges holds something that is no UTF-8 text");
    out_.tokenizer["normalizer"] = row->nfc ? Json{{"type", "NFC"}} : Json();
    Json steps = Json::array();
    for (const char* cut : row->cuts())
      steps.push_back({{"type", "Split"}, {"pattern", {{"Regex", cut}}}, {"behavior", "Isolated"}, {"invert", false}});
    steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
    out_.tokenizer["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
    out_.tokenizer["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
    out_.tokenizer["model"] = {{"unk_token", nullptr}, {"fuse_unk", false}, {"byte_fallback", false},
                               {"ignore_merges", row->whole_words}, {"merges", *merges}};
    bos_ = row->bos;
  }

  void add_special() {
    Json added = Json::array();
    for (size_t id = 0; id < tokens_.size(); ++id) {
      if (types_[id] != control && types_[id] != user_defined && types_[id] != unknown) continue;
      if (tokens_[id].empty() || out_.tokenizer["model"]["vocab"][tokens_[id]] != id) continue;  // an earlier token's text
      added.push_back({{"id", id}, {"content", tokens_[id]}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                       {"normalized", false}, {"special", types_[id] != user_defined}});
    }
    out_.tokenizer["added_tokens"] = std::move(added);
    const auto bos = token("tokenizer.ggml.bos_token_id"), eos = token("tokenizer.ggml.eos_token_id");
    const bool add_bos = json_or<bool>(metadata_, "tokenizer.ggml.add_bos_token", bos_, file_) && bos;
    const bool add_eos = json_or<bool>(metadata_, "tokenizer.ggml.add_eos_token", false, file_) && eos;
    out_.config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_bos_token", add_bos}, {"add_eos_token", add_eos}};
    if (bos) out_.config["bos_token"] = tokens_[static_cast<size_t>(*bos)];
    if (eos) out_.config["eos_token"] = tokens_[static_cast<size_t>(*eos)];
    if (const auto id = token("tokenizer.ggml.unknown_token_id")) out_.config["unk_token"] = tokens_[static_cast<size_t>(*id)];
    if (const auto source = json_find<std::string>(metadata_, "tokenizer.chat_template", file_)) {
      if (!is_utf8(*source)) fail("tokenizer.chat_template is no UTF-8 text");
      out_.config["chat_template"] = *source;
    }
    out_.tokenizer["post_processor"] = surroundings(add_bos ? bos : std::nullopt, add_eos ? eos : std::nullopt);
  }

  Json surroundings(std::optional<int64_t> before, std::optional<int64_t> after) const {
    if (!before && !after) return nullptr;
    Json single = Json::array(), pair = Json::array(), known = Json::object();
    const auto special = [&](int64_t id, int type, Json& where) {
      const std::string& text = tokens_[static_cast<size_t>(id)];
      where.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
      known[text] = {{"id", text}, {"ids", Json::array({id})}, {"tokens", Json::array({text})}};
    };
    const auto sequence = [&](const char* name, int type, Json& where) {
      if (before) special(*before, type, where);
      where.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
      if (after) special(*after, type, where);
    };
    sequence("A", 0, single);
    sequence("A", 0, pair);
    sequence("B", 1, pair);
    return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", known}};
  }

  const Json& metadata_;
  const std::string& file_;
  std::vector<std::string> tokens_;
  std::vector<int64_t> types_;
  bool bos_ = false;  // whether texts begin with BOS where no key says so
  GgufTokenizer out_;
};

}  // namespace

std::vector<std::string> gguf_pre_names() {
  std::vector<std::string> names;
  for (const PreRow& row : kGgufPres) names.emplace_back(row.name);
  return names;
}

const char* gguf_gpt2_cut() { return kGpt2Cut; }

GgufTokenizer gguf_tokenizer(const Json& metadata, const std::string& file) { return TokenizerMaker(metadata, file).make(); }

}  // namespace codecllm
