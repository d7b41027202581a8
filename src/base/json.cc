// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <unordered_set>
#include <vector>

#include "base/file.h"
#include "base/utf8.h"

namespace codecllm {

namespace {

[[noreturn]] void fail(const std::string& what, const std::string& file) {
  throw Error(ErrorCode::bad_input, "json", what, {.file = file});
}

// Builds the value while watching what the library would silently accept.
template <class Value>
class StrictBuilder : public nlohmann::detail::json_sax_dom_parser<Value> {
  using Base = nlohmann::detail::json_sax_dom_parser<Value>;

 public:
  StrictBuilder(Value& result, int max_depth, const std::string& file)
      : Base(result, false), max_depth_(max_depth), file_(file) {}

  bool start_object(std::size_t count) {
    enter();
    keys_.emplace_back();
    return Base::start_object(count);
  }
  bool end_object() {
    --depth_;
    keys_.pop_back();
    return Base::end_object();
  }
  bool start_array(std::size_t count) {
    enter();
    return Base::start_array(count);
  }
  bool end_array() {
    --depth_;
    return Base::end_array();
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second) fail("key '" + shown(name) + "' stands twice in one object", file_);
    return Base::key(name);
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    fail("not valid JSON at byte " + std::to_string(position), file_);
  }

 private:
  void enter() {
    if (++depth_ > max_depth_) fail("nested deeper than " + std::to_string(max_depth_) + " levels", file_);
  }

  int depth_ = 0, max_depth_;
  const std::string& file_;
  std::vector<std::unordered_set<std::string>> keys_;
};

template <class Value>
Value parse(std::string_view text, const std::string& file, int max_depth) {
  // The library takes a NUL byte for the end of the text and would not look at what follows it.
  if (text.find('\0') != std::string_view::npos) fail("not valid JSON: it holds a NUL byte", file);
  Value root;
  StrictBuilder<Value> builder(root, max_depth, file);
  if (!Value::sax_parse(text.begin(), text.end(), &builder)) fail("not valid JSON", file);
  return root;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& file, int max_depth) { return parse<Json>(text, file, max_depth); }
Json read_json_file(const std::string& path) { return parse_json(read_file(path), path); }
OrderedJson read_ordered_json_file(const std::string& path) { return parse<OrderedJson>(read_file(path), path, kJsonDepth); }

std::string dump_json(const OrderedJson& json, int indent) {
  return json.dump(indent, ' ', false, OrderedJson::error_handler_t::replace);
}

std::string json_text(const Json& json, int indent) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

void throw_json_type(const char* key, const char* expected, const Json& got, const std::string& file) {
  std::string value = json_text(got);
  if (value.size() > 40) {
    value.resize(40 - incomplete_utf8_tail(std::string_view(value).substr(0, 40)));
    value += "...";
  }
  fail(std::string("key '") + key + "' is " + value + ", expected " + expected, file);
}

}  // namespace codecllm
