// SPDX-License-Identifier: Apache-2.0
#include "text/metaspace.h"

#include "base/utf8.h"

namespace codecllm::text {

Metaspace load_metaspace(const ComponentSource& source) {
  Metaspace metaspace;
  metaspace.replacement = json_or<std::string>(source.json, "replacement", "\u2581", source.file);
  if (metaspace.replacement.empty() ||
      decode_utf8(metaspace.replacement, 0).size != metaspace.replacement.size()) {
    fail_component(source, "Metaspace needs a replacement of one character", ErrorCode::bad_input);
  }
  const auto scheme = json_find<std::string>(source.json, "prepend_scheme", source.file);
  if (scheme == "first") metaspace.prepend = Metaspace::Prepend::first;
  if (scheme == "never") metaspace.prepend = Metaspace::Prepend::never;
  if (scheme && scheme != "first" && scheme != "never" && scheme != "always") {
    fail_component(source, "prepend_scheme '" + *scheme + "' is unknown", ErrorCode::bad_input);
  }
  // Old files say it with a flag.
  if (json_or(source.json, "add_prefix_space", true, source.file)) return metaspace;
  if (scheme && scheme != "never") {
    fail_component(source, "add_prefix_space is false but prepend_scheme is '" + *scheme + "'",
                   ErrorCode::bad_input);
  }
  metaspace.prepend = Metaspace::Prepend::never;
  return metaspace;
}

}  // namespace codecllm::text
