// SPDX-License-Identifier: Apache-2.0
#include "codecllm/error.h"

namespace codecllm {

static std::string compose(std::string_view op, std::string_view what, const ErrorPlace& place) {
  std::string text = "[" + std::string(op) + "] " + std::string(what);
  if (!place.tensor.empty()) text += " (tensor " + place.tensor + ")";
  if (!place.file.empty()) text += " in " + place.file;
  return text;
}

Error::Error(ErrorCode code, std::string_view op, std::string_view what, ErrorPlace place)
    : std::runtime_error(compose(op, what, place)), code_(code), op_(op), place_(std::move(place)) {}

int Error::exit_code() const {
  switch (code_) {
    case ErrorCode::bad_input:
    case ErrorCode::io: return 1;
    case ErrorCode::interrupted: return 130;
    default: return 2;
  }
}

}  // namespace codecllm
