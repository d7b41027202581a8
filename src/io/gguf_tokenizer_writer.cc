// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "io/gguf_metadata.h"
#include "io/gguf_model.h"

namespace codecllm {

namespace {

constexpr const char* kTokens = "tokenizer.ggml.";

class TokenizerTeller {
 public:
  TokenizerTeller(const Json& tokenizer, const Json& settings, const Json& config, const std::string& file)
      : tokenizer_(tokenizer), settings_(settings), config_(config), file_(file) {}

  OrderedJson tell() {
    const auto model = tokenizer_.find("model");
    if (model == tokenizer_.end() || !model->is_object() || json_or<std::string>(*model, "type", "BPE", file_) != "BPE" ||
        !model->contains("vocab") || !(*model)["vocab"].is_object() || !model->contains("merges") || !(*model)["merges"].is_array())
      refuse("only tokenizers of the type BPE are written in GGUF");
    model_ = &*model;
    const bool pieces = json_or<bool>(*model_, "byte_fallback", false, file_);
    read_merges();
    collect(pieces);
    put("model", pieces ? "llama" : "gpt2");
    put("pre", pieces ? "default" : pre_name());
    put("tokens", tokens_);
    if (pieces) put("scores", scores());
    put("token_type", types_);
    if (!pieces) put("merges", merges_);
    ids();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw Error(ErrorCode::unsupported, "gguf", what, {.file = file_}); }
  void put(const std::string& key, OrderedJson value) { out_[kTokens + key] = std::move(value); }

  void read_merges() {
    for (const Json& merge : (*model_)["merges"]) {
      std::string left, right;
      if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const size_t space = text.find(' ');
        left = text.substr(0, space);
        if (space != text.npos) right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      }
      if (left.empty() || right.empty()) throw Error(ErrorCode::bad_input, "gguf", "an entry of 'merges' is no pair", {.file = file_});
      rank_.emplace(left + right, static_cast<int64_t>(merges_.size()));
      merges_.push_back(left + " " + right);
    }
  }

  // All ids from 0 on; those that the tokenizer leaves out, up to the model's rows, are unused.
  void collect(bool pieces) {
    std::map<int64_t, std::pair<std::string, int>> all;
    const auto put_token = [&](const Json& id, const std::string& text, int type) {
      if (!json_is<int64_t>(id) || id.get<int64_t>() < 0 || id.get<int64_t>() > 1 << 24)
        throw Error(ErrorCode::bad_input, "gguf", "a token's id is no whole number in range", {.file = file_});
      all[id.get<int64_t>()] = {text, type};
    };
    const auto unknown = json_or<std::string>(*model_, "unk_token", "", file_);
    for (const auto& [text, id] : (*model_)["vocab"].items()) {
      const bool byte = pieces && text.size() == 6 && text.starts_with("<0x") && text.ends_with(">");
      put_token(id, text, byte ? 6 : pieces && text == unknown ? 2 : 1);
    }
    if (const auto added = tokenizer_.find("added_tokens"); added != tokenizer_.end() && added->is_array())
      for (const Json& token : *added) {
        const auto text = json_need<std::string>(token, "content", file_);
        if (pieces && text == unknown) continue;
        put_token(token.value("id", Json()), text, json_or<bool>(token, "special", false, file_) ? 3 : 4);
      }
    if (all.empty()) refuse("the tokenizer has no tokens");
    const int64_t rows = std::max(json_or<int64_t>(config_, "vocab_size", 0, file_), all.rbegin()->first + 1);
    for (int64_t id = 0; id < std::min<int64_t>(rows, 1 << 24); ++id) {
      const auto it = all.find(id);
      tokens_.push_back(it == all.end() ? "[PAD" + std::to_string(id) + "]" : it->second.first);
      types_.push_back(it == all.end() ? 5 : it->second.second);
    }
  }

  // The order in which merges are taken becomes a score; what no merge makes comes last.
  OrderedJson scores() const {
    OrderedJson out = OrderedJson::array();
    for (const OrderedJson& token : tokens_) {
      const auto it = rank_.find(token.get<std::string>());
      out.push_back(it == rank_.end() ? -1e6 : -static_cast<double>(it->second));
    }
    return out;
  }

