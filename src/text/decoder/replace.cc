// SPDX-License-Identifier: Apache-2.0
#include "text/decoder/decoder.h"
#include "text/pattern.h"

namespace codecllm::text {

Decoder replace_decoder(const ComponentSource& source) {
  return map_decoder(
      [pattern = Pattern::load(source),
       content = json_need<std::string>(source.json, "content", source.file)](std::string token, bool) {
        return pattern.replace_all(token, content, size_limit(token.size()));
      });
}

}  // namespace codecllm::text
