// SPDX-License-Identifier: Apache-2.0
// What the two halves of the parser share: the place in the tokens, and the making of nodes of bounded
// height.
#pragma once

#include <algorithm>
#include <utility>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace codecllm::jinja {

using Kind = Token::Kind;

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token next() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) at_++;
    return token;
  }
  bool next_is(std::string_view text) const {
    return peek().is(Kind::sign, text) || peek().is(Kind::name, text);
  }
  bool accept(std::string_view text) {
    if (!next_is(text)) return false;
    next();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) unexpected(std::string(text));
  }
  std::string expect_name() {
    if (peek().kind != Kind::name) unexpected("a name");
    return next().text;
  }
  void expect_kind(Kind kind, const char* what) {
    if (peek().kind != kind) unexpected(what);
    next();
  }
  [[noreturn]] void unexpected(const std::string& wanted) const {
    const Token& token = peek();
    fail_at(token.line,
            "expected " + wanted + ", got " + (token.kind == Kind::end ? "the end" : "'" + token.text + "'"));
  }

  // Counts how deep the parser is inside itself.
  struct Nested {
    explicit Nested(TokenStream& s) : stream(s) {
      if (++stream.depth_ > max_height) fail_at(stream.peek().line, "nested too deeply");
    }
    ~Nested() { stream.depth_--; }
    Nested(const Nested&) = delete;
    TokenStream& stream;
  };

  static constexpr int max_height = 200;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

inline std::unique_ptr<Node> make_node(NodeKind kind, int line, std::string text = {}) {
  return std::make_unique<Node>(Node{kind, line, std::move(text)});
}

inline void add_kid(Node& node, NodePtr kid) {
  if (kid) node.height = std::max(node.height, kid->height + 1);
  if (node.height > TokenStream::max_height) fail_at(node.line, "nested too deeply");
  node.kids.push_back(std::move(kid));
}

NodePtr parse_expression(TokenStream& stream);
NodePtr parse_without_condition(TokenStream& stream);  // an expression that leaves a following "if" alone
NodePtr parse_tuple(TokenStream& stream);              // an expression, or several with commas between them
// The filters that follow an object (null: one that comes later).
NodePtr parse_filters(TokenStream& stream, NodePtr object, bool first_without_bar = false);

}  // namespace codecllm::jinja
