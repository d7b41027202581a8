// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <optional>

#include "codecllm/context.h"
#include "codecllm/error.h"

namespace codecllm {
namespace {

using ::testing::HasSubstr;

// Sets CODECLLM_ISA for a test and puts back what was there.
class IsaVariable {
 public:
  IsaVariable() {
    if (const char* value = std::getenv("CODECLLM_ISA")) before_ = value;
  }
  ~IsaVariable() { before_ ? set(before_->c_str()) : clear(); }
  void set(const char* value) { setenv("CODECLLM_ISA", value, 1); }
  void clear() { unsetenv("CODECLLM_ISA"); }

 private:
  std::optional<std::string> before_;
};

std::string refusal(std::string_view name) {
  try {
    choose_isa(name);
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(ErrorCode::bad_call));
    return e.what();
  }
  return "no error";
}

TEST(Cpu, TiersGoFromPlainToRich) {
  const auto& tiers = available_isas();
  ASSERT_FALSE(tiers.empty());
  EXPECT_EQ(tiers[0], Isa::reference);
  for (size_t i = 1; i < tiers.size(); ++i)
    EXPECT_LT(static_cast<int>(tiers[i - 1]), static_cast<int>(tiers[i]));
  EXPECT_LT(static_cast<int>(tiers.back()), kIsaCount);
  EXPECT_EQ(isa_name(Isa::reference), "reference");
  EXPECT_EQ(isa_name(Isa::avx512vbmi), "avx512vbmi");
}

TEST(Cpu, ChoosesByNameThenEnvironmentThenTheBest) {
  IsaVariable variable;
  variable.clear();
  EXPECT_EQ(choose_isa(""), available_isas().back());
  variable.set("");
  EXPECT_EQ(choose_isa(""), available_isas().back());
  variable.set("reference");
  EXPECT_EQ(choose_isa(""), Isa::reference);
  EXPECT_EQ(Context({.threads = 1, .isa = {}}).isa(), "reference");
  for (Isa isa : available_isas()) {
    EXPECT_EQ(choose_isa(isa_name(isa)), isa);  // a name given in the call wins
    EXPECT_EQ(Context({.threads = 1, .isa = std::string(isa_name(isa))}).isa(), isa_name(isa));
  }
}

TEST(Cpu, RefusesTiersItDoesNotHave) {
  IsaVariable variable;
  for (const char* name : {"avx9000", "AVX2", "reference ", "ref"}) {
    const std::string text = refusal(name);
    EXPECT_THAT(text, HasSubstr("'" + std::string(name) + "'"));
    for (Isa isa : available_isas()) EXPECT_THAT(text, HasSubstr(std::string(isa_name(isa))));
    variable.set(name);
    EXPECT_EQ(refusal(""), text);
  }
  for (int i = static_cast<int>(available_isas().size()); i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_THAT(refusal(isa_name(isa)), HasSubstr("no ISA tier")) << "above what this CPU has";
  }
}

TEST(Cpu, CountsAtLeastOne) {
  EXPECT_GE(available_cpus(), 1);
  EXPECT_FALSE(cpu_model_name().empty());
}

}  // namespace
}  // namespace codecllm
