// SPDX-License-Identifier: Apache-2.0
// The tree of a template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/jinja/value.h"

namespace codecllm::jinja {

struct Node;
using NodePtr = std::unique_ptr<const Node>;

// What `text`, `kids` and `names` hold; a kid in [] may be null.
enum class NodeKind {
  // expressions
  literal,      // value
  name,         // text
  list,         // kids
  tuple,        // kids
  dict,         // kids: key, value, key, value ...
  attribute,    // text; kids: object
  subscript,    // kids: object, index
  slice,        // kids: object, [start], [stop], [step]
  call,         // kids: function, arguments; names: of the arguments, "" for positional ones
  filter,       // text; kids: [object], arguments; names as in call
  test,         // text; kids: object, arguments; names as in call
  unary,        // text: not - +; kids: operand
  binary,       // text: + - * / // % ** ~; kids: left, right
  logic,        // text: and, or; kids: left, right
  compare,      // kids: operands; names: the operators between them
  conditional,  // kids: condition, then, [else]
  // statements
  output,        // text
  print,         // kids: expression
  block,         // kids: statements
  if_chain,      // kids: condition, block, condition, block ... [else block]
  for_loop,      // names: targets; kids: iterable, [filter], body, [else]
  set,           // names: targets; kids: value
  set_member,    // names: namespace, attribute; kids: value
  set_block,     // names: target; kids: body, [filters]
  macro,         // text; names: parameters; kids: body, then [default] of each parameter
  call_block,    // names: parameters; kids: call, body
  filter_block,  // kids: body, filters (whose innermost object is null)
  with,          // names: targets; kids: body, values
  break_loop,
  continue_loop,
};

struct Node {
  NodeKind kind;
  int line;
  std::string text = {};
  Value value = {};
  std::vector<NodePtr> kids = {};
  std::vector<std::string> names = {};
  int height = 1;  // of the tree below; the parser bounds it, for whoever walks it recursively
};

}  // namespace codecllm::jinja
