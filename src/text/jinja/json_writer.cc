// SPDX-License-Identifier: Apache-2.0
// tojson, as Python's json.dumps writes it: ", " and ": " between, non-ASCII characters as they are.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/runtime.h"

namespace codecllm::jinja {

namespace {

struct Style {
  std::optional<std::string> indent;  // one level; without it all is on one line
  std::string between_items = ", ", after_key = ": ";
  bool sort_keys = false, ascii = false;
};

class JsonWriter {
 public:
  JsonWriter(Runtime& r, const Style& style) : r_(r), style_(style) {}

  void write(const Value& value, size_t level) {
    r_.step();
    if (value.is_none()) {
      out += "null";
    } else if (value.is_bool()) {
      out += value.truthy() ? "true" : "false";
    } else if (value.is_float() && !std::isfinite(value.number())) {
      out += std::isnan(value.number()) ? "NaN" : value.number() < 0 ? "-Infinity" : "Infinity";
    } else if (value.is_number()) {
      out += value.repr();
    } else if (value.is_string()) {
      write_string(value.string());
    } else if (value.is_list()) {
      write_list(value.list(), level);
    } else if (value.is_dict() && !value.dict().is_namespace) {
      write_dict(value.dict(), level);
    } else {
      if (value.is_undefined()) r_.fail("tojson got an undefined value: " + value.undefined().why);
      r_.fail(std::string("a ") + value.type_name() + " cannot be written as JSON");
    }
  }

  std::string out;

 private:
  void new_line(size_t level) {
    if (!style_.indent) return;
    r_.charge_product(style_.indent->size(), level);
    out += '\n';
    for (size_t i = 0; i < level; i++) out += *style_.indent;
  }

  void write_list(const List& list, size_t level) {
    if (list.items.empty()) {
      out += "[]";
      return;
    }
    out += '[';
    for (size_t i = 0; i < list.items.size(); i++) {
      if (i > 0) out += style_.between_items;
      new_line(level + 1);
      write(list.items[i], level + 1);
    }
    new_line(level);
    out += ']';
  }

  void write_dict(const Dict& dict, size_t level) {
    if (dict.items.empty()) {
      out += "{}";
      return;
    }
    std::vector<const std::pair<std::string, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::sort(items.begin(), items.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    }
    out += '{';
    for (size_t i = 0; i < items.size(); i++) {
      if (i > 0) out += style_.between_items;
      new_line(level + 1);
      write_string(items[i]->first);
      out += style_.after_key;
      write(items[i]->second, level + 1);
    }
    new_line(level);
    out += '}';
  }

  void write_string(const std::string& text) {
    out += '"';
    for_each_character(text, [&](char32_t code, size_t begin, size_t end) {
      static constexpr std::string_view plain = "\"\\\n\r\t\b\f", escaped = "\"\\nrtbf";
      const size_t at = code < 0x80 ? plain.find(static_cast<char>(code)) : std::string_view::npos;
      if (at != std::string_view::npos) {
        out += {'\\', escaped[at]};
      } else if (code < 0x20 || (style_.ascii && code >= 0x7F && code < 0x10000)) {
        out += code == 0x7F ? "\x7F" : fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
      } else if (style_.ascii && code >= 0x10000) {
        const auto rest = static_cast<uint32_t>(code - 0x10000);
        out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
      } else {
        out.append(text, begin, end - begin);
      }
    });
    out += '"';
  }

  Runtime& r_;
  const Style& style_;
};

}  // namespace

std::string to_json(Runtime& r, const Value& value, const Arguments& options) {
  Style style;
  style.ascii = options.get(0, "ensure_ascii").truthy();
  const Value indent = options.get(1, "indent"), separators = options.get(2, "separators");
  if (indent.is_string()) style.indent = indent.string();
  if (indent.is_integral()) {
    const auto width = static_cast<size_t>(std::max<int64_t>(indent.integer(), 0));
    r.charge(width);
    style.indent = std::string(width, ' ');
  }
  if (style.indent) style.between_items = ",";
  if (separators.is_list() && separators.list().items.size() == 2) {
    style.between_items = r.need_string(separators.list().items[0], "separators");
    style.after_key = r.need_string(separators.list().items[1], "separators");
  }
  style.sort_keys = options.get(3, "sort_keys").truthy();
  r.charge_product(value.weight(), 1 + (style.between_items.size() + style.after_key.size()) / 4);
  JsonWriter writer(r, style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace codecllm::jinja
