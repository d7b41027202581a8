// SPDX-License-Identifier: Apache-2.0
// Any bytes as tokenizer.json: an Error, or a tokenizer that encodes and decodes whatever follows the first
// zero byte.
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "codecllm/error.h"
#include "text/tokenizer.h"

using codecllm::Error;
using codecllm::StreamDecoder;
using codecllm::Tokenizer;

static constexpr std::string_view fixed =
    R"({"added_tokens":[{"id":5,"content":"<s>","special":true,"normalized":false},
{"id":6,"content":"ab","lstrip":true,"rstrip":true}],"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},
{"type":"Prepend","prepend":"_"}]},"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"first"},"decoder":{"type":"Sequence",
"decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":1}]},"model":{"type":"BPE",
"unk_token":"<unk>","byte_fallback":true,"vocab":{"<unk>":0,"a":1,"b":2,"ba":3,"<0x41>":4},"merges":["b a"]}})";

static void use(const Tokenizer& tokenizer, std::string_view text) {
  try {
    const auto ids = tokenizer.encode(text);
    tokenizer.encode(text, false, false);
    const auto decoded = tokenizer.decode(ids, false);
    StreamDecoder stream(tokenizer, false);
    std::string joined;
    for (const auto id : ids) joined += stream.push(id);
    joined += stream.finish();
    if (joined != decoded || !codecllm::is_utf8(decoded)) __builtin_trap();
  } catch (const Error&) {
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer known = Tokenizer::from_json(fixed);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view text =
      zero == std::string_view::npos ? "a b <s> ab \xFF \u00e9" : input.substr(zero + 1);
  use(known, text);
  try {
    use(Tokenizer::from_json(input.substr(0, zero)), text);
  } catch (const Error&) {
  }
  return 0;
}
