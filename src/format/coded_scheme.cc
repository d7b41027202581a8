// SPDX-License-Identifier: Apache-2.0
#include "format/coded_scheme.h"

#include <charconv>

#include "codecllm/error.h"

namespace codecllm {

std::optional<CodedScheme> coded_scheme(const std::string& name) {
  if (name == "lossless") return CodedScheme{.lossless = true};
  if (name == "int8-coded") return CodedScheme{};
  if (name == "fp8-coded") return CodedScheme{.float8 = true};
  constexpr std::string_view kPrefix = "coded-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  double rate = 0;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, rate, std::chars_format::fixed);
  if (error != std::errc() || rest != end) return std::nullopt;
  if (!(rate >= 2 && rate <= 8))
    throw Error(ErrorCode::bad_call, "scheme", name + ": rates from 2 to 8 bits per weight are in this version");
  return CodedScheme{.rate = rate};
}

}  // namespace codecllm
