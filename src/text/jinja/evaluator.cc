// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/evaluator.h"

#include <algorithm>

#include "text/jinja/operators.h"

namespace codecllm::jinja {

Evaluator::~Evaluator() {
  for (const auto& space : namespaces_) space->items.clear();
  // One by one, too: a chain of scopes can be longer than the stack is deep.
  for (const auto& scope : macro_scopes_) scope->names.items.clear();
  for (const auto& scope : macro_scopes_) scope->parent.reset();
}

std::string Evaluator::run(const Node& root, Dict variables) {
  std::string out;
  out_ = &out;
  scope_ = std::make_shared<Scope>(Scope{std::move(variables), nullptr});
  // Sets of the template go to a scope of their own.
  scope_ = std::make_shared<Scope>(Scope{{}, scope_});
  execute(root);
  return out;
}

Value Evaluator::evaluate(const Node& node) {
  const Deeper deeper(*this);
  step();
  line_ = node.line;
  const auto kid = [&](size_t i) { return evaluate(*node.kids[i]); };
  const auto optional = [&](size_t i) { return evaluate_optional(node.kids[i].get()); };
  switch (node.kind) {
    case NodeKind::literal:
      return node.value;
    case NodeKind::name:
      return evaluate_name(node.text);
    case NodeKind::list:
      return List{evaluate_all(node), false};
    case NodeKind::tuple:
      return List{evaluate_all(node), true};
    case NodeKind::dict:
      return evaluate_dict(node);
    case NodeKind::attribute:
      return attribute(kid(0), node.text);
    case NodeKind::subscript: {
      const Value object = kid(0);
      return subscript(object, kid(1));
    }
    case NodeKind::slice: {
      const Value object = kid(0), start = optional(1), stop = optional(2);
      return slice(*this, object, start, stop, optional(3));
    }
    case NodeKind::call:
      return evaluate_call(node);
    case NodeKind::filter:
      return evaluate_filter(node, kid(0));
    case NodeKind::test: {
      const Value object = kid(0);
      return test(node.text, object, evaluate_arguments(node));
    }
    case NodeKind::unary: {
      const Value operand = kid(0);
      if (node.text == "not") return !operand.truthy();
      return node.text == "-" ? negate(*this, operand) : operand;
    }
    case NodeKind::binary: {
      const Value left = kid(0);
      return binary_operator(*this, node.text, left, kid(1));
    }
    case NodeKind::logic: {
      Value left = kid(0);
      return left.truthy() == (node.text == "or") ? left : kid(1);
    }
    case NodeKind::compare:
      return evaluate_compare(node);
    case NodeKind::conditional:
      return kid(0).truthy() ? kid(1) : optional(2);
    default:
      fail("a statement stands where a value should");
  }
}

Value Evaluator::evaluate_name(const std::string& name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    if (const Value* found = scope->names.find(name)) return *found;
    step();
  }
  if (name == "namespace") {
    return Function{[this](Runtime&, const Arguments& arguments) {
      Dict space{{}, true};
      for (const Value& from : arguments.positional) {
        if (from.is_dict()) space.items = from.dict().items;
      }
      for (const auto& [key, value] : arguments.named) space.set(key, value);
      Value value(std::move(space));
      charge(256 + value.cost());
      namespaces_.push_back(value.dict_pointer());
      return value;
    }};
  }
  if (const FilterFunction global = find_global(name)) {
    return Function{
        [global](Runtime& runtime, const Arguments& arguments) { return global(runtime, {}, arguments); }};
  }
  return Undefined{"'" + name + "' is undefined"};
}

std::vector<Value> Evaluator::evaluate_all(const Node& node) {
  std::vector<Value> items;
  for (const NodePtr& kid : node.kids) items.push_back(evaluate(*kid));
  charge(items.size() * sizeof(Value));
  return items;
}

Value Evaluator::evaluate_dict(const Node& node) {
  Dict dict;
  for (size_t i = 0; i < node.kids.size(); i += 2) {
    const Value key = evaluate(*node.kids[i]);
    step(1 + dict.items.size() / 8);
    dict.set(need_string(key, "a dict's key"), evaluate(*node.kids[i + 1]));
  }
  Value value(std::move(dict));
  charge(value.cost());
  return value;
}

Arguments Evaluator::evaluate_arguments(const Node& node) {
  Arguments arguments;
  for (size_t i = 0; i < node.names.size(); i++) {
    Value value = evaluate(*node.kids[i + 1]);
    if (node.names[i].empty()) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(node.names[i], std::move(value));
    }
  }
  return arguments;
}

Value Evaluator::evaluate_call(const Node& node) {
  const Value function = evaluate(*node.kids[0]);
  const Arguments arguments = evaluate_arguments(node);
  line_ = node.line;
  return call(function, arguments);
}

Value Evaluator::evaluate_filter(const Node& node, const Value& object) {
  const Arguments arguments = evaluate_arguments(node);
  line_ = node.line;
  return filter(node.text, object, arguments);
}

Value Evaluator::evaluate_compare(const Node& node) {
  Value left = evaluate(*node.kids[0]);
  for (size_t i = 0; i < node.names.size(); i++) {
    const std::string& sign = node.names[i];
    Value right = evaluate(*node.kids[i + 1]);
    bool holds = false;
    if (sign == "==") holds = same(left, right);
    if (sign == "!=") holds = !same(left, right);
    if (sign == "<") holds = less(left, right);
    if (sign == ">") holds = less(right, left);
    if (sign == "<=") holds = same(left, right) || less(left, right);
    if (sign == ">=") holds = same(left, right) || less(right, left);
    if (sign == "in") holds = contains(right, left);
    if (sign == "not in") holds = !contains(right, left);
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

// Filters that stand after a block: their innermost object is not in the tree.
Value Evaluator::apply_filters(const Node* filters, Value object) {
  if (filters == nullptr) return object;
  const Node* inner = filters->kids[0].get();
  return evaluate_filter(*filters, apply_filters(inner, std::move(object)));
}

Value Evaluator::make_macro(const Node& node) {
  charge(2048);  // about what a scope holds
  macro_scopes_.push_back(scope_);
  return Function{[this, &node, scope = std::weak_ptr<Scope>(scope_)](Runtime&, const Arguments& arguments) {
    return call_macro(node, scope.lock(), arguments);
  }};
}

Value Evaluator::call_macro(const Node& node, const ScopePtr& scope, const Arguments& arguments) {
  const size_t count = node.names.size();
  if (arguments.positional.size() > count)
    fail("'" + node.text + "' takes " + std::to_string(count) + " arguments");
  const ScopePtr before = std::exchange(scope_, std::make_shared<Scope>(Scope{{}, scope}));
  // Put back when an Error passes, too: nobody runs the template further then, but the order of destruction
  // matters.
  const auto restore = std::shared_ptr<void>(nullptr, [&](void*) { scope_ = before; });
  for (const auto& [name, value] : arguments.named) {
    if (name != "caller" && std::find(node.names.begin(), node.names.end(), name) == node.names.end()) {
      fail("'" + node.text + "' has no parameter '" + name + "'");
    }
    scope_->names.set(name, value);
  }
  for (size_t i = 0; i < count; i++) {
    if (i < arguments.positional.size()) {
      scope_->names.set(node.names[i], arguments.positional[i]);
    } else if (scope_->names.find(node.names[i]) == nullptr) {
      Value fallback = evaluate_optional(node.kids[i + 1].get());
      scope_->names.set(node.names[i], std::move(fallback));
    }
  }
  return capture(*node.kids[0]);
}

}  // namespace codecllm::jinja
