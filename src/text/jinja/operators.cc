// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>

namespace codecllm::jinja {

namespace {

[[noreturn]] void fail_types(Runtime& r, const std::string& sign, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) r.fail(value->undefined().why);
  }
  r.fail("operator " + sign + " does not take " + a.type_name() + " and " + b.type_name());
}

int64_t floor_divide(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0); }

Value power(Runtime& r, int64_t base, int64_t exponent) {
  if (exponent < 0) return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  if (base == 0 || base == 1) return exponent == 0 ? int64_t{1} : base;
  if (base == -1) return exponent % 2 == 0 ? int64_t{1} : int64_t{-1};
  if (exponent > 63) r.fail("integer overflow");
  int64_t out = 1;
  for (int64_t i = 0; i < exponent; i++) {
    if (__builtin_mul_overflow(out, base, &out)) r.fail("integer overflow");
  }
  return out;
}

Value integer_operator(Runtime& r, const std::string& sign, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (sign == "**") return power(r, a, b);
  if (sign == "+") overflow = __builtin_add_overflow(a, b, &out);
  if (sign == "-") overflow = __builtin_sub_overflow(a, b, &out);
  if (sign == "*") overflow = __builtin_mul_overflow(a, b, &out);
  if (sign == "/" || sign == "//" || sign == "%") {
    if (b == 0) r.fail("division by zero");
    if (sign == "/") return static_cast<double>(a) / static_cast<double>(b);
    if (a == INT64_MIN && b == -1) r.fail("integer overflow");
    out = sign == "//" ? floor_divide(a, b) : a - floor_divide(a, b) * b;
  }
  if (overflow) r.fail("integer overflow");
  return out;
}

Value float_operator(Runtime& r, const std::string& sign, double a, double b) {
  if (sign == "+") return a + b;
  if (sign == "-") return a - b;
  if (sign == "*") return a * b;
  if (sign == "**") return std::pow(a, b);
  if (b == 0) r.fail("division by zero");
  if (sign == "/") return a / b;
  if (sign == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value repeat(Runtime& r, const Value& what, int64_t count) {
  const auto times = static_cast<size_t>(std::max<int64_t>(count, 0));
  r.charge_product(what.cost(), times);
  if (what.cost() == 0) return what;
  if (what.is_string()) {
    std::string out;
    out.reserve(what.string().size() * times);
    for (size_t i = 0; i < times; i++) out += what.string();
    return out;
  }
  List out{{}, what.list().is_tuple};
  for (size_t i = 0; i < times; i++) {
    out.items.insert(out.items.end(), what.list().items.begin(), what.list().items.end());
  }
  return out;
}

}  // namespace

Value binary_operator(Runtime& r, const std::string& sign, const Value& a, const Value& b) {
  if (sign == "~") {
    return r.text(a) + r.text(b);
  }
  if (a.is_integral() && b.is_integral()) return integer_operator(r, sign, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return float_operator(r, sign, a.number(), b.number());
  if (sign == "+" && a.is_string() && b.is_string()) {
    r.charge(a.cost() + b.cost());
    return a.string() + b.string();
  }
  if (sign == "+" && a.is_list() && b.is_list() && a.list().is_tuple == b.list().is_tuple) {
    r.charge(a.cost() + b.cost());
    List out = a.list();
    out.items.insert(out.items.end(), b.list().items.begin(), b.list().items.end());
    return out;
  }
  if (sign == "*" && (a.is_string() || a.is_list()) && b.is_integral()) return repeat(r, a, b.integer());
  if (sign == "*" && (b.is_string() || b.is_list()) && a.is_integral()) return repeat(r, b, a.integer());
  fail_types(r, sign, a, b);
}

Value negate(Runtime& r, const Value& value) {
  if (value.is_integral()) return integer_operator(r, "-", 0, value.integer());
  if (value.is_float()) return -value.number();
  if (value.is_undefined()) r.fail(value.undefined().why);
  r.fail(std::string("cannot negate a ") + value.type_name());
}

Value slice(Runtime& r, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) r.fail(object.undefined().why);
  if (!object.is_list() && !object.is_string()) r.fail(std::string("cannot slice a ") + object.type_name());
  const std::vector<Value> items = r.iterate(object);
  const auto size = static_cast<int64_t>(items.size());
  const auto absent = [](const Value& v) { return v.is_undefined() || v.is_none(); };
  const int64_t by = absent(step) ? 1 : r.need_integer(step, "slice");
  if (by == 0 || by == INT64_MIN) r.fail("slice step is out of range");
  const auto bound = [&](const Value& v, int64_t fallback) {
    if (absent(v)) return fallback;
    int64_t at = r.need_integer(v, "slice");
    if (at < 0) at = std::max(at, -size - 1) + size;
    return by > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
  };
  const int64_t first = bound(start, by > 0 ? 0 : size - 1), last = bound(stop, by > 0 ? size : -1);
  // A step beyond the size takes one element, and must not overflow.
  const int64_t stride = std::clamp<int64_t>(by, -size - 1, size + 1);
  std::vector<Value> out;
  for (int64_t i = first; by > 0 ? i < last : i > last; i += stride)
    out.push_back(items[static_cast<size_t>(i)]);
  if (object.is_list()) return List{std::move(out), object.list().is_tuple};
  std::string text;
  for (const Value& character : out) text += character.string();
  return text;
}

}  // namespace codecllm::jinja
