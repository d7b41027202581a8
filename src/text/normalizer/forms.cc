// SPDX-License-Identifier: Apache-2.0
// The four Unicode normalization forms.
#include "text/normalizer/normalizer.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace codecllm::text {

static Normalizer form_normalizer(NormalForm form) {
  return [form](Piece& piece, size_t limit) {
    piece.text = normalize(piece.text, form);
    if (piece.text.size() > limit) fail_growth();
  };
}

Normalizer nfc_normalizer(const ComponentSource&) { return form_normalizer(NormalForm::nfc); }
Normalizer nfd_normalizer(const ComponentSource&) { return form_normalizer(NormalForm::nfd); }
Normalizer nfkc_normalizer(const ComponentSource&) { return form_normalizer(NormalForm::nfkc); }
Normalizer nfkd_normalizer(const ComponentSource&) { return form_normalizer(NormalForm::nfkd); }

}  // namespace codecllm::text
