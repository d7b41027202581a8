// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/text_tools.h"
#include "text/unicode.h"

namespace codecllm::jinja {

namespace {

std::optional<std::string> optional_string(Runtime& r, const Value& value, const char* who) {
  if (value.is_undefined() || value.is_none()) return std::nullopt;
  return r.need_string(value, who);
}

int64_t optional_integer(Runtime& r, const Value& value, int64_t fallback, const char* who) {
  return value.is_undefined() ? fallback : r.need_integer(value, who);
}

Value strip_ends(Runtime& r, const Value& object, const Arguments& arguments, bool left, bool right) {
  return std::string(
      strip(object.string(), optional_string(r, arguments.get(0, "chars"), "strip"), left, right));
}

// startswith and endswith take one text or a tuple of them.
bool any_affix(Runtime& r, const Value& affixes, const char* who,
               const std::function<bool(const std::string&)>& fits) {
  if (!affixes.is_list()) return fits(r.need_string(affixes, who));
  const auto& items = affixes.list().items;
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& item) { return fits(r.need_string(item, who)); });
}

Value all_characters(const Value& object, bool (*in_class)(char32_t)) {
  bool all = !object.string().empty();
  for_each_character(object.string(),
                           [&](char32_t code, size_t, size_t) { all = all && in_class(code); });
  return all;
}

}  // namespace

Value method_strip(Runtime& r, const Value& o, const Arguments& a) { return strip_ends(r, o, a, true, true); }
Value method_lstrip(Runtime& r, const Value& o, const Arguments& a) {
  return strip_ends(r, o, a, true, false);
}
Value method_rstrip(Runtime& r, const Value& o, const Arguments& a) {
  return strip_ends(r, o, a, false, true);
}
Value method_upper(Runtime&, const Value& object, const Arguments&) {
  return text::to_upper(object.string());
}
Value method_lower(Runtime&, const Value& object, const Arguments&) {
  return text::to_lower(object.string());
}
Value method_capitalize(Runtime&, const Value& object, const Arguments&) {
  return capitalize(object.string());
}
Value method_title(Runtime&, const Value& object, const Arguments&) { return title(object.string(), ""); }
Value method_isalpha(Runtime&, const Value& object, const Arguments&) {
  return all_characters(object, &text::is_letter);
}
Value method_isspace(Runtime&, const Value& object, const Arguments&) {
  return all_characters(object, &text::is_whitespace);
}
Value method_isdigit(Runtime&, const Value& object, const Arguments&) {
  return all_characters(object, [](char32_t code) { return code >= '0' && code <= '9'; });
}

Value method_startswith(Runtime& r, const Value& object, const Arguments& arguments) {
  return any_affix(r, arguments.get(0, "prefix"), "startswith",
                   [&](const std::string& prefix) { return object.string().starts_with(prefix); });
}

Value method_endswith(Runtime& r, const Value& object, const Arguments& arguments) {
  return any_affix(r, arguments.get(0, "suffix"), "endswith",
                   [&](const std::string& suffix) { return object.string().ends_with(suffix); });
}

Value method_removeprefix(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value value = arguments.get(0, "prefix");
  const std::string& prefix = r.need_string(value, "removeprefix");
  return object.string().starts_with(prefix) ? object.string().substr(prefix.size()) : object.string();
}

Value method_removesuffix(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value value = arguments.get(0, "suffix");
  const std::string& suffix = r.need_string(value, "removesuffix");
  const std::string& text = object.string();
  return text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text;
}

Value method_find(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value value = arguments.get(0, "sub");
  const size_t at = object.string().find(r.need_string(value, "find"));
  return at == std::string::npos ? int64_t{-1}
                                 : character_count(std::string_view(object.string()).substr(0, at));
}

Value method_count(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value value = arguments.get(0, "sub");
  const std::string& wanted = r.need_string(value, "count");
  if (wanted.empty()) return character_count(object.string()) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = object.string().find(wanted, at)) != std::string::npos; at += wanted.size())
    count++;
  return count;
}

Value method_replace(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value from = arguments.get(0, "old"), to = arguments.get(1, "new");
  return replace(r, object.string(), r.need_string(from, "replace"), r.need_string(to, "replace"),
                 optional_integer(r, arguments.get(2, "count"), -1, "replace"));
}

Value method_split(Runtime& r, const Value& object, const Arguments& arguments) {
  return List{split(r, object.string(), optional_string(r, arguments.get(0, "sep"), "split"),
                    optional_integer(r, arguments.get(1, "maxsplit"), -1, "split"))};
}

// The last pieces stay apart, what is before them stays whole.
Value method_rsplit(Runtime& r, const Value& object, const Arguments& arguments) {
  const auto separator = optional_string(r, arguments.get(0, "sep"), "rsplit");
  const int64_t limit = optional_integer(r, arguments.get(1, "maxsplit"), -1, "rsplit");
  std::vector<Value> parts = split(r, object.string(), separator, -1);
  const auto count = static_cast<int64_t>(parts.size());
  if (limit < 0 || count <= limit + 1) return List{std::move(parts)};
  if (!separator) r.fail("rsplit with a limit wants a separator");
  size_t tail = 0;
  List out;
  for (int64_t i = count - limit; i < count; i++) {
    tail += separator->size() + parts[static_cast<size_t>(i)].string().size();
    out.items.push_back(parts[static_cast<size_t>(i)]);
  }
  out.items.insert(out.items.begin(), object.string().substr(0, object.string().size() - tail));
  return out;
}

Value method_splitlines(Runtime& r, const Value& object, const Arguments& arguments) {
  const bool keep_ends = arguments.get(0, "keepends").truthy();
  const std::string& text = object.string();
  List out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    const size_t next = std::min(end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1), text.size());
    r.charge(sizeof(Value) + next - at);
    out.items.push_back(text.substr(at, (keep_ends ? next : end) - at));
    at = next;
  }
  return out;
}

Value method_join(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value items = arguments.get(0, "iterable");
  for (const Value& item : r.iterate(items)) r.need_string(item, "join");
  return filter_join(r, items, {{object}, {}});
}

}  // namespace codecllm::jinja
