// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/runtime.h"
#include "text/unicode.h"

namespace codecllm::jinja {

namespace {

bool divisible(Runtime& r, const Value& v, const Value& a) {
  const int64_t by = r.need_integer(a, "divisibleby"), number = r.need_integer(v, "divisibleby");
  if (by == 0) r.fail("division by zero");
  return by == -1 || number % by == 0;
}

struct TestRow {
  std::string_view name;
  TestFunction function;
};

constexpr TestRow tests[] = {
#define TEST_ROW(name, condition)                                             \
  {name, [](Runtime& r, const Value& v, const Arguments& arguments) -> bool { \
     const Value a = arguments.get(0, "other");                               \
     static_cast<void>(r);                                                    \
     return condition;                                                        \
   }},
#include "text/jinja/tests.def"
#undef TEST_ROW
};

}  // namespace

TestFunction find_test(std::string_view name) {
  for (const TestRow& row : tests) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

}  // namespace codecllm::jinja
