// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "text/jinja/token_stream.h"

namespace codecllm::jinja {

namespace {

NodePtr parse_unary(TokenStream& s, bool with_filters = true);

template <class... Kids>
NodePtr node_of(NodeKind kind, int line, std::string text, Kids... kids) {
  auto node = make_node(kind, line, std::move(text));
  (add_kid(*node, std::move(kids)), ...);
  return node;
}

NodePtr literal(int line, Value value) {
  auto node = make_node(NodeKind::literal, line);
  node->value = std::move(value);
  return node;
}

NodePtr parse_number(TokenStream& s) {
  const Token token = s.next();
  const char *begin = token.text.data(), *end = begin + token.text.size();
  if (token.kind == Kind::number) {
    double value = 0;
    if (std::from_chars(begin, end, value).ec != std::errc()) fail_at(token.line, "number out of range");
    return literal(token.line, value);
  }
  int64_t value = 0;
  if (std::from_chars(begin, end, value).ec != std::errc()) fail_at(token.line, "number out of range");
  return literal(token.line, value);
}

// Items up to `close`, which is taken.
void parse_items(TokenStream& s, Node& node, std::string_view close) {
  while (!s.accept(close)) {
    add_kid(node, parse_expression(s));
    if (!s.next_is(close)) s.expect(",");
  }
}

NodePtr parse_bracketed(TokenStream& s) {
  const int line = s.peek().line;
  if (s.accept("[")) {
    auto node = make_node(NodeKind::list, line);
    parse_items(s, *node, "]");
    return node;
  }
  if (s.accept("{")) {
    auto node = make_node(NodeKind::dict, line);
    while (!s.accept("}")) {
      add_kid(*node, parse_expression(s));
      s.expect(":");
      add_kid(*node, parse_expression(s));
      if (!s.next_is("}")) s.expect(",");
    }
    return node;
  }
  s.expect("(");
  if (s.accept(")")) return make_node(NodeKind::tuple, line);
  NodePtr inner = parse_tuple(s);
  s.expect(")");
  return inner;
}

NodePtr parse_name(TokenStream& s) {
  const Token token = s.next();
  const std::string& name = token.text;
  if (name == "true" || name == "True") return literal(token.line, true);
  if (name == "false" || name == "False") return literal(token.line, false);
  if (name == "none" || name == "None") return literal(token.line, nullptr);
  return make_node(NodeKind::name, token.line, name);
}

NodePtr parse_primary(TokenStream& s) {
  const Token& token = s.peek();
  if (token.kind == Kind::name) return parse_name(s);
  if (token.kind == Kind::integer || token.kind == Kind::number) return parse_number(s);
  if (token.kind == Kind::string) {
    std::string text = s.next().text;  // neighbours join
    const int line = token.line;
    while (s.peek().kind == Kind::string) text += s.next().text;
    return literal(line, std::move(text));
  }
  if (s.next_is("(") || s.next_is("[") || s.next_is("{")) return parse_bracketed(s);
  s.unexpected("an expression");
}

// After "(": arguments and ")".
void parse_arguments(TokenStream& s, Node& node) {
  while (!s.accept(")")) {
    if (s.next_is("*") || s.next_is("**"))
      fail_at(s.peek().line, "argument lists with * are not in this version");
    const bool named = s.peek().kind == Kind::name && s.peek(1).is(Kind::sign, "=");
    node.names.push_back(named ? s.next().text : "");
    if (named) s.next();
    add_kid(node, parse_expression(s));
    if (!s.next_is(")")) s.expect(",");
  }
}

NodePtr parse_subscript(TokenStream& s, NodePtr object, int line) {
  NodePtr parts[3];
  bool is_slice = false;
  size_t part = 0;
  while (!s.next_is("]")) {
    if (s.accept(":")) {
      is_slice = true;
      if (++part > 2) s.unexpected("]");
    } else {
      if (parts[part]) s.unexpected("]");
      parts[part] = parse_expression(s);
    }
  }
  s.expect("]");
  if (is_slice) {
    return node_of(NodeKind::slice, line, "", std::move(object), std::move(parts[0]), std::move(parts[1]),
                   std::move(parts[2]));
  }
  if (!parts[0]) s.unexpected("an index");
  return node_of(NodeKind::subscript, line, "", std::move(object), std::move(parts[0]));
}

NodePtr parse_call(TokenStream& s, NodePtr function, int line) {
  auto node = make_node(NodeKind::call, line);
  add_kid(*node, std::move(function));
  parse_arguments(s, *node);
  return node;
}

NodePtr parse_postfix(TokenStream& s, NodePtr object) {
  for (;;) {
    const int line = s.peek().line;
    if (s.accept("(")) {
      object = parse_call(s, std::move(object), line);
    } else if (s.accept("[")) {
      object = parse_subscript(s, std::move(object), line);
    } else if (s.accept(".")) {
      if (s.peek().kind == Kind::integer) {
        object = node_of(NodeKind::subscript, line, "", std::move(object), parse_number(s));
      } else {
        object = node_of(NodeKind::attribute, line, s.expect_name(), std::move(object));
      }
    } else {
      return object;
    }
  }
}

// After "is": a test, with an argument in brackets or bare.
NodePtr parse_test(TokenStream& s, NodePtr object) {
  const int line = s.peek().line;
  const bool negated = s.accept("not");
  auto node = make_node(NodeKind::test, line, s.expect_name());
  add_kid(*node, std::move(object));
  const Token& token = s.peek();
  const bool bare =
      token.kind == Kind::string || token.kind == Kind::integer || token.kind == Kind::number ||
      s.next_is("[") || s.next_is("{") ||
      (token.kind == Kind::name && token.text != "else" && token.text != "or" && token.text != "and" &&
       token.text != "is" && token.text != "if" && token.text != "not" && token.text != "in");
  if (s.accept("(")) {
    parse_arguments(s, *node);
  } else if (bare) {
    node->names.push_back("");
    add_kid(*node, parse_postfix(s, parse_primary(s)));
  }
  if (!negated) return node;
  return node_of(NodeKind::unary, line, "not", NodePtr(std::move(node)));
}

NodePtr parse_filters_and_tests(TokenStream& s, NodePtr object) {
  for (;;) {
    if (s.next_is("|")) {
      object = parse_filters(s, std::move(object));
    } else if (s.accept("is")) {
      object = parse_test(s, std::move(object));
    } else if (s.next_is("(")) {
      object = parse_postfix(s, std::move(object));
    } else {
      return object;
    }
  }
}

NodePtr parse_unary(TokenStream& s, bool with_filters) {
  const TokenStream::Nested nested(s);
  const Token token = s.peek();
  NodePtr node;
  if (s.accept("-") || s.accept("+")) {
    node = node_of(NodeKind::unary, token.line, token.text, parse_unary(s, false));
  } else {
    node = parse_postfix(s, parse_primary(s));
  }
  return with_filters ? parse_filters_and_tests(s, std::move(node)) : std::move(node);
}

// The levels of binary operators, from the loosest to the tightest.
NodePtr parse_binary(TokenStream& s, size_t level) {
  static const std::vector<std::vector<std::string_view>> levels = {
      {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
  if (level == levels.size()) return parse_unary(s);
  NodePtr left = parse_binary(s, level + 1);
  for (;;) {
    const Token token = s.peek();
    const auto& signs = levels[level];
    if (token.kind != Kind::sign || std::find(signs.begin(), signs.end(), token.text) == signs.end())
      return left;
    s.next();
    left = node_of(NodeKind::binary, token.line, token.text, std::move(left), parse_binary(s, level + 1));
  }
}

NodePtr parse_compare(TokenStream& s) {
  static constexpr std::string_view signs[] = {"==", "!=", "<", "<=", ">", ">=", "in"};
  auto node = make_node(NodeKind::compare, s.peek().line);
  NodePtr first = parse_binary(s, 0);
  for (;;) {
    std::string sign = s.peek().text;
    const bool is_sign =
        std::any_of(std::begin(signs), std::end(signs), [&](auto text) { return s.next_is(text); });
    if (s.next_is("not") && s.peek(1).is(Kind::name, "in")) {
      s.next();
      sign = "not in";
    } else if (!is_sign) {
      break;
    }
    s.next();
    if (node->kids.empty()) add_kid(*node, std::move(first));
    node->names.push_back(sign);
    add_kid(*node, parse_binary(s, 0));
  }
  return node->kids.empty() ? std::move(first) : NodePtr(std::move(node));
}

NodePtr parse_not(TokenStream& s) {
  const TokenStream::Nested nested(s);
  const int line = s.peek().line;
  if (s.accept("not")) return node_of(NodeKind::unary, line, "not", parse_not(s));
  return parse_compare(s);
}

NodePtr parse_logic(TokenStream& s, bool is_or) {
  const char* word = is_or ? "or" : "and";
  NodePtr left = is_or ? parse_logic(s, false) : parse_not(s);
  while (s.next_is(word)) {
    const int line = s.next().line;
    left =
        node_of(NodeKind::logic, line, word, std::move(left), is_or ? parse_logic(s, false) : parse_not(s));
  }
  return left;
}

}  // namespace

NodePtr parse_filters(TokenStream& s, NodePtr object, bool first_without_bar) {
  while (first_without_bar || s.accept("|")) {
    first_without_bar = false;
    auto node = make_node(NodeKind::filter, s.peek().line, s.expect_name());
    add_kid(*node, std::move(object));
    if (s.accept("(")) parse_arguments(s, *node);
    object = std::move(node);
  }
  return object;
}

NodePtr parse_without_condition(TokenStream& s) { return parse_logic(s, true); }

NodePtr parse_expression(TokenStream& s) {
  const TokenStream::Nested nested(s);
  NodePtr node = parse_logic(s, true);
  while (s.next_is("if")) {
    const int line = s.next().line;
    NodePtr condition = parse_logic(s, true);
    NodePtr otherwise = s.accept("else") ? parse_expression(s) : nullptr;
    node =
        node_of(NodeKind::conditional, line, "", std::move(condition), std::move(node), std::move(otherwise));
  }
  return node;
}

NodePtr parse_tuple(TokenStream& s) {
  const int line = s.peek().line;
  NodePtr first = parse_expression(s);
  if (!s.next_is(",")) return first;
  auto node = make_node(NodeKind::tuple, line);
  add_kid(*node, std::move(first));
  while (s.accept(",")) {
    const Kind kind = s.peek().kind;
    if (s.next_is(")") || kind == Kind::block_end || kind == Kind::print_end) break;
    add_kid(*node, parse_expression(s));
  }
  return node;
}

}  // namespace codecllm::jinja
