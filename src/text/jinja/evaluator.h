// SPDX-License-Identifier: Apache-2.0
// Walks the tree of a template and writes its output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/runtime.h"

namespace codecllm::jinja {

class Evaluator : public Runtime {
 public:
  Evaluator(const Limits& limits, std::time_t now) : Runtime(limits, now) {}
  ~Evaluator();

  std::string run(const Node& root, Dict variables);

 private:
  enum class Flow { normal, break_loop, continue_loop };

  // The names of a block; a loop body or macro call has its own.
  struct Scope {
    Dict names;
    std::shared_ptr<Scope> parent;
  };
  using ScopePtr = std::shared_ptr<Scope>;

  Value evaluate(const Node& node);
  Value evaluate_optional(const Node* node) { return node == nullptr ? Value() : evaluate(*node); }
  Value evaluate_name(const std::string& name);
  Value evaluate_call(const Node& node);
  Value evaluate_compare(const Node& node);
  Value evaluate_filter(const Node& node, const Value& object);
  Value evaluate_dict(const Node& node);
  std::vector<Value> evaluate_all(const Node& node);
  Arguments evaluate_arguments(const Node& node);

  Flow execute(const Node& node);
  Flow execute_block(const Node& node);
  Flow execute_if(const Node& node);
  Flow execute_for(const Node& node);
  Flow execute_loop_body(const Node& node, const std::vector<Value>& items);
  void execute_set_member(const Node& node);
  void execute_call_block(const Node& node);
  Flow execute_with(const Node& node);
  void write(std::string_view text);
  std::string capture(const Node& body);
  Value apply_filters(const Node* filters, Value object);

  Value make_macro(const Node& node);
  Value call_macro(const Node& node, const ScopePtr& scope, const Arguments& arguments);
  void assign(const std::vector<std::string>& targets, const Value& value);

  ScopePtr scope_;
  std::string* out_ = nullptr;
  // Kept to the end: scopes of macros, which macros point to, and namespaces, which may come to hold
  // themselves.
  std::vector<ScopePtr> macro_scopes_;
  std::vector<std::shared_ptr<Dict>> namespaces_;
};

}  // namespace codecllm::jinja
