// SPDX-License-Identifier: Apache-2.0
// Filters over lists and dicts.
#include <algorithm>
#include <list>

#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/text_tools.h"
#include "text/unicode.h"

namespace codecllm::jinja {

Value attribute_path(Runtime& r, const Value& object, const Value& path) {
  if (path.is_integral()) return r.subscript(object, path);
  Value value = object;
  for (const Value& part : split(r, r.need_string(path, "attribute"), ".", -1)) {
    const std::string& name = part.string();
    const bool is_index =
        !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == std::string::npos;
    value = r.subscript(value, is_index ? Value(int64_t{std::stoll(name)}) : part);
  }
  return value;
}

Value filter_length(Runtime& r, const Value& object, const Arguments&) {
  if (object.is_string()) return character_count(object.string());
  if (object.is_list()) return static_cast<int64_t>(object.list().items.size());
  if (object.is_dict() && !object.dict().is_namespace)
    return static_cast<int64_t>(object.dict().items.size());
  if (object.is_undefined()) return int64_t{0};
  r.fail(std::string("a ") + object.type_name() + " has no length");
}

Value filter_first(Runtime& r, const Value& object, const Arguments&) {
  auto items = r.iterate(object);
  return items.empty() ? Value(Undefined{"there is no first item"}) : items.front();
}

Value filter_last(Runtime& r, const Value& object, const Arguments&) {
  auto items = r.iterate(object);
  return items.empty() ? Value(Undefined{"there is no last item"}) : items.back();
}

Value filter_list(Runtime& r, const Value& object, const Arguments&) { return List{r.iterate(object)}; }

Value filter_items(Runtime& r, const Value& object, const Arguments&) {
  if (object.is_undefined()) return List{};
  if (!object.is_dict()) r.fail(std::string("items wants a dict, got a ") + object.type_name());
  List out;
  for (const auto& [key, value] : object.dict().items) out.items.push_back(List{{key, value}, true});
  return out;
}

Value filter_reverse(Runtime& r, const Value& object, const Arguments&) {
  std::vector<Value> items = r.iterate(object);
  std::reverse(items.begin(), items.end());
  if (!object.is_string()) return List{std::move(items)};
  std::string text;
  for (const Value& character : items) text += character.string();
  return text;
}

Value filter_join(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value separator = arguments.get(0, "d"), path = arguments.get(1, "attribute");
  const std::string between = separator.is_undefined() ? "" : r.text(separator);
  std::string out;
  bool first = true;
  for (const Value& item : r.iterate(object)) {
    r.charge(between.size());
    if (!first) out += between;
    first = false;
    out += r.text(path.is_undefined() || path.is_none() ? item : attribute_path(r, item, path));
  }
  return out;
}

Value filter_sum(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value path = arguments.get(0, "attribute"), start = arguments.get(1, "start");
  Value sum = start.is_undefined() ? Value(int64_t{0}) : start;
  for (const Value& item : r.iterate(object)) {
    sum = binary_operator(r, "+", sum,
                          path.is_undefined() || path.is_none() ? item : attribute_path(r, item, path));
  }
  return sum;
}

namespace {

// What sorting and comparing look at: an attribute of the item, small letters unless case matters.
Value sort_key(Runtime& r, const Value& item, const Value& path, bool case_sensitive) {
  Value key = path.is_undefined() || path.is_none() ? item : attribute_path(r, item, path);
  if (key.is_string() && !case_sensitive) key = text::to_lower(key.string());
  return key;
}

// A list's merge sort is stable, and stays within bounds when values (NaN) have no consistent order.
void sort_by_keys(Runtime& r, std::vector<std::pair<Value, Value>>& keyed, bool reverse) {
  std::list<std::pair<Value, Value>> list(keyed.begin(), keyed.end());
  list.sort([&](const auto& a, const auto& b) {
    return reverse ? r.less(b.first, a.first) : r.less(a.first, b.first);
  });
  keyed.assign(list.begin(), list.end());
}

std::vector<std::pair<Value, Value>> with_keys(Runtime& r, const Value& object, const Value& path,
                                               bool case_sensitive) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : r.iterate(object)) {
    Value key = sort_key(r, item, path, case_sensitive);
    keyed.emplace_back(std::move(key), std::move(item));
  }
  return keyed;
}

