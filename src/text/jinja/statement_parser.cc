// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/parser.h"
#include "text/jinja/token_stream.h"

namespace codecllm::jinja {

namespace {

class StatementParser {
 public:
  explicit StatementParser(TokenStream stream) : s_(std::move(stream)) {}

  NodePtr run() {
    NodePtr block = parse_block({});
    if (s_.peek().kind != Kind::end) s_.unexpected("the end of the template");
    return block;
  }

 private:
  using Words = std::vector<std::string_view>;

  // Statements up to a tag of one of these names, whose "{%" is taken and whose name is not.
  NodePtr parse_block(const Words& until) {
    const TokenStream::Nested nested(s_);
    auto block = make_node(NodeKind::block, s_.peek().line);
    for (;;) {
      const Token token = s_.peek();
      if (token.kind == Kind::end) {
        if (!until.empty()) s_.unexpected("{% " + std::string(until.back()) + " %}");
        return block;
      }
      s_.next();
      if (token.kind == Kind::text) {
        add_kid(*block, make_node(NodeKind::output, token.line, token.text));
      } else if (token.kind == Kind::print_begin) {
        auto node = make_node(NodeKind::print, token.line);
        add_kid(*node, parse_tuple(s_));
        s_.expect_kind(Kind::print_end, "}}");
        add_kid(*block, std::move(node));
      } else {
        if (std::find(until.begin(), until.end(), s_.peek().text) != until.end()) return block;
        if (NodePtr node = parse_statement()) add_kid(*block, std::move(node));
      }
    }
  }

  void end_tag() { s_.expect_kind(Kind::block_end, "%}"); }

  // A block, and the tag that ends it.
  NodePtr parse_body(std::string_view end) {
    end_tag();
    NodePtr body = parse_block({end});
    s_.expect(end);
    end_tag();
    return body;
  }

  NodePtr parse_statement() {
    const int line = s_.peek().line;
    const std::string word = s_.expect_name();
    if (word == "if") return parse_if(line);
    if (word == "for") return parse_for(line);
    if (word == "set") return parse_set(line);
    if (word == "macro") return parse_macro(line);
    if (word == "call") return parse_call_block(line);
    if (word == "filter") return parse_filter_block(line);
    if (word == "with") return parse_with(line);
    if (word == "generation") return parse_body("endgeneration");  // marks what the model said
    if (word == "break" || word == "continue") {
      end_tag();
      return make_node(word == "break" ? NodeKind::break_loop : NodeKind::continue_loop, line);
    }
    throw Error(ErrorCode::unsupported, "chat_template",
                "line " + std::to_string(line) + ": tag '" + word.substr(0, 40) + "' is not in this version");
  }

  NodePtr parse_if(int line) {
    auto node = make_node(NodeKind::if_chain, line);
    for (;;) {
      add_kid(*node, parse_expression(s_));
      end_tag();
      add_kid(*node, parse_block({"elif", "else", "endif"}));
      if (s_.accept("elif")) continue;
      if (s_.accept("else")) {
        end_tag();
        add_kid(*node, parse_block({"endif"}));
      }
      s_.expect("endif");
      end_tag();
      return node;
    }
  }

  // Names with commas between them, with brackets around them or without.
  void parse_targets(Node& node) {
    const bool bracket = s_.accept("(");
    do node.names.push_back(s_.expect_name());
    while (s_.accept(",") && s_.peek().kind == Kind::name);
    if (bracket) s_.expect(")");
  }

  NodePtr parse_for(int line) {
    auto node = make_node(NodeKind::for_loop, line);
    parse_targets(*node);
    s_.expect("in");
    add_kid(*node, parse_without_condition(s_));
    add_kid(*node, s_.accept("if") ? parse_expression(s_) : nullptr);
    if (s_.next_is("recursive")) fail_at(line, "recursive loops are not in this version");
    end_tag();
    add_kid(*node, parse_block({"else", "endfor"}));
    if (s_.accept("else")) {
      end_tag();
      add_kid(*node, parse_block({"endfor"}));
    } else {
      add_kid(*node, nullptr);
    }
    s_.expect("endfor");
    end_tag();
    return node;
  }

  NodePtr parse_set(int line) {
    if (s_.peek(1).is(Kind::sign, ".")) {
      auto node = make_node(NodeKind::set_member, line);
      node->names.push_back(s_.expect_name());
      s_.next();
      node->names.push_back(s_.expect_name());
      s_.expect("=");
      add_kid(*node, parse_tuple(s_));
      end_tag();
      return node;
    }
    auto node = make_node(NodeKind::set, line);
    parse_targets(*node);
    if (s_.accept("=")) {
      add_kid(*node, parse_tuple(s_));
      end_tag();
      return node;
    }
    if (node->names.size() != 1) s_.unexpected("=");
    node->kind = NodeKind::set_block;
    NodePtr filters = s_.next_is("|") ? parse_filters(s_, nullptr) : nullptr;
    add_kid(*node, parse_body("endset"));
    add_kid(*node, std::move(filters));
    return node;
  }

  // "(a, b=1)": names, and their defaults or null.
  std::vector<NodePtr> parse_parameters(Node& node) {
    std::vector<NodePtr> defaults;
    s_.expect("(");
    while (!s_.accept(")")) {
      node.names.push_back(s_.expect_name());
      defaults.push_back(s_.accept("=") ? parse_expression(s_) : nullptr);
      if (!s_.next_is(")")) s_.expect(",");
    }
    return defaults;
  }

  NodePtr parse_macro(int line) {
    auto node = make_node(NodeKind::macro, line, s_.expect_name());
    auto defaults = parse_parameters(*node);
    add_kid(*node, parse_body("endmacro"));
    for (auto& value : defaults) add_kid(*node, std::move(value));
    return node;
  }

  // The body becomes a macro that the called one knows as `caller`.
  NodePtr parse_call_block(int line) {
    auto node = make_node(NodeKind::call_block, line);
    auto caller = make_node(NodeKind::macro, line, "caller");
    std::vector<NodePtr> defaults;
    if (s_.next_is("(")) defaults = parse_parameters(*caller);
    NodePtr call = parse_expression(s_);
    if (call->kind != NodeKind::call) fail_at(line, "call wants a call");
    add_kid(*caller, parse_body("endcall"));
    for (auto& value : defaults) add_kid(*caller, std::move(value));
    add_kid(*node, std::move(call));
    add_kid(*node, std::move(caller));
    return node;
  }

  NodePtr parse_filter_block(int line) {
    auto node = make_node(NodeKind::filter_block, line);
    NodePtr filters = parse_filters(s_, nullptr, true);
    add_kid(*node, parse_body("endfilter"));
    add_kid(*node, std::move(filters));
    return node;
  }

  NodePtr parse_with(int line) {
    auto node = make_node(NodeKind::with, line);
    std::vector<NodePtr> values;
    while (s_.peek().kind != Kind::block_end) {
      node->names.push_back(s_.expect_name());
      s_.expect("=");
      values.push_back(parse_expression(s_));
      if (s_.peek().kind != Kind::block_end) s_.expect(",");
    }
    add_kid(*node, parse_body("endwith"));
    for (auto& value : values) add_kid(*node, std::move(value));
    return node;
  }

  TokenStream s_;
};

}  // namespace

NodePtr parse(std::string_view source) { return StatementParser(TokenStream(lex(source))).run(); }

}  // namespace codecllm::jinja
