// SPDX-License-Identifier: Apache-2.0
// The table of filters, and those that fit no other file.
#include "text/jinja/filters.h"

#include <charconv>
#include <cmath>

#include "text/jinja/operators.h"

namespace codecllm::jinja {

struct FilterRow {
  std::string_view name;
  FilterFunction function;
};

static constexpr FilterRow filters[] = {
#define FILTER(name, function) {name, function},
#include "text/jinja/filters.def"
#undef FILTER
};

FilterFunction find_filter(std::string_view name) {
  for (const FilterRow& row : filters) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

Value filter_default(Runtime&, const Value& object, const Arguments& arguments) {
  const bool also_false = arguments.get(1, "boolean").truthy();
  if (!object.is_undefined() && (!also_false || object.truthy())) return object;
  const Value fallback = arguments.get(0, "default_value");
  return fallback.is_undefined() && arguments.positional.empty() ? Value("") : fallback;
}

Value filter_abs(Runtime& r, const Value& object, const Arguments&) {
  if (object.is_integral()) return object.integer() < 0 ? negate(r, object) : Value(object.integer());
  if (!object.is_float()) r.fail(std::string("abs wants a number, got a ") + object.type_name());
  return std::fabs(object.number());
}

static std::optional<double> parse_float(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  if (begin == std::string::npos) return std::nullopt;
  const char *first = text.data() + begin + (text[begin] == '+' ? 1 : 0), *last = text.data() + end + 1;
  double value = 0;
  const auto result = std::from_chars(first, last, value);
  if (result.ec != std::errc() || result.ptr != last) return std::nullopt;
  return value;
}

Value filter_float(Runtime&, const Value& object, const Arguments& arguments) {
  if (object.is_number()) return object.number();
  if (object.is_string()) {
    if (const auto value = parse_float(object.string())) return *value;
  }
  const Value fallback = arguments.get(0, "default");
  return fallback.is_undefined() ? Value(0.0) : fallback;
}

Value filter_int(Runtime& r, const Value& object, const Arguments& arguments) {
  if (object.is_integral()) return object.integer();
  std::optional<double> value;
  if (object.is_float()) value = object.number();
  if (object.is_string()) {
    const std::string& text = object.string();
    int64_t whole = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return whole;
    value = parse_float(text);
  }
  if (value && std::fabs(*value) < 9e18) return static_cast<int64_t>(*value);
  if (value && std::isfinite(*value)) r.fail("integer overflow");
  const Value fallback = arguments.get(0, "default");
  return fallback.is_undefined() ? Value(int64_t{0}) : fallback;
}

Value filter_round(Runtime& r, const Value& object, const Arguments& arguments) {
  if (!object.is_number()) r.fail(std::string("round wants a number, got a ") + object.type_name());
  const Value digits = arguments.get(0, "precision"), method = arguments.get(1, "method");
  const int64_t precision = digits.is_undefined() ? 0 : r.need_integer(digits, "round");
  if (precision < -15 || precision > 15) r.fail("round wants a precision of -15 to 15");
  const double scale = std::pow(10.0, static_cast<double>(precision)), scaled = object.number() * scale;
  if (method.is_string() && method.string() == "ceil") return std::ceil(scaled) / scale;
  if (method.is_string() && method.string() == "floor") return std::floor(scaled) / scale;
  return std::nearbyint(scaled) / scale;
}

Value filter_tojson(Runtime& r, const Value& object, const Arguments& arguments) {
  return to_json(r, object, arguments);
}

}  // namespace codecllm::jinja