Value extreme(Runtime& r, const Value& object, const Arguments& arguments, bool largest) {
  auto keyed =
      with_keys(r, object, arguments.get(1, "attribute"), arguments.get(0, "case_sensitive").truthy());
  if (keyed.empty()) return Undefined{"an empty list has no minimum and no maximum"};
  const auto less = [&](const auto& a, const auto& b) { return r.less(a.first, b.first); };
  const auto found = largest ? std::max_element(keyed.begin(), keyed.end(), less)
                             : std::min_element(keyed.begin(), keyed.end(), less);
  return found->second;
}

// select and reject, on the items or on one of their attributes.
Value choose(Runtime& r, const Value& object, const Arguments& arguments, bool wanted, bool by_attribute) {
  const size_t first = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional.empty()) r.fail("selectattr and rejectattr want an attribute");
  Arguments rest;
  for (size_t i = first + 1; i < arguments.positional.size(); i++)
    rest.positional.push_back(arguments.positional[i]);
  const bool has_test = arguments.positional.size() > first;
  List out;
  for (Value& item : r.iterate(object)) {
    const Value value = by_attribute ? attribute_path(r, item, arguments.positional[0]) : item;
    const bool holds =
        has_test ? r.test(r.need_string(arguments.positional[first], "select"), value, rest) : value.truthy();
    if (holds == wanted) out.items.push_back(std::move(item));
  }
  return out;
}

}  // namespace

Value filter_select(Runtime& r, const Value& o, const Arguments& a) { return choose(r, o, a, true, false); }
Value filter_reject(Runtime& r, const Value& o, const Arguments& a) { return choose(r, o, a, false, false); }
Value filter_selectattr(Runtime& r, const Value& o, const Arguments& a) {
  return choose(r, o, a, true, true);
}
Value filter_rejectattr(Runtime& r, const Value& o, const Arguments& a) {
  return choose(r, o, a, false, true);
}
Value filter_max(Runtime& r, const Value& o, const Arguments& a) { return extreme(r, o, a, true); }
Value filter_min(Runtime& r, const Value& o, const Arguments& a) { return extreme(r, o, a, false); }

Value filter_map(Runtime& r, const Value& object, const Arguments& arguments) {
  List out;
  const Value path = arguments.positional.empty() ? arguments.get(0, "attribute") : Value();
  const Value fallback = arguments.positional.empty() ? arguments.get(1, "default") : Value();
  Arguments rest;
  for (size_t i = 1; i < arguments.positional.size(); i++) rest.positional.push_back(arguments.positional[i]);
  if (!arguments.positional.empty()) rest.named = arguments.named;
  for (const Value& item : r.iterate(object)) {
    if (arguments.positional.empty()) {
      Value value = attribute_path(r, item, path);
      out.items.push_back(value.is_undefined() ? fallback : std::move(value));
    } else {
      out.items.push_back(r.filter(r.need_string(arguments.positional[0], "map"), item, rest));
    }
  }
  return out;
}

Value filter_sort(Runtime& r, const Value& object, const Arguments& arguments) {
  auto keyed =
      with_keys(r, object, arguments.get(2, "attribute"), arguments.get(1, "case_sensitive").truthy());
  sort_by_keys(r, keyed, arguments.get(0, "reverse").truthy());
  List out;
  for (auto& item : keyed) out.items.push_back(std::move(item.second));
  return out;
}

Value filter_dictsort(Runtime& r, const Value& object, const Arguments& arguments) {
  if (!object.is_dict()) r.fail(std::string("dictsort wants a dict, got a ") + object.type_name());
  const Value by = arguments.get(1, "by");
  const Value path = int64_t{by.is_string() && by.string() == "value" ? 1 : 0};
  auto keyed = with_keys(r, filter_items(r, object, {}), path, arguments.get(0, "case_sensitive").truthy());
  sort_by_keys(r, keyed, arguments.get(2, "reverse").truthy());
  List out;
  for (auto& item : keyed) out.items.push_back(std::move(item.second));
  return out;
}

Value filter_unique(Runtime& r, const Value& object, const Arguments& arguments) {
  auto keyed =
      with_keys(r, object, arguments.get(1, "attribute"), arguments.get(0, "case_sensitive").truthy());
  List out, seen;
  for (auto& entry : keyed) {
    const Value& key = entry.first;
    const bool known =
        std::any_of(seen.items.begin(), seen.items.end(), [&](const Value& k) { return r.same(k, key); });
    if (known) continue;
    seen.items.push_back(key);
    out.items.push_back(std::move(entry.second));
  }
  return out;
}

}  // namespace codecllm::jinja
