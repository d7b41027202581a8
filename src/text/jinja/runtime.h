// SPDX-License-Identifier: Apache-2.0
// What filters, tests, methods and global functions see of the evaluator: its budget and its tables.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace codecllm::jinja {

// A hostile template ends with an Error instead of eating the machine.
struct Limits {
  int64_t steps = 20'000'000;
  size_t bytes = size_t{256} << 20;  // of all values ever made, and of the output
  int depth = 300;                   // of the evaluator inside itself
};

class Runtime {
 public:
  Runtime(const Limits& limits, std::time_t now) : limits_(limits), now_(now) {}

  [[noreturn]] void fail(const std::string& what) const;
  void step(size_t count = 1);
  void charge(size_t bytes);                // before making something large
  void charge_product(size_t a, size_t b);  // of a * b bytes
  std::time_t now() const { return now_; }

  Value call(const Value& function, const Arguments& arguments);
  Value filter(const std::string& name, const Value& object, const Arguments& arguments);
  bool test(const std::string& name, const Value& object, const Arguments& arguments);
  std::string text(const Value& value);  // str(), paid for
  bool same(const Value& a, const Value& b);
  bool less(const Value& a, const Value& b);
  bool contains(const Value& container, const Value& item);

  // The items a loop over `value` gives; what cannot be looped over is an error.
  std::vector<Value> iterate(const Value& value);

  // `.name`, `[index]`: an undefined value when there is none.
  Value attribute(const Value& object, const std::string& name);
  Value subscript(const Value& object, const Value& index);

  // What a caller must give; Error when it is not of that type.
  const std::string& need_string(const Value& value, const char* who) const;
  int64_t need_integer(const Value& value, const char* who) const;

 protected:
  struct Deeper {
    explicit Deeper(Runtime& r) : runtime(r) {
      if (++runtime.depth_ > runtime.limits_.depth) runtime.fail("nested or recursive beyond the limit");
    }
    ~Deeper() { runtime.depth_--; }
    Deeper(const Deeper&) = delete;
    Runtime& runtime;
  };

  int line_ = 1;  // for messages

 private:
  Limits limits_;
  std::time_t now_;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
  int depth_ = 0;
};

// The rows of the tables.
using FilterFunction = Value (*)(Runtime&, const Value& object, const Arguments&);
using TestFunction = bool (*)(Runtime&, const Value& object, const Arguments&);

// Null when there is none.
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);
FilterFunction find_method(const Value& object, std::string_view name);
FilterFunction find_global(std::string_view name);  // called with an undefined object

std::string to_json(Runtime& runtime, const Value& value, const Arguments& options);

}  // namespace codecllm::jinja
