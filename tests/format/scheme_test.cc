// SPDX-License-Identifier: Apache-2.0
#include "format/scheme.h"

#include <gmock/gmock.h>

#include <set>

#include "codecllm/error.h"

namespace codecllm {
namespace {

using testing::ElementsAre;

TEST(Scheme, StrategiesReadBack) {
  for (const Strategy strategy :
       {Strategy::tensor, Strategy::channel, Strategy::group, Strategy::block, Strategy::token})
    EXPECT_EQ(strategy_from_name(strategy_name(strategy)), strategy);
  EXPECT_EQ(strategy_from_name("Channel"), std::nullopt);
}

TEST(Scheme, PresetsSayInTheirNamesWhatTheyAre) {
  std::set<std::string> names;
  for (const QuantScheme& preset : scheme_presets()) {
    EXPECT_TRUE(names.insert(preset.name).second);
    EXPECT_EQ(scheme_preset(preset.name), preset);
    if (!preset.weights || preset.weights->strategy != Strategy::group) continue;
    EXPECT_THAT(preset.name, testing::EndsWith("-g" + std::to_string(preset.weights->group_size)));
  }
  EXPECT_EQ(scheme_preset("f16").plain, DType::f16);
  EXPECT_EQ(scheme_preset("f16").weights, std::nullopt);
  EXPECT_EQ(scheme_preset("int8").weights, (QuantArgs{.num_bits = 8, .strategy = Strategy::channel}));
  EXPECT_EQ(scheme_preset("int8-tensor").weights->strategy, Strategy::tensor);
  EXPECT_EQ(scheme_preset("int4-g128").weights,
            (QuantArgs{.num_bits = 4, .strategy = Strategy::group, .group_size = 128}));
}

TEST(Scheme, IntegersOfAnyWidthAreNamedAlike) {
  EXPECT_EQ(scheme_preset("int5").weights, (QuantArgs{.num_bits = 5}));
  EXPECT_EQ(scheme_preset("int3-g64").weights, (QuantArgs{.num_bits = 3, .strategy = Strategy::group, .group_size = 64}));
  EXPECT_EQ(scheme_preset("int4-g32-asym").weights,
            (QuantArgs{.num_bits = 4, .strategy = Strategy::group, .group_size = 32, .symmetric = false}));
  for (const char* name : {"int2", "int8-asym", "int7-tensor", "int6-g256", "int2-tensor-asym", "int8", "fp8-block", "w8a8"})
    EXPECT_EQ(scheme_name(scheme_preset(name)), name);
  for (const char* name : {"int1", "int9", "int", "int4-g16", "int4-g1280", "int4-asym-g32", "int4-", "int44"})
    EXPECT_THROW(scheme_preset(name), Error) << name;
}

TEST(Scheme, AnUnknownNameListsThePresets) {
  try {
    scheme_preset("int9");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_call);
    EXPECT_THAT(error.what(), testing::HasSubstr("no scheme 'int9'; there are: "));
    for (const QuantScheme& preset : scheme_presets())
      EXPECT_THAT(error.what(), testing::HasSubstr(preset.name));
  }
}

TEST(FitScheme, TakesTheLargestPowerOfTwoThatDivides) {
  const QuantScheme& scheme = scheme_preset("int4-g128");
  const auto group = [&](int64_t columns) { return fit_scheme(scheme, columns).weights->group_size; };
  EXPECT_EQ(group(4096), 128);
  EXPECT_EQ(group(128), 128);
  EXPECT_EQ(group(192), 64);
  EXPECT_EQ(group(96), 32);
  EXPECT_EQ(group(288), 32);
  EXPECT_EQ(fit_scheme(scheme, 4096), scheme);
}

TEST(FitScheme, FallsBackToChannels) {
  for (const int64_t columns : {1, 16, 48, 100, 1000}) {
    const QuantScheme fitted = fit_scheme(scheme_preset("int8-g128"), columns);
    EXPECT_EQ(fitted.weights, scheme_preset("int8").weights) << columns;
  }
}

TEST(FitScheme, LeavesOtherSchemesAlone) {
  for (const char* name : {"bf16", "int8", "int8-tensor"})
    EXPECT_EQ(fit_scheme(scheme_preset(name), 7), scheme_preset(name));
}

TEST(ScaleShape, IsThatOfCompressedTensors) {
  EXPECT_THAT(scale_shape({.strategy = Strategy::tensor}, 10, 300), ElementsAre(1));
  EXPECT_THAT(scale_shape({.strategy = Strategy::channel}, 10, 300), ElementsAre(10, 1));
  EXPECT_THAT(scale_shape({.strategy = Strategy::group, .group_size = 128}, 10, 256), ElementsAre(10, 2));
  EXPECT_THAT(scale_shape({.strategy = Strategy::group, .group_size = 128}, 10, 300), ElementsAre(10, 3));
  EXPECT_THAT(scale_shape({.strategy = Strategy::block, .block = {128, 128}}, 130, 200), ElementsAre(2, 2));
}

}  // namespace
}  // namespace codecllm
