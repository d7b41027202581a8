// SPDX-License-Identifier: Apache-2.0
// The values of a template: Python's, as far as chat templates go. Values are shared, never changed, except
// namespaces.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"

namespace codecllm::jinja {

class Value;
class Runtime;

struct Undefined {
  std::string why;  // the message when somebody needs the value
};

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
};

// Keys are strings, in the order they were put.
struct Dict {
  std::vector<std::pair<std::string, Value>> items;
  bool is_namespace = false;  // or a loop: nobody walks into these
  bool is_loop = false;       // holds values of its own, which cannot be set

  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The argument at `index` or called `name`; an undefined value when it was not given.
  Value get(size_t index, std::string_view name) const;
};

struct Function {
  std::function<Value(Runtime&, const Arguments&)> call;
  int depth = 0;  // one more than that of the values it keeps
};

class Value {
 public:
  Value() : data_(Undefined{"the value is undefined"}) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(std::nullptr_t) : data_(nullptr) {}
  Value(bool flag) : data_(flag) {}
  Value(int64_t number) : data_(number) {}
  Value(double number) : data_(number) {}
  Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(List list);
  Value(Dict dict);  // a namespace stays the same one in every copy of this value
  Value(Function function);
  static Value from_json(const OrderedJson& json);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<std::nullptr_t>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_int() || is_float() || is_bool(); }
  bool is_integral() const { return is_int() || is_bool(); }
  bool is_string() const { return std::holds_alternative<StringPtr>(data_); }
  bool is_list() const { return std::holds_alternative<ListPtr>(data_); }
  bool is_dict() const { return std::holds_alternative<DictPtr>(data_); }
  bool is_function() const { return std::holds_alternative<FunctionPtr>(data_); }

  const Undefined& undefined() const { return std::get<Undefined>(data_); }
  int64_t integer() const { return is_bool() ? std::get<bool>(data_) : std::get<int64_t>(data_); }
  double number() const { return is_float() ? std::get<double>(data_) : static_cast<double>(integer()); }
  const std::string& string() const { return *std::get<StringPtr>(data_); }
  const List& list() const { return *std::get<ListPtr>(data_); }
  const Dict& dict() const { return *std::get<DictPtr>(data_); }
  const std::shared_ptr<Dict>& dict_pointer() const { return std::get<DictPtr>(data_); }
  const Function& function() const { return *std::get<FunctionPtr>(data_); }

  bool truthy() const;
  const char* type_name() const;        // as Python calls it
  int depth() const { return depth_; }  // of nested lists and dicts
  size_t cost() const;                  // bytes this value's own data takes, roughly
  size_t weight() const;                // the same with all below it, counted as often as it is shared

  std::string str() const;   // Python's str()
  std::string repr() const;  // Python's repr()

 private:
  using StringPtr = std::shared_ptr<const std::string>;
  using ListPtr = std::shared_ptr<const List>;
  using DictPtr = std::shared_ptr<Dict>;
  using FunctionPtr = std::shared_ptr<const Function>;

  std::variant<Undefined, std::nullptr_t, bool, int64_t, double, StringPtr, ListPtr, DictPtr, FunctionPtr>
      data_;
  int depth_ = 0;
  size_t weight_ = 16;  // of lists and dicts; stops growing at max_weight
};

bool equal(const Value& a, const Value& b);

// Characters (not bytes) of text, as Python counts.
std::vector<std::string> characters(std::string_view text);
int64_t character_count(std::string_view text);

std::string float_repr(double number);

}  // namespace codecllm::jinja
