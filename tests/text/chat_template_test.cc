// SPDX-License-Identifier: Apache-2.0
// Chat templates against jinja2 with transformers' settings (tools/dump_tokens.py), and templates that mean
// harm.
#include "text/chat_template.h"

#include "text/support.h"

namespace codecllm {

TEST(ChatTemplate, matches_the_reference) {
  // Ordered: tojson shows the order of keys.
  for (const OrderedJson& entry : read_ordered_json_file(data_path("chat_templates.json"))) {
    const bool named = entry.contains("name");
    const std::string source = named ? read_file(data_path("templates/" + entry["name"].get<std::string>()))
                                     : entry["source"].get<std::string>();
    SCOPED_TRACE(named ? dump_json(entry["name"]) + dump_json(entry["variables"]) : source);
    if (entry["output"].is_null()) {
      EXPECT_THROW(apply_chat_template(source, entry["variables"]), Error);
      continue;
    }
    try {
      EXPECT_EQ(apply_chat_template(source, entry["variables"]), entry["output"].get<std::string>());
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(ChatTemplate, messages_with_the_tokenizers_own_template) {
  const Json data = read_json_file(data_path("tokenizer_llama2.json"));
  const auto tokenizer = Tokenizer::from_json(dump_json(data["tokenizer"]), "t.json", R"({"bos_token": "<s>",
      "eos_token": {"content": "</s>"}, "chat_template": "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}A:{% endif %}"})");
  EXPECT_EQ(apply_chat_template(tokenizer, {{"user", "hi"}}), "<s>user:hi</s>A:");
  EXPECT_EQ(apply_chat_template(tokenizer, {{"user", "hi"}}, false), "<s>user:hi</s>");
  const auto without = Tokenizer::from_json(dump_json(data["tokenizer"]));
  expect_error(ErrorCode::bad_call, "no chat template", [&] {
    apply_chat_template(without, {{"user", "hi"}});
  });
}

TEST(ChatTemplate, strftime_now_shows_the_given_time) {
  ChatTemplateLimits limits;
  limits.now = 86400 * 365;
  EXPECT_THAT(apply_chat_template("{{ strftime_now('%Y') }}", Json::object(), limits),
              testing::StartsWith("197"));
}

TEST(ChatTemplate, errors_name_the_line) {
  expect_error(ErrorCode::bad_input, "line 3",
               [] { apply_chat_template("a\nb\n{{ 1 / 0 }}", Json::object()); });
  expect_error(ErrorCode::bad_input, "the template says: alternate",
               [] { apply_chat_template("{{ raise_exception('alternate') }}", Json::object()); });
  expect_error(ErrorCode::unsupported, "include",
               [] { apply_chat_template("{% include 'x' %}", Json::object()); });
}

class Hostile : public testing::TestWithParam<std::string> {};

TEST_P(Hostile, ends_with_an_error) {
  ChatTemplateLimits limits;
  limits.steps = 300'000;
  limits.bytes = 16 << 20;
  EXPECT_THROW(apply_chat_template(GetParam(), Json::object(), limits), Error);
}

static std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; i++) out += text;
  return out;
}

static const std::string loop1 = "{% for a in range(99999) %}", loop2 = "{% for b in range(99999) %}";

INSTANTIATE_TEST_SUITE_P(
    All, Hostile,
    testing::Values(loop1 + loop2 + "{% endfor %}{% endfor %}",
                    loop1 + loop2 + "xxxxxxxx{% endfor %}{% endfor %}",
                    "{% set n = namespace(x='a') %}" + loop1 + "{% set n.x = n.x ~ n.x %}{% endfor %}",
                    "{% set n = namespace(x=[1]) %}" + loop1 + "{% set n.x = n.x + n.x %}{% endfor %}",
                    "{% set n = namespace(x=[1]) %}" + loop1 + "{% set n.x = [n.x] %}{% endfor %}",
                    "{% set n = namespace(x=[1]) %}{% for a in range(90) %}{% set n.x = [n.x, n.x] %}{% "
                    "endfor %}{{ n.x }}",
                    "{% set n = namespace(x=[1]) %}{% for a in range(90) %}{% set n.x = [n.x, n.x] %}{% "
                    "endfor %}{{ n.x | tojson }}",
                    "{% set n = namespace(x=[1]) %}{% for a in range(90) %}{% set n.x = [n.x, n.x] %}{% "
                    "endfor %}{{ n.x == [n.x[0], n.x[1]] and 1/0 }}",
                    "{{ 'x' * 9999999999 }}", "{{ [1] * 9999999999 }}", "{{ 'a\nb' | indent(9999999999) }}",
                    "{{ [1] | tojson(indent=9999999999) }}",
                    "{{ ('x' * 999999) | replace('x', 'y' * 999999) }}",
                    "{{ (range(9999) | join('z' * 99999)) }}", "{{ 9223372036854775807 + 1 }}",
                    "{{ 2 ** 64 }}", "{{ -9223372036854775807 * 2 }}", "{{ 99999999999999999999 }}",
                    "{{ 1 % 0 }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
                    "{% macro f(x) %}{{ f(x) ~ f(x) }}{% endmacro %}{{ f(1) }}",
                    repeated("{{ ", 1) + repeated("(", 5000), "{{ " + repeated("-", 5000) + "1 }}",
                    "{{ " + repeated("not ", 5000) + "1 }}", "{{ " + repeated("[", 5000),
                    "{{ 1" + repeated(" + 1", 5000) + " }}", "{{ x" + repeated(".a", 5000) + " }}",
                    "{{ x" + repeated("|upper", 5000) + " }}", repeated("{% if 1 %}", 5000),
                    repeated("{% for x in y %}", 5000), "{{ 1" + repeated(" if 1 else 1", 5000) + " }}",
                    "{{ a" + repeated("[0]", 5000) + " }}", "{{ range(0, 1, 0) }}",
                    "{% set n = namespace(x=[1]) %}" + loop1 + "{% set n.x = [n.x].count %}{% endfor %}",
                    "{% set n = namespace(x=1) %}" + loop1 +
                        "{% for i in [n.x, 1] %}{% set n.x = loop %}{% endfor %}{% endfor %}",
                    "{% for i in [1] %}{% set loop.x = loop %}{% endfor %}"));

TEST(ChatTemplate, long_chains_of_scopes_are_freed) {
  const std::string define =
      "{% macro g() %}{% macro f() %}{{ n.make() }}{% endmacro %}{% set n.f = f %}{% endmacro %}";
  EXPECT_EQ(
      apply_chat_template("{% set n = namespace() %}" + define +
                              "{% set n.make = g %}{% for i in range(20000) %}{{ n.make() }}{% endfor %}ok",
                          Json::object()),
      "ok");
}

TEST(ChatTemplate, cycles_through_namespaces_are_freed) {
  // The leak checker of the sanitizer build looks at these.
  EXPECT_EQ(apply_chat_template("{% set n = namespace() %}{% set n.n = n %}{% set n.l = [n] %}{{ n }}",
                                Json::object()),
            "<Namespace>");
  apply_chat_template(
      "{% macro f() %}{% endmacro %}{% set n = namespace(f=f) %}{% set n.n = n %}{% for i in [1, 2] %}"
      "{% macro g() %}{{ i }}{% endmacro %}{% set n.g = g %}{{ loop.changed(loop, n) }}{% set n.loop = loop "
      "%}{% endfor %}{{ n.g() }}",
      Json::object());
}

}  // namespace codecllm
