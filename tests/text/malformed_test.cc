// SPDX-License-Identifier: Apache-2.0
// Damaged and hostile files: each ends with one sentence that names the file and what is wrong in it.
#include "text/support.h"

namespace codecllm {

static Json good() {
  return parse_json(R"({"added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})", "json");
}

struct Damage {
  const char* name;
  const char* pointer;  // where
  const char* value;    // what to put there
  const char* message;
  ErrorCode code = ErrorCode::bad_input;
};

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class Malformed : public testing::TestWithParam<Damage> {};

TEST_P(Malformed, is_refused) {
  Json json = good();
  json[Json::json_pointer(GetParam().pointer)] = parse_json(GetParam().value, "json");
  expect_error(GetParam().code, GetParam().message, [&] { Tokenizer::from_json(json_text(json), "t.json"); });
  expect_error(GetParam().code, "t.json", [&] { Tokenizer::from_json(json_text(json), "t.json"); });
}

INSTANTIATE_TEST_SUITE_P(
    All, Malformed,
    testing::Values(
        Damage{"model_missing", "/model", "null", "'model'"}, Damage{"model_list", "/model", "[]", "'model'"},
        Damage{"model_unigram", "/model/type", "\"Unigram\"", "Unigram", ErrorCode::unsupported},
        Damage{"vocab_list", "/model/vocab", "[]", "'vocab'"},
        Damage{"vocab_null", "/model/vocab", "null", "'vocab'"},
        Damage{"id_string", "/model/vocab/a", "\"0\"", "'a'"},
        Damage{"id_negative", "/model/vocab/a", "-1", "id -1"},
        Damage{"id_fraction", "/model/vocab/a", "0.5", "'a'"},
        Damage{"id_huge", "/model/vocab/a", "2000000000", "2000000000"},
        Damage{"id_beyond_int", "/model/vocab/a", "99999999999", "'a'"},
        Damage{"id_twice", "/model/vocab/a", "1", "given twice"},
        Damage{"merges_object", "/model/merges", "{}", "'merges'"},
        Damage{"merge_one_word", "/model/merges/0", "\"ab\"", "'merges'"},
        Damage{"merge_three_words", "/model/merges/0", "\"a b c\"", "'merges'"},
        Damage{"merge_number", "/model/merges/0", "7", "'merges'"},
        Damage{"merge_pair_of_numbers", "/model/merges/0", "[1, 2]", "'merges'"},
        Damage{"merge_unknown_left", "/model/merges/0", "\"x b\"", "needs 'x'"},
        Damage{"merge_unknown_result", "/model/merges/0", "\"b a\"", "needs 'ba'"},
        Damage{"unk_unknown", "/model/unk_token", "\"<unk>\"", "'unk_token'"},
        Damage{"unk_number", "/model/unk_token", "3", "'unk_token'"},
        Damage{"flag_string", "/model/byte_fallback", "\"yes\"", "'byte_fallback'"},
        Damage{"added_object", "/added_tokens", "{\"a\": 1}", "'added_tokens'"},
        Damage{"added_number", "/added_tokens/0", "5", "'added_tokens'"},
        Damage{"added_without_id", "/added_tokens/0/id", "null", "'id'"},
        Damage{"added_negative", "/added_tokens/0/id", "-5", "id -5"},
        Damage{"added_huge", "/added_tokens/0/id", "2147483647", "2147483647"},
        Damage{"added_takes_an_id", "/added_tokens/0/id", "1", "given twice"},
        Damage{"added_other_id", "/added_tokens/0/content", "\"a\"", "'vocab' gives it 0"},
        Damage{"added_flag", "/added_tokens/0/lstrip", "1", "'lstrip'"},
        Damage{"normalizer_number", "/normalizer", "1", "'normalizer'"},
        Damage{"normalizer_without_type", "/normalizer", "{}", "'type'"},
        Damage{"normalizer_unknown", "/normalizer", R"({"type": "Nmt"})", "Nmt", ErrorCode::unsupported},
        Damage{"normalizer_sequence", "/normalizer", R"({"type": "Sequence"})", "normalizers"},
        Damage{"pre_tokenizer_unknown", "/pre_tokenizer", R"({"type": "UnicodeScripts"})", "UnicodeScripts",
               ErrorCode::unsupported},
        Damage{"regex_broken", "/pre_tokenizer",
               R"({"type": "Split", "pattern": {"Regex": "(["}, "behavior": "Isolated"})", "(["},
        Damage{"split_without_pattern", "/pre_tokenizer", R"({"type": "Split", "behavior": "Isolated"})",
               "pattern"},
        Damage{"split_behavior", "/pre_tokenizer",
               R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"})", "Sideways"},
        Damage{"metaspace_scheme", "/pre_tokenizer", R"({"type": "Metaspace", "prepend_scheme": "often"})",
               "often"},
        Damage{"metaspace_contradiction", "/pre_tokenizer",
               R"({"type": "Metaspace", "prepend_scheme": "first", "add_prefix_space": false})", "first"},
        Damage{"metaspace_empty", "/pre_tokenizer", R"({"type": "Metaspace", "replacement": ""})",
               "one character"},
        Damage{"decoder_unknown", "/decoder", R"({"type": "CTC"})", "CTC", ErrorCode::unsupported},
        Damage{"decoder_strip", "/decoder", R"({"type": "Strip", "content": "", "start": 1, "stop": 0})",
               "one character"},
        Damage{"decoder_strip_negative", "/decoder", R"({"type": "Strip", "content": " ", "start": -1})",
               "'start'"},
        Damage{"post_unknown", "/post_processor", R"({"type": "Other"})", "Other", ErrorCode::unsupported},
        Damage{"post_no_single", "/post_processor", R"({"type": "TemplateProcessing"})", "single"},
        Damage{
            "post_no_table", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}]})",
            "special_tokens"},
        Damage{
            "post_bad_id", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [77]}}})",
            "id 77"},
        Damage{
            "post_negative_id", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [-1]}}})",
            "id -1"},
        Damage{
            "post_twice", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"Sequence": {"id": "B"}}]})",
            "once", ErrorCode::unsupported}),
    [](const auto& damage) { return std::string(damage.param.name); });

