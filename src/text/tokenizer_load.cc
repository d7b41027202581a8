// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"
#include "base/utf8.h"
#include "text/decoder/decoder.h"
#include "text/tokenizer.h"
#include "text/tokenizer_data.h"

namespace codecllm {

namespace {

constexpr int32_t text_mark = -1;  // stands for the text where a post-processor runs

const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

// A token in a config is its text, or an object with "content".
std::optional<std::string> config_token(const Json& config, const char* key, const std::string& file) {
  const Json& entry = member(config, key);
  if (entry.is_object()) return json_need<std::string>(entry, "content", file);
  return json_find<std::string>(config, key, file);
}

// A string, or a list of named templates of which "default" is the one for chatting.
std::optional<std::string> config_template(const Json& config, const std::string& file) {
  const Json& entry = member(config, "chat_template");
  if (!entry.is_array()) return json_find<std::string>(config, "chat_template", file);
  for (const Json& named : entry) {
    if (json_find<std::string>(named, "name", file) == "default")
      return json_need<std::string>(named, "template", file);
  }
  return std::nullopt;
}

void load_components(Tokenizer::Data& data, const Json& root, const std::string& name) {
  data.normalizer = text::load_normalizer({member(root, "normalizer"), name, "normalizer"});
  data.pretokenizer = text::load_pretokenizer({member(root, "pre_tokenizer"), name, "pre_tokenizer"});
  data.decoder = text::load_decoder({member(root, "decoder"), name, "decoder"});
  if (!data.decoder) data.decoder = text::plain_decoder();

  std::vector<text::AddedToken> raw, normalized;
  for (const text::AddedToken& token : data.added_tokens) {
    (token.normalized ? normalized : raw).push_back(token);
    if (!token.normalized || !data.normalizer) continue;
    text::Piece content{token.content, true};
    data.normalizer(content, text::size_limit(content.text.size()));
    if (content.text != token.content) data.normalized_texts[token.id] = content.text;
    normalized.back().content = content.text;
  }
  data.raw_tokens = text::AddedTokenFinder(std::move(raw));
  data.normalized_tokens = text::AddedTokenFinder(std::move(normalized));
}

void load_surroundings(Tokenizer::Data& data, const Json& root, const std::string& name) {
  const auto process = text::load_postprocessor({member(root, "post_processor"), name, "post_processor"});
  if (!process) return;
  std::vector<int32_t> ids = {text_mark};
  process(ids);
  bool seen = false;
  for (const int32_t id : ids) {
    if (id == text_mark && !seen) {
      seen = true;
    } else if (data.vocabulary.token(id)) {
      (seen ? data.after : data.before).push_back(id);
    } else {
      throw Error(ErrorCode::bad_input, "tokenizer",
                  "key 'post_processor' adds id " + std::to_string(id) + ", which is no token",
                  {.file = name});
    }
  }
}

// The flags of tokenizer_config.json win over the template of tokenizer.json, as they do in transformers.
void force(std::vector<int32_t>& ids, std::optional<bool> wanted, std::optional<int32_t> id) {
  if (!wanted || *wanted == !ids.empty()) return;
  ids.clear();
  if (*wanted && id) ids.push_back(*id);
}

void load_config(Tokenizer::Data& data, const Json& config, const Json& special_map,
                 const std::string& name) {
  if (!config.is_object()) throw_json_type("tokenizer_config", "an object", config, name);
  const auto token_id = [&](const char* key) -> std::optional<int32_t> {
    auto token = config_token(config, key, name);
    if (!token) token = config_token(special_map, key, name);
    return token ? data.vocabulary.id(*token) : std::nullopt;
  };
  data.bos = token_id("bos_token");
  data.eos = token_id("eos_token");
  force(data.before, json_find<bool>(config, "add_bos_token", name), data.bos);
  force(data.after, json_find<bool>(config, "add_eos_token", name), data.eos);
  if (auto source = config_template(config, name)) data.chat_template = *source;
}

std::shared_ptr<Tokenizer::Data> load_data(std::string_view tokenizer, const std::string& name) {
  const Json root = parse_json(tokenizer, name);
  const Json& model = member(root, "model");
  if (!model.is_object()) throw_json_type("model", "an object", model, name);
  // Very old files do not name the type; those with merges are BPE.
  const std::string type = json_or<std::string>(model, "type", model.contains("merges") ? "BPE" : "?", name);
  if (type != "BPE") {
    throw Error(ErrorCode::unsupported, "tokenizer",
                "key 'model': type '" + type + "' is not in this version, only BPE", {.file = name});
  }
  auto data = std::make_shared<Tokenizer::Data>(model, member(root, "added_tokens"), name);
  load_components(*data, root, name);
  load_surroundings(*data, root, name);
  return data;
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view tokenizer, const std::string& name, std::string_view config) {
  auto data = load_data(tokenizer, name);
  if (!config.empty()) {
    const std::string config_name = "tokenizer_config.json";
    load_config(*data, parse_json(config, config_name), Json::object(), config_name);
  }
  return Tokenizer(std::move(data));
}

Tokenizer Tokenizer::load(const std::string& model_directory) {
  const auto path = [&](const char* file) { return model_directory + "/" + file; };
  const auto json_if_there = [&](const char* file) {
    return file_exists(path(file)) ? read_json_file(path(file)) : Json::object();
  };
  if (!file_exists(path("tokenizer.json")))
    throw Error(ErrorCode::io, "tokenizer", "no such file; transformers makes one of other tokenizers with AutoTokenizer and save_pretrained",
                {.file = path("tokenizer.json")});
  auto data = load_data(read_file(path("tokenizer.json")), path("tokenizer.json"));
  load_config(*data, json_if_there("tokenizer_config.json"), json_if_there("special_tokens_map.json"),
              path("tokenizer_config.json"));
  if (file_exists(path("chat_template.jinja"))) {
    data->chat_template = to_valid_utf8(read_file(path("chat_template.jinja"), 1 << 24));
  }
  return Tokenizer(std::move(data));
}

}  // namespace codecllm
