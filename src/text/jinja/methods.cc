// SPDX-License-Identifier: Apache-2.0
// The table of methods, and those of lists and dicts.
#include "text/jinja/methods.h"

#include <algorithm>

#include "text/jinja/filters.h"

namespace codecllm::jinja {

namespace {

bool is_type_string(const Value& value) { return value.is_string(); }
bool is_type_list(const Value& value) { return value.is_list(); }
bool is_type_dict(const Value& value) { return value.is_dict() && !value.dict().is_namespace; }

struct MethodRow {
  bool (*is_type)(const Value&);
  std::string_view name;
  FilterFunction function;
};

constexpr MethodRow methods[] = {
#define METHOD(type, name, function) {is_type_##type, name, function},
#include "text/jinja/methods.def"
#undef METHOD
};

}  // namespace

FilterFunction find_method(const Value& object, std::string_view name) {
  for (const MethodRow& row : methods) {
    if (row.name == name && row.is_type(object)) return row.function;
  }
  return nullptr;
}

Value method_list_count(Runtime& r, const Value& object, const Arguments& arguments) {
  const auto& items = object.list().items;
  const Value wanted = arguments.get(0, "value");
  return static_cast<int64_t>(
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return r.same(item, wanted); }));
}

Value method_list_index(Runtime& r, const Value& object, const Arguments& arguments) {
  const auto& items = object.list().items;
  const Value wanted = arguments.get(0, "value");
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const Value& item) { return r.same(item, wanted); });
  if (found == items.end()) r.fail("the list has no such item");
  return static_cast<int64_t>(found - items.begin());
}

Value method_get(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value key = arguments.get(0, "key"), fallback = arguments.get(1, "default");
  r.step(1 + object.dict().items.size() / 8);
  if (key.is_string()) {
    if (const Value* found = object.dict().find(key.string())) return *found;
  }
  return fallback.is_undefined() && arguments.positional.size() < 2 ? Value(nullptr) : fallback;
}

Value method_items(Runtime& r, const Value& object, const Arguments&) { return filter_items(r, object, {}); }

Value method_keys(Runtime& r, const Value& object, const Arguments&) { return List{r.iterate(object)}; }

Value method_values(Runtime&, const Value& object, const Arguments&) {
  List out;
  for (const auto& item : object.dict().items) out.items.push_back(item.second);
  return out;
}

}  // namespace codecllm::jinja
