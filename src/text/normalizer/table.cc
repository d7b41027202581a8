// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer/normalizer.h"

namespace codecllm::text {

static constexpr ComponentRow<Normalizer> normalizer_rows[] = {
#define NORMALIZER(type, load) {type, load},
#include "text/normalizer/normalizers.def"
#undef NORMALIZER
};

Normalizer load_normalizer(const ComponentSource& source) { return load_component<Normalizer>(normalizer_rows, source); }

}  // namespace codecllm::text