TEST(MalformedFile, every_truncation_is_refused) {
  const std::string text = json_text(good());
  for (size_t size = 0; size < text.size(); size++) {
    EXPECT_THROW(Tokenizer::from_json(std::string_view(text).substr(0, size)), Error) << size;
  }
}

TEST(MalformedFile, deep_recursion_is_refused) {
  std::string sequence;
  for (int i = 0; i < 100000; i++) sequence += R"({"type":"Sequence","normalizers":[)";
  expect_error(ErrorCode::bad_input, "nested", [&] { Tokenizer::from_json(R"({"normalizer":)" + sequence); });
}

TEST(MalformedFile, growth_is_bounded) {
  Json json = good();
  Json members = Json::array();
  for (int i = 0; i < 60; i++)
    members.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", members}};
  json["added_tokens"] = Json::array();
  const Tokenizer tokenizer = Tokenizer::from_json(json_text(json));
  expect_error(ErrorCode::bad_input, "grow", [&] { tokenizer.encode("a"); });
}

TEST(MalformedFile, costly_expressions_are_stopped) {
  Json json = good();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a+)+$|(a|aa)+c"}}}, {"behavior", "Isolated"}};
  const Tokenizer tokenizer = Tokenizer::from_json(json_text(json));
  expect_error(ErrorCode::bad_input, "too costly", [&] { tokenizer.encode(std::string(5000, 'a') + "b"); });
}

TEST(MalformedFile, missing_directory) {
  expect_error(ErrorCode::io, "tokenizer.json", [] { Tokenizer::load("/nonexistent"); });
}

}  // namespace codecllm
