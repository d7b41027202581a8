// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gmock/gmock.h>

#include <limits>

#include "base/utf8.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;

template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::bad_input));
    EXPECT_EQ(e.place().file, "dir/config.json");
    return e.what();
  }
  return "no error";
}

std::string parse_error(const std::string& text) {
  return error_of([&] { parse_json(text, "dir/config.json"); });
}

TEST(Json, ReadsOneValue) {
  EXPECT_EQ(parse_json(" {\"a\": [1, 2.5, null, true, \"\\u00e9\"]} \n", "f")["a"].size(), 5u);
  EXPECT_EQ(parse_json("18446744073709551615", "f").get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(parse_json("-9223372036854775808", "f").get<int64_t>(), std::numeric_limits<int64_t>::min());
}

TEST(Json, RefusesWhatIsNotOneValue) {
  for (const char* text :
       {"",     " ",        "{",        "[1,]",        "{\"a\":1,}", "{a:1}", "{'a':1}",  "1 2",
        "{} x", "01",       "+1",       ".5",          "1.",         "NaN",   "Infinity", "nul",
        "\"a",  "\"\x01\"", "\"\xff\"", "\"\\ud800\"", "// x\n1",    "[1 2]", "1e999",    "]"})
    EXPECT_THAT(parse_error(text), HasSubstr("not valid JSON")) << text;
  EXPECT_THAT(parse_error("[1, x]"), HasSubstr("byte 5"));
}

TEST(Json, RefusesKeysThatStandTwice) {
  for (const char* text :
       {R"({"same": 1, "same": 2})", R"({"same": 1, "b": {"c": []}, "same": null})",
        R"([0, {"a": {"b": [{"same": {}, "x": 1, "same": {}}]}}])", R"({"a": {"same": 1, "s\u0061me": 2}})"})
    EXPECT_THAT(parse_error(text), HasSubstr("key 'same' stands twice")) << text;
  EXPECT_NO_THROW(parse_json(R"({"a": {"a": [{"a": 1}, {"a": 1}]}, "b": {"a": 1}})", "f"));
}

TEST(Json, RefusesDeepNesting) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(parse_error(nested(64)), "no error");
  EXPECT_THAT(parse_error(nested(65)), HasSubstr("deeper than 64"));
  EXPECT_THAT(parse_error(std::string(100000, '[')), HasSubstr("deeper than 64"));
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  EXPECT_THAT(parse_error(objects), HasSubstr("deeper than 64"));
  EXPECT_NO_THROW(parse_json("[[1], [2], {\"a\": []}]", "f", 2 + 1));
  EXPECT_THROW(parse_json("[[[[]]]]", "f", 3), Error);
}

class Getters : public ::testing::Test {
 protected:
  template <class T>
  std::string refused(const char* key) {
    return error_of([&] { json_find<T>(object_, key, "dir/config.json"); });
  }

  const Json object_ =
      parse_json(R"({"one": 1, "real": 1.0, "exponent": 1e3, "huge": 1e300, "text": "1", "yes": true,
      "minus": -1, "none": null, "int32": 2147483647, "over32": 2147483648, "under32": -2147483649,
      "int64": 9223372036854775807, "over64": 9223372036854775808, "list": [1], "over": 99999999999999999999})",
                 "f");
};

TEST_F(Getters, WholeNumbersOnly) {
  for (const char* key : {"real", "exponent", "huge", "text", "yes", "over64", "over", "list"}) {
    for (const std::string& text : {refused<int32_t>(key), refused<int64_t>(key)}) {
      EXPECT_THAT(text, HasSubstr("key '" + std::string(key) + "'"));
      EXPECT_THAT(text, HasSubstr("dir/config.json"));
      EXPECT_THAT(text, HasSubstr("expected a whole number in range"));
    }
  }
  for (const char* key : {"over32", "under32", "int64"}) EXPECT_NE(refused<int32_t>(key), "no error") << key;
  EXPECT_NE(refused<uint32_t>("minus"), "no error");
  EXPECT_NE(refused<uint64_t>("minus"), "no error");
  EXPECT_EQ(json_need<int32_t>(object_, "int32", "f"), 2147483647);
  EXPECT_EQ(json_need<int32_t>(object_, "minus", "f"), -1);
  EXPECT_EQ(json_need<int64_t>(object_, "under32", "f"), -2147483649);
  EXPECT_EQ(json_need<int64_t>(object_, "int64", "f"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(json_need<uint64_t>(object_, "over64", "f"), uint64_t{1} << 63);
}

TEST_F(Getters, OtherTypes) {
  EXPECT_EQ(json_need<double>(object_, "one", "f"), 1.0);
  EXPECT_EQ(json_need<double>(object_, "exponent", "f"), 1000.0);
  EXPECT_EQ(json_need<std::string>(object_, "text", "f"), "1");
  EXPECT_TRUE(json_need<bool>(object_, "yes", "f"));
  EXPECT_THAT(refused<bool>("one"), HasSubstr("key 'one' is 1, expected true or false in dir/config.json"));
  EXPECT_THAT(refused<std::string>("one"), HasSubstr("expected a string"));
  EXPECT_THAT(refused<double>("text"), HasSubstr("key 'text' is \"1\", expected a number"));
}

TEST_F(Getters, AbsentAndNull) {
  for (const char* key : {"none", "nothing"}) {
    EXPECT_EQ(json_find<int64_t>(object_, key, "f"), std::nullopt);
    EXPECT_EQ(json_or<int64_t>(object_, key, 7, "f"), 7);
    EXPECT_THAT(error_of([&] { json_need<bool>(object_, key, "dir/config.json"); }),
                HasSubstr("key '" + std::string(key) + "' is missing in dir/config.json"));
  }
  EXPECT_EQ(json_or<int64_t>(object_, "one", 7, "f"), 1);
}

TEST_F(Getters, LongValuesAreCutInMessages) {
  Json object;
  object["long"] = std::string(100000, 'x');
  const std::string text = error_of([&] { json_find<int64_t>(object, "long", "dir/config.json"); });
  EXPECT_LT(text.size(), 200u);
}

TEST(Json, WritesKeysInOrderAndNeverThrowsOverText) {
  OrderedJson json;
  json["z"] = 1;
  json["a"] =
      "\xff"
      "b";
  EXPECT_EQ(dump_json(json),
            "{\"z\":1,\"a\":\"\xEF\xBF\xBD"
            "b\"}");
}

TEST(Json, MessagesAreOneLineOfText) {
  const auto message_of = [](const auto& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::string twice = message_of([] { parse_json("{\"a\\nb\":1,\"a\\nb\":2}", "f"); });
  EXPECT_EQ(twice.find('\n'), std::string::npos);
  EXPECT_NE(twice.find("a\\x0ab"), std::string::npos) << twice;
  std::string accents;
  for (int i = 0; i < 30; ++i) accents += "é";  // the cut falls into one of them
  for (const std::string& text : {accents, "x" + accents})
    EXPECT_TRUE(is_utf8(message_of([&] { json_need<int>(Json{{"k", text}}, "k", "f"); })));
}

}  // namespace
}  // namespace codecllm
