// SPDX-License-Identifier: Apache-2.0
// Every component by itself against the Hugging Face library (tools/dump_tokens.py).
#include "text/decoder/decoder.h"
#include "text/support.h"

namespace codecllm {

static const std::string file = "components.json";

static Json run(const text::PreTokenizer& component, const std::string& text) {
  text::Pieces pieces = {{text, true}};
  component(pieces, text::size_limit(text.size()));
  Json out = Json::array();
  for (const auto& piece : pieces) {
    if (!piece.text.empty()) out.push_back(piece.text);
  }
  return out;
}

static std::string run(const text::Normalizer& component, const std::string& text) {
  text::Piece piece{text, true};
  component(piece, text::size_limit(text.size()));
  return piece.text;
}

static std::string run(const text::Decoder& component, const std::vector<std::string>& tokens) {
  std::string out;
  const auto sink = [&](const text::Fragment& fragment) { out += fragment.text; };
  const auto stage = component();
  for (const auto& token : tokens) stage->push({token}, sink);
  stage->finish(sink);
  return out;
}

TEST(Components, match_the_reference) {
  for (const Json& row : read_json_file(data_path(file))) {
    const std::string kind = row["kind"];
    const text::ComponentSource source{row["json"], file, kind.c_str()};
    for (const Json& pair : row["cases"]) {
      SCOPED_TRACE(dump_json(row["json"]) + " " + dump_json(pair[0]));
      if (kind == "pre_tokenizer") {
        EXPECT_EQ(run(text::load_pretokenizer(source), pair[0].get<std::string>()), pair[1]);
      } else if (kind == "normalizer") {
        EXPECT_EQ(run(text::load_normalizer(source), pair[0].get<std::string>()), pair[1].get<std::string>());
      } else {
        EXPECT_EQ(run(text::load_decoder(source), pair[0].get<std::vector<std::string>>()),
                  pair[1].get<std::string>());
      }
    }
  }
}

}  // namespace codecllm
