// SPDX-License-Identifier: Apache-2.0
// The only place that knows the JSON library, and the only one that compiles its parser and its serializer. Reading is
// strict (duplicate keys and deep nesting are errors); every getter's error names the key and the file.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "codecllm/error.h"

namespace codecllm {

using Json = nlohmann::json;  // for what we read: fast look-up by key
using OrderedJson = nlohmann::ordered_json;  // for what we write: keys stay in the order they were put

constexpr int kJsonDepth = 64;

// Throws Error(bad_input) with the position for anything that is not one JSON value of at most `max_depth` levels.
Json parse_json(std::string_view text, const std::string& file, int max_depth = kJsonDepth);

Json read_json_file(const std::string& path);

OrderedJson read_ordered_json_file(const std::string& path);

// Text, on one line where `indent` is negative; invalid UTF-8 is replaced instead of thrown over.
std::string dump_json(const OrderedJson& json, int indent = -1);
std::string json_text(const Json& json, int indent = -1);  // without a copy into the kind that keeps the order

[[noreturn]] void throw_json_type(const char* key, const char* expected, const Json& got, const std::string& file);

template <class T>
bool json_is(const Json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  if constexpr (std::is_floating_point_v<T>) return value.is_number();
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    // Whole numbers only, in range of T: 1.0 and 1e3 are not integers in any config we read.
    if (value.is_number_unsigned()) return value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max());
    return value.is_number_integer() && std::is_signed_v<T> &&
           value.get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<T>::min());
  }
  return false;
}

template <class T>
constexpr const char* json_type_name() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_floating_point_v<T>) return "a number";
  return "a whole number in range";
}

// The value of `key`, or nothing if it is absent or null. A value of another type throws Error(bad_input).
template <class T>
std::optional<T> json_find(const Json& object, const char* key, const std::string& file) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  if (!json_is<T>(*it)) throw_json_type(key, json_type_name<T>(), *it, file);
  return it->template get<T>();
}

template <class T>
T json_or(const Json& object, const char* key, T fallback, const std::string& file) {
  return json_find<T>(object, key, file).value_or(std::move(fallback));
}

template <class T>
T json_need(const Json& object, const char* key, const std::string& file) {
  auto value = json_find<T>(object, key, file);
  if (!value) throw Error(ErrorCode::bad_input, "json", std::string("key '") + key + "' is missing", {.file = file});
  return *std::move(value);
}

}  // namespace codecllm
