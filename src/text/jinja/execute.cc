// SPDX-License-Identifier: Apache-2.0
// The statements.
#include "text/jinja/evaluator.h"

namespace codecllm::jinja {

Evaluator::Flow Evaluator::execute(const Node& node) {
  const Deeper deeper(*this);
  step();
  line_ = node.line;
  switch (node.kind) {
    case NodeKind::output:
      write(node.text);
      break;
    case NodeKind::print:
      write(text(evaluate(*node.kids[0])));
      break;
    case NodeKind::block:
      return execute_block(node);
    case NodeKind::if_chain:
      return execute_if(node);
    case NodeKind::for_loop:
      return execute_for(node);
    case NodeKind::set:
      assign(node.names, evaluate(*node.kids[0]));
      break;
    case NodeKind::set_member:
      execute_set_member(node);
      break;
    case NodeKind::set_block: {
      std::string text = capture(*node.kids[0]);
      assign(node.names, apply_filters(node.kids[1].get(), std::move(text)));
      break;
    }
    case NodeKind::macro:
      scope_->names.set(node.text, make_macro(node));
      break;
    case NodeKind::call_block:
      execute_call_block(node);
      break;
    case NodeKind::filter_block: {
      std::string text = capture(*node.kids[0]);
      write(this->text(apply_filters(node.kids[1].get(), std::move(text))));
      break;
    }
    case NodeKind::with:
      return execute_with(node);
    case NodeKind::break_loop:
      return Flow::break_loop;
    case NodeKind::continue_loop:
      return Flow::continue_loop;
    default:
      fail("a value stands where a statement should");
  }
  return Flow::normal;
}

Evaluator::Flow Evaluator::execute_block(const Node& node) {
  for (const NodePtr& kid : node.kids) {
    const Flow flow = execute(*kid);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Evaluator::Flow Evaluator::execute_if(const Node& node) {
  size_t i = 0;
  for (; i + 1 < node.kids.size(); i += 2) {
    if (evaluate(*node.kids[i]).truthy()) return execute(*node.kids[i + 1]);
  }
  return i < node.kids.size() ? execute(*node.kids[i]) : Flow::normal;
}

Evaluator::Flow Evaluator::execute_for(const Node& node) {
  std::vector<Value> items = iterate(evaluate(*node.kids[0]));
  const ScopePtr outer = scope_;
  if (const Node* filter = node.kids[1].get()) {
    std::vector<Value> kept;
    for (Value& item : items) {
      scope_ = std::make_shared<Scope>(Scope{{}, outer});
      assign(node.names, item);
      if (evaluate(*filter).truthy()) kept.push_back(std::move(item));
    }
    items = std::move(kept);
    scope_ = outer;
  }
  Flow flow = Flow::normal;
  if (!items.empty()) {
    execute_loop_body(node, items);
  } else if (node.kids[3]) {
    scope_ = std::make_shared<Scope>(Scope{{}, outer});
    flow = execute(*node.kids[3]);
  }
  scope_ = outer;
  return flow;
}

namespace {

Function cycle_function(size_t index) {
  return {[index](Runtime& runtime, const Arguments& arguments) {
    if (arguments.positional.empty()) runtime.fail("loop.cycle wants arguments");
    return arguments.positional[index % arguments.positional.size()];
  }};
}

// True when the arguments differ from those of the call before.
// (They are remembered as text: as values they could come to hold this function.)
Function changed_function(std::shared_ptr<std::optional<std::string>> last) {
  return {[last](Runtime& runtime, const Arguments& arguments) {
    std::string now = runtime.text(Value(List{arguments.positional, true}));
    const bool changed = *last != now;
    *last = std::move(now);
    return Value(changed);
  }};
}

Value loop_value(const std::vector<Value>& items, size_t index,
                 std::shared_ptr<std::optional<std::string>> last) {
  const auto i = static_cast<int64_t>(index), size = static_cast<int64_t>(items.size());
  Dict loop;
  loop.is_namespace = loop.is_loop = true;
  loop.items = {{"index", i + 1},
                {"index0", i},
                {"revindex", size - i},
                {"revindex0", size - i - 1},
                {"first", i == 0},
                {"last", i + 1 == size},
                {"length", size},
                {"cycle", cycle_function(index)},
                {"changed", changed_function(std::move(last))}};
  loop.items.emplace_back("previtem",
                          index > 0 ? items[index - 1] : Value(Undefined{"there is no previous item"}));
  loop.items.emplace_back(
      "nextitem", index + 1 < items.size() ? items[index + 1] : Value(Undefined{"there is no next item"}));
  return loop;
}

}  // namespace

Evaluator::Flow Evaluator::execute_loop_body(const Node& node, const std::vector<Value>& items) {
  const ScopePtr outer = scope_;
  const auto last = std::make_shared<std::optional<std::string>>();
  for (size_t i = 0; i < items.size(); i++) {
    step(4);
    scope_ = std::make_shared<Scope>(Scope{{}, outer});
    scope_->names.set("loop", loop_value(items, i, last));
    assign(node.names, items[i]);
    if (execute(*node.kids[2]) == Flow::break_loop) break;
  }
  return Flow::normal;
}

void Evaluator::execute_set_member(const Node& node) {
  const Value space = evaluate_name(node.names[0]);
  if (!space.is_dict() || !space.dict().is_namespace || space.dict().is_loop) {
    fail("'" + node.names[0] + "' is not a namespace");
  }
  Value value = evaluate(*node.kids[0]);
  step(1 + space.dict().items.size() / 8);
  space.dict_pointer()->set(node.names[1], std::move(value));
}

void Evaluator::execute_call_block(const Node& node) {
  const Node& called = *node.kids[0];
  const Value function = evaluate(*called.kids[0]);
  Arguments arguments = evaluate_arguments(called);
  arguments.named.emplace_back("caller", make_macro(*node.kids[1]));
  write(text(call(function, arguments)));
}

Evaluator::Flow Evaluator::execute_with(const Node& node) {
  const ScopePtr outer = scope_;
  const auto inner = std::make_shared<Scope>(Scope{{}, outer});
  for (size_t i = 0; i < node.names.size(); i++) inner->names.set(node.names[i], evaluate(*node.kids[i + 1]));
  scope_ = inner;
  const Flow flow = execute(*node.kids[0]);
  scope_ = outer;
  return flow;
}

void Evaluator::assign(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() == 1) {
    scope_->names.set(targets[0], value);
    return;
  }
  const std::vector<Value> parts = iterate(value);
  if (parts.size() != targets.size()) {
    fail("cannot unpack " + std::to_string(parts.size()) + " values into " + std::to_string(targets.size()) +
         " names");
  }
  for (size_t i = 0; i < parts.size(); i++) scope_->names.set(targets[i], parts[i]);
}

void Evaluator::write(std::string_view text) {
  charge(text.size());
  out_->append(text);
}

std::string Evaluator::capture(const Node& body) {
  std::string text;
  std::string* const before = std::exchange(out_, &text);
  execute(body);
  out_ = before;
  return text;
}

}  // namespace codecllm::jinja
