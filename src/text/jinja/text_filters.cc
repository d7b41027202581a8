// SPDX-License-Identifier: Apache-2.0
// Filters that make text of text. All but trim and replace take any value, as its str().
#include <algorithm>

#include "text/jinja/filters.h"
#include "text/jinja/text_tools.h"
#include "text/unicode.h"

namespace codecllm::jinja {

Value filter_string(Runtime& r, const Value& object, const Arguments&) { return r.text(object); }
Value filter_upper(Runtime& r, const Value& object, const Arguments&) {
  return text::to_upper(r.text(object));
}
Value filter_lower(Runtime& r, const Value& object, const Arguments&) {
  return text::to_lower(r.text(object));
}
Value filter_capitalize(Runtime& r, const Value& object, const Arguments&) {
  return capitalize(r.text(object));
}
Value filter_title(Runtime& r, const Value& object, const Arguments&) {
  return title(r.text(object), " \t\n-([{<");
}

Value filter_trim(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value what = arguments.get(0, "chars");
  const std::string text = r.text(object);
  const bool given = !what.is_undefined() && !what.is_none();
  return std::string(
      strip(text, given ? std::optional(r.need_string(what, "trim")) : std::nullopt, true, true));
}

Value filter_replace(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value from = arguments.get(0, "old"), to = arguments.get(1, "new"), count = arguments.get(2, "count");
  const int64_t limit = count.is_undefined() || count.is_none() ? -1 : r.need_integer(count, "replace");
  return replace(r, r.text(object), r.text(from), r.text(to), limit);
}

Value filter_escape(Runtime& r, const Value& object, const Arguments&) {
  std::string out;
  for (const char c : r.text(object)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// Every line but the first (and but the blank ones) begins with `width` spaces.
Value filter_indent(Runtime& r, const Value& object, const Arguments& arguments) {
  const Value width = arguments.get(0, "width");
  const bool first = arguments.get(1, "first").truthy(), blank = arguments.get(2, "blank").truthy();
  std::string margin = "    ";
  if (width.is_string()) margin = width.string();
  if (width.is_integral()) {
    r.charge(static_cast<size_t>(std::max<int64_t>(width.integer(), 0)));
    margin = std::string(static_cast<size_t>(std::max<int64_t>(width.integer(), 0)), ' ');
  }
  const std::string text = r.text(object);
  r.charge_product(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1, margin.size());
  std::string out = first ? margin : "";
  for (size_t i = 0; i < text.size(); i++) {
    out += text[i];
    const bool line_is_blank = i + 1 == text.size() || text[i + 1] == '\n';
    if (text[i] == '\n' && (blank || !line_is_blank)) out += margin;
  }
  return out;
}

Value filter_wordcount(Runtime& r, const Value& object, const Arguments&) {
  const std::string text = r.text(object);
  return static_cast<int64_t>(split(r, text, std::nullopt, -1).size());
}

}  // namespace codecllm::jinja
