// SPDX-License-Identifier: Apache-2.0
#include "text/metaspace.h"

#include "text/decoder/decoder.h"
#include "text/pattern.h"

namespace codecllm::text {

Decoder metaspace_decoder(const ComponentSource& source) {
  const Metaspace metaspace = load_metaspace(source);
  const Pattern mark = Pattern::literal(metaspace.replacement);
  const bool prepended = metaspace.prepend != Metaspace::Prepend::never;
  return map_decoder([mark, prepended](std::string token, bool first) {
    return mark.replace_all(token, first && prepended ? "" : " ", token.size());
  });
}

}  // namespace codecllm::text
