// SPDX-License-Identifier: Apache-2.0
// Functions that every template can call. (namespace is the evaluator's own.)
#include <ctime>

#include "base/utf8.h"
#include "text/jinja/runtime.h"

namespace codecllm::jinja {

namespace {

Value raise_exception(Runtime& r, const Value&, const Arguments& arguments) {
  r.fail("the template says: " + r.text(arguments.get(0, "message")));
}

Value strftime_now(Runtime& r, const Value&, const Arguments& arguments) {
  const Value format = arguments.get(0, "format");
  const std::string& wanted = r.need_string(format, "strftime_now");
  const std::time_t now = r.now();
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(wanted.size() * 16 + 64, '\0');
  r.charge(out.size());
  out.resize(std::strftime(out.data(), out.size(), wanted.c_str(), &local));
  return to_valid_utf8(out);
}

Value range(Runtime& r, const Value&, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3) r.fail("range wants one to three numbers");
  const int64_t start = given.size() > 1 ? r.need_integer(given[0], "range") : 0;
  const int64_t stop = r.need_integer(given[given.size() > 1 ? 1 : 0], "range");
  const int64_t step = given.size() > 2 ? r.need_integer(given[2], "range") : 1;
  if (step == 0) r.fail("range wants a step that is not zero");
  constexpr int64_t most = 100'000;  // as jinja's sandbox has it
  List out;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(out.items.size()) == most) r.fail("range gives more than 100000 numbers");
    out.items.push_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return out;
}

Value make_dict(Runtime& r, const Value&, const Arguments& arguments) {
  Dict dict;
  for (const Value& from : arguments.positional) {
    if (!from.is_dict()) r.fail("dict wants a dict and named values");
    dict.items = from.dict().items;
  }
  for (const auto& [key, value] : arguments.named) dict.set(key, value);
  return dict;
}

struct GlobalRow {
  std::string_view name;
  FilterFunction function;
};

constexpr GlobalRow globals[] = {{"raise_exception", raise_exception},
                        {"strftime_now", strftime_now},
                        {"range", range},
                        {"dict", make_dict}};

}  // namespace

FilterFunction find_global(std::string_view name) {
  for (const GlobalRow& row : globals) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

}  // namespace codecllm::jinja