  // The row of gguf_pre.def whose tokenizer cuts text as this one does; if several do, one that is alike in all.
  std::string pre_name() const {
    const bool nfc = tokenizer_.value("normalizer", Json()).is_object(), whole = json_or<bool>(*model_, "ignore_merges", false, file_);
    std::string found;
    for (const std::string& name : gguf_pre_names()) {
      const Json example = {{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", name},
                            {"tokenizer.ggml.tokens", Json::array({"a"})}, {"tokenizer.ggml.merges", Json::array()}};
      const Json made = gguf_tokenizer(example, file_).tokenizer;
      if (cuts_of(made["pre_tokenizer"]) != cuts_of(tokenizer_.value("pre_tokenizer", Json()))) continue;
      if (made["normalizer"].is_object() == nfc && made["model"]["ignore_merges"] == whole) return name;
      if (found.empty()) found = name;
    }
    if (found.empty()) refuse("llama.cpp has no name for the way this tokenizer cuts text");
    return found;
  }

  // The regular expressions of a pre-tokenizer; ByteLevel's own is GPT-2's.
  static std::vector<std::string> cuts_of(const Json& pre) {
    std::vector<std::string> cuts;
    const std::vector<Json> steps = pre.is_object() && pre.contains("pretokenizers") ? pre["pretokenizers"].get<std::vector<Json>>()
                                                                                     : std::vector<Json>{pre};
    for (const Json& step : steps) {
      if (!step.is_object()) continue;
      const std::string type = step.value("type", "");
      if (type == "Split" && step.contains("pattern") && step["pattern"].contains("Regex")) cuts.push_back(step["pattern"]["Regex"].get<std::string>());
      else if (type == "ByteLevel" && step.value("use_regex", true)) cuts.push_back(gguf_gpt2_cut());
      else if (type == "Digits" && step.value("individual_digits", false)) cuts.push_back("\\p{N}");
      else if (type != "ByteLevel") cuts.push_back(json_text(step));
    }
    return cuts;
  }

  std::optional<std::string> setting(const char* key) const {
    const auto it = settings_.find(key);
    if (it == settings_.end()) return std::nullopt;
    if (it->is_object()) return json_find<std::string>(*it, "content", file_);
    return json_find<std::string>(settings_, key, file_);
  }

  std::optional<int64_t> id_of(const std::optional<std::string>& text) const {
    if (!text) return std::nullopt;
    const auto it = std::find(tokens_.begin(), tokens_.end(), *text);
    if (it == tokens_.end()) return std::nullopt;
    return it - tokens_.begin();
  }

  void ids() {
    for (const auto& [key, name] : {std::pair("bos_token", "bos_token_id"), std::pair("eos_token", "eos_token_id"),
                                    std::pair("unk_token", "unknown_token_id"), std::pair("pad_token", "padding_token_id")})
      if (const auto id = id_of(setting(key))) put(name, *id);
    const std::string post = json_text(tokenizer_.value("post_processor", Json()));
    const auto added = [&](const char* flag, const char* token) {
      const auto text = setting(token);
      return json_find<bool>(settings_, flag, file_).value_or(text && post.find("\"SpecialToken\":{\"id\":" + json_text(Json(*text))) != post.npos);
    };
    put("add_bos_token", added("add_bos_token", "bos_token"));
    put("add_eos_token", json_or<bool>(settings_, "add_eos_token", false, file_));
    const Json normalizer = tokenizer_.value("normalizer", Json()), pre = tokenizer_.value("pre_tokenizer", Json());
    if (out_[std::string(kTokens) + "model"] == "llama")
      put("add_space_prefix", json_text(normalizer).find("\"Prepend\"") != std::string::npos ||
                                  (pre.is_object() && pre.value("type", "") == "Metaspace" && pre.value("prepend_scheme", "always") != "never"));
    if (const auto source = settings_.find("chat_template"); source != settings_.end() && source->is_string())
      out_["tokenizer.chat_template"] = source->get<std::string>();
  }

  const Json &tokenizer_, &settings_, &config_;
  const std::string& file_;
  const Json* model_ = nullptr;
  std::map<std::string, int64_t> rank_;  // merged text -> the first merge that makes it
  OrderedJson tokens_ = OrderedJson::array(), types_ = OrderedJson::array(), merges_ = OrderedJson::array(), out_;
};

}  // namespace

OrderedJson gguf_tokenizer_metadata(const Json& tokenizer, const Json& tokenizer_config, const Json& config, const std::string& file) {
  return TokenizerTeller(tokenizer, tokenizer_config, config, file).tell();
}

}  // namespace codecllm
