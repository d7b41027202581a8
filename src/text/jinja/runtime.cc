// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/runtime.h"

#include <algorithm>

namespace codecllm::jinja {

void Runtime::fail(const std::string& what) const {
  throw Error(ErrorCode::bad_input, "chat_template", "line " + std::to_string(line_) + ": " + what);
}

void Runtime::step(size_t count) {
  steps_ += static_cast<int64_t>(std::min<size_t>(count, INT32_MAX));
  if (steps_ > limits_.steps)
    fail("the template takes more than " + std::to_string(limits_.steps) + " steps");
}

void Runtime::charge(size_t bytes) {
  bytes_ += std::min(bytes, limits_.bytes + 1);
  if (bytes_ > limits_.bytes)
    fail("the template needs more than " + std::to_string(limits_.bytes) + " bytes");
}

void Runtime::charge_product(size_t a, size_t b) {
  charge(b != 0 && a > limits_.bytes / b ? limits_.bytes + 1 : a * b);
}

Value Runtime::call(const Value& function, const Arguments& arguments) {
  if (function.is_undefined()) fail(function.undefined().why);
  if (!function.is_function()) fail(std::string("a ") + function.type_name() + " is not callable");
  const Deeper deeper(*this);
  Value result = function.function().call(*this, arguments);
  charge(result.cost());
  return result;
}

Value Runtime::filter(const std::string& name, const Value& object, const Arguments& arguments) {
  const FilterFunction function = find_filter(name);
  if (function == nullptr) {
    throw Error(
        ErrorCode::unsupported, "chat_template",
        "line " + std::to_string(line_) + ": filter '" + name.substr(0, 40) + "' is not in this version");
  }
  const Deeper deeper(*this);
  step(1 + object.cost() / 64);
  Value result = function(*this, object, arguments);
  charge(result.cost());
  return result;
}

bool Runtime::test(const std::string& name, const Value& object, const Arguments& arguments) {
  const TestFunction function = find_test(name);
  if (function == nullptr) {
    throw Error(
        ErrorCode::unsupported, "chat_template",
        "line " + std::to_string(line_) + ": test '" + name.substr(0, 40) + "' is not in this version");
  }
  const Deeper deeper(*this);
  step();
  return function(*this, object, arguments);
}

std::string Runtime::text(const Value& value) {
  charge(value.weight());
  return value.str();
}

bool Runtime::same(const Value& a, const Value& b) {
  step(1 + std::min(a.weight(), b.weight()) / 64);
  return equal(a, b);
}

bool Runtime::less(const Value& a, const Value& b) {
  step();
  if (a.is_integral() && b.is_integral()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.number() < b.number();
  if (a.is_string() && b.is_string()) return a.string() < b.string();  // UTF-8 sorts as its characters do
  if (a.is_list() && b.is_list() && a.list().is_tuple == b.list().is_tuple) {
    const Deeper deeper(*this);
    const auto &x = a.list().items, &y = b.list().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); i++) {
      if (!same(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  if (a.is_undefined()) fail(a.undefined().why);
  if (b.is_undefined()) fail(b.undefined().why);
  fail(std::string("cannot order ") + a.type_name() + " and " + b.type_name());
}

bool Runtime::contains(const Value& container, const Value& item) {
  step(1 + container.cost() / 32);
  if (container.is_string()) return container.string().find(need_string(item, "in")) != std::string::npos;
  if (container.is_dict()) return item.is_string() && container.dict().find(item.string()) != nullptr;
  if (container.is_undefined()) return false;
  if (!container.is_list()) fail(std::string("cannot look into a ") + container.type_name());
  const auto& items = container.list().items;
  return std::any_of(items.begin(), items.end(), [&](const Value& value) { return same(value, item); });
}

std::vector<Value> Runtime::iterate(const Value& value) {
  if (value.is_list()) {
    charge(value.cost());
    return value.list().items;
  }
  std::vector<Value> items;
  if (value.is_string()) {
    charge_product(value.string().size(), sizeof(Value) + 32);
    for (std::string& character : characters(value.string())) items.push_back(std::move(character));
  } else if (value.is_dict() && !value.dict().is_namespace) {
    charge(value.cost());
    for (const auto& item : value.dict().items) items.push_back(item.first);
  } else if (!value.is_undefined()) {
    fail(std::string("cannot loop over a ") + value.type_name());
  }
  return items;
}

const std::string& Runtime::need_string(const Value& value, const char* who) const {
  if (value.is_undefined()) fail(value.undefined().why);
  if (!value.is_string()) fail(std::string(who) + " wants a str, got a " + value.type_name());
  return value.string();
}

int64_t Runtime::need_integer(const Value& value, const char* who) const {
  if (value.is_undefined()) fail(value.undefined().why);
  if (!value.is_integral()) fail(std::string(who) + " wants an int, got a " + value.type_name());
  return value.integer();
}

// A method as a value: it remembers its object.
static Value bind(FilterFunction method, const Value& object) {
  const auto call = [method, object](Runtime& runtime, const Arguments& arguments) {
    runtime.step(1 + object.cost() / 64);
    return method(runtime, object, arguments);
  };
  return Function{call, object.depth() + 1};
}

static Value no_attribute(const Value& object, const std::string& name) {
  return Undefined{std::string("a ") + object.type_name() + " has no attribute '" + name.substr(0, 80) + "'"};
}

static const Value* member_of(const Value& object, const Value& index) {
  return object.is_dict() && index.is_string() ? object.dict().find(index.string()) : nullptr;
}

Value Runtime::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) fail(object.undefined().why);
  if (const FilterFunction method = find_method(object, name)) return bind(method, object);
  if (object.is_dict()) {
    step(1 + object.dict().items.size() / 8);
    if (const Value* found = object.dict().find(name)) return *found;
  }
  return no_attribute(object, name);
}

Value Runtime::subscript(const Value& object, const Value& index) {
  if (object.is_undefined()) fail(object.undefined().why);
  step(1 + object.cost() / 256);
  if (const Value* found = member_of(object, index)) return *found;
  if (index.is_integral() && (object.is_list() || object.is_string())) {
    const int64_t size = object.is_list() ? static_cast<int64_t>(object.list().items.size())
                                          : character_count(object.string());
    const int64_t at = index.integer() < 0 ? index.integer() + size : index.integer();
    if (at < 0 || at >= size)
      return Undefined{"index " + std::to_string(index.integer()) + " is out of range"};
    if (object.is_list()) return object.list().items[static_cast<size_t>(at)];
    charge_product(object.string().size(), 32);
    return characters(object.string())[static_cast<size_t>(at)];
  }
  if (index.is_string()) {
    if (const FilterFunction method = find_method(object, index.string())) return bind(method, object);
    return no_attribute(object, index.string());
  }
  return Undefined{std::string("a ") + object.type_name() + " has no such element"};
}

}  // namespace codecllm::jinja
