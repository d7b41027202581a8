// SPDX-License-Identifier: Apache-2.0
// The components of a tokenizer.json: functions loaded from their JSON by a table of types. A component lives
// in one file of its kind's folder and in one row of the .def beside it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace codecllm::text {

// A stretch of the input on its way through the pipeline.
struct Piece {
  std::string text;
  bool at_start = false;  // begins where the whole input begins
};
using Pieces = std::vector<Piece>;

// What a component may grow a text to; a hostile file could double it at every step.
inline size_t size_limit(size_t input_size) { return (size_t{1} << 20) + 64 * input_size; }

using Normalizer = std::function<void(Piece& piece, size_t limit)>;
using PreTokenizer = std::function<void(Pieces& pieces, size_t limit)>;
using PostProcessor = std::function<void(std::vector<int32_t>& ids)>;

// Decoders are machines: token texts go in, one after the other and possibly in parts, and texts come out.
struct Fragment {
  std::string_view text;
  bool ends_token = true;
};
class DecoderStage;
using Decoder = std::function<std::unique_ptr<DecoderStage>()>;

// What a component's loader gets.
struct ComponentSource {
  const Json& json;
  const std::string& file;
  const char* key;  // where in the file, for messages: "normalizer", "pre_tokenizer", ...
};

template <class Component>
struct ComponentRow {
  std::string_view type;
  Component (*load)(const ComponentSource&);
};

[[noreturn]] void fail_component(const ComponentSource& source, const std::string& what, ErrorCode code);
std::string component_type(const ComponentSource& source);

// null is no component: an empty function.
template <class Component>
Component load_component(std::span<const ComponentRow<Component>> rows, const ComponentSource& source) {
  if (source.json.is_null()) return {};
  const std::string type = component_type(source);
  for (const auto& row : rows) {
    if (row.type == type) return row.load(source);
  }
  fail_component(source, "type '" + type + "' is not in this version", ErrorCode::unsupported);
}

// The list below `key` of a Sequence, every member loaded.
template <class Component>
std::vector<Component> load_members(const ComponentSource& source, const char* key,
                                    Component (*load)(const ComponentSource&)) {
  const auto list = source.json.find(key);
  if (list == source.json.end() || !list->is_array()) {
    fail_component(source, std::string("Sequence has no list '") + key + "'", ErrorCode::bad_input);
  }
  std::vector<Component> members;
  for (const Json& member : *list) {
    if (Component component = load({member, source.file, source.key}))
      members.push_back(std::move(component));
  }
  return members;
}

Normalizer load_normalizer(const ComponentSource& source);
PreTokenizer load_pretokenizer(const ComponentSource& source);
PostProcessor load_postprocessor(const ComponentSource& source);
Decoder load_decoder(const ComponentSource& source);

}  // namespace codecllm::text
