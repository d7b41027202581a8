// SPDX-License-Identifier: Apache-2.0
#include "io/name_pattern.h"

#include <unicode/regex.h>

#include "codecllm/error.h"
#include "io/header_scanner.h"

namespace codecllm {

namespace {
constexpr size_t kMaxPatternBytes = 4096;
// ICU counts steps in units of about a millisecond. Honest patterns take microseconds; (a+)+$ would take for
// ever.
constexpr int32_t kTimeLimit = 20, kStackBytes = 1 << 20;

icu::UnicodeString utf16(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}
}  // namespace

struct NamePattern::Regex {
  std::unique_ptr<const icu::RegexPattern> compiled;
};

NamePattern::NamePattern(std::string text, std::string file)
    : text_(std::move(text)), file_(std::move(file)) {
  const auto fail = [&](const std::string& what) {
    if (file_.empty()) throw Error(ErrorCode::bad_call, "pattern", "'" + shown(text_) + "' " + what);
    throw Error(ErrorCode::bad_input, "quantization_config", "'" + shown(text_) + "' " + what, {.file = file_});
  };
  if (text_.size() > kMaxPatternBytes) fail("is longer than 4096 bytes");
  if (!text_.starts_with("re:")) return;
  UErrorCode status = U_ZERO_ERROR;
  std::unique_ptr<const icu::RegexPattern> compiled(
      icu::RegexPattern::compile(utf16(std::string_view(text_).substr(3)), 0, status));
  if (U_FAILURE(status) || !compiled)
    fail(std::string("is not a valid regular expression: ") + u_errorName(status));
  regex_ = std::make_shared<Regex>(Regex{std::move(compiled)});
}

NamePattern::Match NamePattern::match(std::string_view module_name) const {
  if (text_ == module_name) return Match::exact;
  if (!regex_) return text_ == "Linear" ? Match::class_name : Match::none;
  UErrorCode status = U_ZERO_ERROR;
  const icu::UnicodeString name = utf16(module_name);  // outlives the matcher, which refers to it
  const std::unique_ptr<icu::RegexMatcher> matcher(regex_->compiled->matcher(name, status));
  bool found = false;
  if (U_SUCCESS(status)) {
    matcher->setTimeLimit(kTimeLimit, status);
    matcher->setStackLimit(kStackBytes, status);
    found = matcher->lookingAt(status);
  }
  if (U_FAILURE(status))
    throw Error(ErrorCode::bad_input, "quantization_config",
                "'" + shown(text_) + "' takes too long to match '" + shown(module_name) + "'; simplify it",
                {.file = file_});
  return found ? Match::regex : Match::none;
}

}  // namespace codecllm
