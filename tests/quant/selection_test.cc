// SPDX-License-Identifier: Apache-2.0
#include "quant/selection.h"

#include <gtest/gtest.h>

#include "model/weights.h"
#include "quant/support.h"

namespace codecllm {
namespace {

ModelSpec spec_of(const std::string& name) { return read_spec(Checkpoint(test::model_data(name))); }

std::vector<std::string> selected(const Selection& selection, const std::string& model = "llama") {
  std::vector<std::string> names;
  for (const LinearSpec& linear : select_linears(spec_of(model), selection)) names.push_back(linear.name);
  return names;
}

std::string refused(const Selection& selection, ErrorCode code, const std::string& model = "llama") {
  return test::error_of([&] { selected(selection, model); }, code);
}

const std::string kLayer0 = "model.layers.0.", kLayer1 = "model.layers.1.";

TEST(MatchesPattern, GlobsCoverTheWholeName) {
  EXPECT_TRUE(matches_pattern("lm_head", "lm_head"));
  EXPECT_FALSE(matches_pattern("lm", "lm_head"));
  EXPECT_FALSE(matches_pattern("head", "lm_head"));
  EXPECT_TRUE(matches_pattern("*head", "lm_head"));
  EXPECT_TRUE(matches_pattern("*.0.*", "model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(matches_pattern("*.0.*", "model.layers.10.mlp.up_proj"));
  EXPECT_TRUE(matches_pattern("model.layers.?.*", "model.layers.7.mlp.up_proj"));
  EXPECT_FALSE(matches_pattern("model.layers.?.*", "model.layers.17.mlp.up_proj"));
  EXPECT_TRUE(matches_pattern("*.[qk]_proj", "model.layers.0.self_attn.k_proj"));
  EXPECT_FALSE(matches_pattern("", "lm_head"));
}

TEST(MatchesPattern, RegularExpressionsMatchAtTheStart) {
  EXPECT_TRUE(matches_pattern("re:model.*mlp", "model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(matches_pattern("re:mlp", "model.layers.0.mlp.up_proj"));
  EXPECT_TRUE(matches_pattern("re:.*(up|gate)_proj$", "model.layers.0.mlp.up_proj"));
  EXPECT_FALSE(matches_pattern("re:.*(up|gate)_proj$", "model.layers.0.mlp.down_proj"));
  test::error_of([] { matches_pattern("re:(", "lm_head"); }, ErrorCode::bad_call);
}

TEST(SelectLinears, TakesAllButTheHeadInModelOrder) {
  const std::vector<std::string> names = selected({});
  ASSERT_EQ(names.size(), 14u);
  EXPECT_EQ(names.front(), kLayer0 + "self_attn.q_proj");
  EXPECT_EQ(names.back(), kLayer1 + "mlp.down_proj");
  EXPECT_EQ(std::count(names.begin(), names.end(), "lm_head"), 0);
  EXPECT_EQ(selected({}, "llama-tied").size() % 7, 0u);
}

TEST(SelectLinears, OnlyAndIgnore) {
  EXPECT_EQ(selected({.only = {"lm_head"}}), std::vector<std::string>{"lm_head"});
  EXPECT_EQ(selected({.only = {"*.up_proj"}}),
            (std::vector<std::string>{kLayer0 + "mlp.up_proj", kLayer1 + "mlp.up_proj"}));
  EXPECT_EQ(selected({.only = {"*.up_proj", "re:.*0.*down"}}),
            (std::vector<std::string>{kLayer0 + "mlp.up_proj", kLayer0 + "mlp.down_proj",
                                      kLayer1 + "mlp.up_proj"}));
  EXPECT_EQ(selected({.ignore = {"*.mlp.*"}}).size(), 8u);
  EXPECT_EQ(selected({.only = {}, .ignore = {"lm_head"}}).size(), 14u);
  // What both name is left out.
  EXPECT_EQ(selected({.only = {"*.up_proj"}, .ignore = {"*.0.*"}}),
            std::vector<std::string>{kLayer1 + "mlp.up_proj"});
  EXPECT_EQ(selected({.only = {"*"}}).size(), 15u);
}

TEST(SelectLinears, RefusesPatternsThatMatchNothing) {
  EXPECT_NE(refused({.only = {"*.up_proj", "*.upp_proj"}}, ErrorCode::bad_call).find("*.upp_proj"),
            std::string::npos);
  const std::string message = refused({.ignore = {"re:nothing"}}, ErrorCode::bad_call);
  EXPECT_NE(message.find("re:nothing"), std::string::npos) << message;
  EXPECT_NE(message.find(kLayer0 + "self_attn.q_proj"), std::string::npos)
      << message;  // what names look like
  refused({.only = {"model.embed_tokens"}}, ErrorCode::bad_call);
  refused({.only = {"*.up_proj"}, .ignore = {"*.mlp.*"}}, ErrorCode::bad_call);  // nothing is left
}

TEST(SelectLinears, ATiedHeadIsRefusedByName) {
  EXPECT_NE(refused({.only = {"lm_head"}}, ErrorCode::unsupported, "llama-tied").find("lm_head"),
            std::string::npos);
  refused({.only = {"*"}}, ErrorCode::unsupported, "llama-tied");
  EXPECT_EQ(selected({.only = {"*"}, .ignore = {"lm_head"}}, "llama-tied"), selected({}, "llama-tied"));
}

}  // namespace
}  // namespace codecllm
