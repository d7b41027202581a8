// SPDX-License-Identifier: Apache-2.0
#include "text/unicode.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/regex.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <limits>

#include "base/utf8.h"
#include "codecllm/error.h"

namespace codecllm::text {

namespace {

bool in_category(char32_t code, uint32_t mask) {
  return (U_MASK(u_charType(static_cast<UChar32>(code))) & mask) != 0;
}

// Own conversion: ICU's checks its input again, and is measurably slower on ASCII.
icu::UnicodeString to_utf16(std::string_view text) {
  if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max() / 2)) {
    throw Error(ErrorCode::bad_call, "tokenizer", "the text is longer than 1 GiB, split it");
  }
  icu::UnicodeString out;
  UChar* units = out.getBuffer(static_cast<int32_t>(text.size()) + 1);
  int32_t n = 0;
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      units[n++] = static_cast<UChar>(text[at++]);
      continue;
    }
    const Utf8Step step = decode_utf8(text, at);
    at += step.size;
    U16_APPEND_UNSAFE(units, n, static_cast<UChar32>(step.code));
  }
  out.releaseBuffer(n);
  return out;
}

// Turns UTF-16 offsets that only grow into UTF-8 offsets of the same text.
class OffsetMap {
 public:
  explicit OffsetMap(const icu::UnicodeString& text) : text_(text.getBuffer()) {}

  size_t bytes(int32_t unit) {
    for (; unit_ < unit; unit_++) {
      const UChar c = text_[unit_];
      // A surrogate pair is two units and four bytes.
      bytes_ += c < 0x80 ? 1 : c < 0x800 || U16_IS_SURROGATE(c) ? 2 : 3;
    }
    return bytes_;
  }

 private:
  const UChar* text_;
  int32_t unit_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

bool is_whitespace(char32_t code) { return u_isUWhiteSpace(static_cast<UChar32>(code)); }
bool is_numeric(char32_t code) { return in_category(code, U_GC_N_MASK); }
bool is_letter(char32_t code) { return in_category(code, U_GC_L_MASK); }

bool is_punctuation(char32_t code) {
  if (code < 0x80) return code > 0x20 && code < 0x7F && !u_isalnum(static_cast<UChar32>(code));
  return in_category(code, U_GC_P_MASK);
}

bool is_word(char32_t code) {
  return u_hasBinaryProperty(static_cast<UChar32>(code), UCHAR_ALPHABETIC) ||
         in_category(code, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK) || code == 0x200C || code == 0x200D;
}

std::string to_lower(std::string_view text) {
  std::string out;
  for_each_character(text, [&](char32_t code, size_t, size_t) {
    append_utf8(out, static_cast<char32_t>(u_tolower(static_cast<UChar32>(code))));
    // The one character whose lower case is two: I with a dot above.
    if (code == 0x130) append_utf8(out, 0x307);
  });
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  icu::UnicodeString units = to_utf16(text);
  units.toUpper(icu::Locale::getRoot());
  units.toUTF8String(out);
  return out;
}

std::string normalize(std::string_view text, NormalForm form) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = nullptr;
  switch (form) {
    case NormalForm::nfc:
      normalizer = icu::Normalizer2::getNFCInstance(status);
      break;
    case NormalForm::nfd:
      normalizer = icu::Normalizer2::getNFDInstance(status);
      break;
    case NormalForm::nfkc:
      normalizer = icu::Normalizer2::getNFKCInstance(status);
      break;
    case NormalForm::nfkd:
      normalizer = icu::Normalizer2::getNFKDInstance(status);
      break;
  }
  std::string out;
  if (U_SUCCESS(status)) {
    icu::StringByteSink<std::string> sink(&out);
    normalizer->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                              nullptr, status);
  }
  if (U_FAILURE(status)) {
    throw Error(ErrorCode::unsupported, "tokenizer",
                std::string("Unicode normalization failed: ") + u_errorName(status));
  }
  return out;
}

struct Regex::Impl {
  std::unique_ptr<icu::RegexPattern> pattern;
  std::string expression, file;
};

Regex::Regex(std::string_view expression, const std::string& file) {
  auto impl = std::make_shared<Impl>();
  UParseError where;
  UErrorCode status = U_ZERO_ERROR;
  // The expressions are written for Oniguruma, where ^ and $ stand at every line and only \n ends one.
  impl->pattern.reset(
      icu::RegexPattern::compile(to_utf16(expression), UREGEX_MULTILINE | UREGEX_UNIX_LINES, where, status));
  impl->expression = expression.substr(0, 80);
  impl->file = file;
  if (U_FAILURE(status)) {
    throw Error(ErrorCode::bad_input, "tokenizer",
                "regular expression '" + impl->expression + "' cannot be read (" + u_errorName(status) + ")",
                {.file = file});
  }
  impl_ = std::move(impl);
}

void Regex::find_all(std::string_view text, std::vector<Match>& matches) const {
  matches.clear();
  const icu::UnicodeString units = to_utf16(text);
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(impl_->pattern->matcher(units, status));
  if (U_SUCCESS(status)) {
    // Both limits stop expressions that take for ever, so they grow with an honest text. One unit of time is about
    // 10,000 steps of the engine, summed over all matches; a run of one kind of character needs stack for each.
    matcher->setTimeLimit(1000 + units.length() / 100, status);
    matcher->setStackLimit(static_cast<int32_t>(std::min<int64_t>((64 << 20) + int64_t{128} * units.length(), INT32_MAX)),
                           status);
  }
  OffsetMap offsets(units);
  int32_t last_end = -1;
  while (U_SUCCESS(status) && matcher->find(status)) {
    const int32_t begin = matcher->start(status), end = matcher->end(status);
    if (begin == end && begin == last_end) continue;
    last_end = end;
    const size_t first = offsets.bytes(begin);
    matches.push_back({first, offsets.bytes(end)});
  }
  if (U_FAILURE(status)) {
    throw Error(ErrorCode::bad_input, "tokenizer",
                "regular expression '" + impl_->expression + "' is too costly for this text (" +
                    u_errorName(status) + ")",
                {.file = impl_->file});
  }
}

}  // namespace codecllm::text
