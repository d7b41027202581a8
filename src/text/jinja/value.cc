// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"

namespace codecllm::jinja {

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    if (name == key) return &value;
  }
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto& [name, old] : items) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  items.emplace_back(std::string(key), std::move(value));
}

Value Arguments::get(size_t index, std::string_view name) const {
  if (index < positional.size()) return positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return value;
  }
  return {};
}

// Deeper values would overflow the stack of whoever walks or destroys them.
static int checked_depth(int depth) {
  if (depth > 100)
    throw Error(ErrorCode::bad_input, "chat_template", "lists and dicts are nested deeper than 100 levels");
  return depth;
}

// A few lists that hold each other twice stand for more data than there is memory.
static constexpr size_t max_weight = size_t{1} << 40;

Value::Value(List list) {
  int deepest = 0;
  for (const Value& item : list.items) {
    deepest = std::max(deepest, item.depth());
    weight_ = std::min(max_weight, weight_ + item.weight() + 2);
  }
  depth_ = checked_depth(deepest + 1);
  data_ = std::make_shared<const List>(std::move(list));
}

Value::Value(Dict dict) {
  int deepest = 0;
  for (const auto& [key, value] : dict.items) {
    deepest = std::max(deepest, value.depth());
    if (!dict.is_namespace) weight_ = std::min(max_weight, weight_ + key.size() + value.weight() + 4);
  }
  // A namespace may come to hold itself: it has no depth, and the evaluator takes them apart one by one.
  if (!dict.is_namespace || dict.is_loop) depth_ = checked_depth(deepest + 1);
  data_ = std::make_shared<Dict>(std::move(dict));
}

Value::Value(Function function) : depth_(checked_depth(function.depth)) {
  data_ = std::make_shared<const Function>(std::move(function));
}

Value Value::from_json(const OrderedJson& json) {
  if (json.is_null()) return nullptr;
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) return json.get<double>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_string()) return to_valid_utf8(json.get_ref<const std::string&>());
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.items.push_back(from_json(item));
    return list;
  }
  Dict dict;
  for (const auto& [key, value] : json.items())
    dict.items.emplace_back(to_valid_utf8(key), from_json(value));
  return dict;
}

bool Value::truthy() const {
  if (is_bool()) return std::get<bool>(data_);
  if (is_int()) return integer() != 0;
  if (is_float()) return number() != 0;
  if (is_string()) return !string().empty();
  if (is_list()) return !list().items.empty();
  if (is_dict()) return dict().is_namespace || !dict().items.empty();
  return is_function();
}

const char* Value::type_name() const {
  if (is_undefined()) return "undefined";
  if (is_none()) return "None";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return "str";
  if (is_list()) return list().is_tuple ? "tuple" : "list";
  if (is_dict()) return dict().is_namespace ? "namespace" : "dict";
  return "function";
}

size_t Value::weight() const { return is_string() ? string().size() : weight_; }

size_t Value::cost() const {
  if (is_string()) return string().size();
  if (is_list()) return list().items.size() * sizeof(Value);
  if (is_dict()) return dict().items.size() * (sizeof(Value) + sizeof(std::string));
  return 0;
}

std::string float_repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", number);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string Value::str() const {
  if (is_undefined()) return "";
  if (is_string()) return string();
  return repr();
}

static std::string string_repr(std::string_view text) {
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + quote;
}

std::string Value::repr() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "None";
  if (is_bool()) return truthy() ? "True" : "False";
  if (is_int()) return std::to_string(integer());
  if (is_float()) return float_repr(number());
  if (is_string()) return string_repr(string());
  if (is_function()) return "<function>";
  std::string out;
  if (is_list()) {
    const bool tuple = list().is_tuple;
    for (const Value& item : list().items) out += (out.empty() ? "" : ", ") + item.repr();
    if (tuple && list().items.size() == 1) out += ",";
    return tuple ? "(" + out + ")" : "[" + out + "]";
  }
  if (dict().is_namespace) return "<Namespace>";
  for (const auto& [key, value] : dict().items) {
    out += (out.empty() ? "" : ", ") + string_repr(key) + ": " + value.repr();
  }
  return "{" + out + "}";
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_integral() && b.is_integral() ? a.integer() == b.integer() : a.number() == b.number();
  }
  if (a.is_string() && b.is_string()) return a.string() == b.string();
  if (a.is_list() && b.is_list()) {
    const auto &x = a.list(), &y = b.list();
    return x.is_tuple == y.is_tuple && x.items.size() == y.items.size() &&
           std::equal(x.items.begin(), x.items.end(), y.items.begin(), equal);
  }
  if (a.is_dict() && b.is_dict()) {
    const Dict &x = a.dict(), &y = b.dict();
    if (&x == &y) return true;
    if (x.is_namespace || y.is_namespace || x.items.size() != y.items.size()) return false;
    return std::all_of(x.items.begin(), x.items.end(), [&](const auto& item) {
      const Value* other = y.find(item.first);
      return other != nullptr && equal(item.second, *other);
    });
  }
  if (a.is_function() && b.is_function()) return &a.function() == &b.function();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for_each_character(
      text, [&](char32_t, size_t begin, size_t end) { out.emplace_back(text.substr(begin, end - begin)); });
  return out;
}

int64_t character_count(std::string_view text) {
  // Every byte but the continuations begins a character.
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace codecllm::jinja
