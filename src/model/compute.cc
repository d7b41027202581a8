// SPDX-License-Identifier: Apache-2.0
#include "model/compute.h"

namespace codecllm {

namespace {

// body(matrix) for every matrix of codes that a product reads.
template <class Weights, class Body>
void for_codes(Weights& weights, const Body& body) {
  const auto visit = [&](auto& m) {
    if (m.rows() > 0 && is_scaled(m.view().element)) body(m);
  };
  for (auto& b : weights.blocks)
    for (auto* l : b.linears()) visit(l->weight);
  visit(weights.lm_head);
}

}  // namespace

void set_compute(ModelWeights& weights, std::string_view compute) {
  if (compute != "a16" && compute != "a8")
    throw Error(ErrorCode::bad_call, "compute", "no precision '" + std::string(compute) + "' of activations; there are: a16, a8");
  if (compute == "a16") return;
  for_codes(weights, [](Matrix& m) {
    if (is_integer(m.view().element) && m.view().activation.mode == ActivationMode::a16) m.set_activation({.mode = ActivationMode::a8_token});
  });
}

std::string_view compute_of(const ModelWeights& weights) {
  int words = 0, bytes = 0;
  for_codes(weights, [&](const Matrix& m) { ++(m.view().activation.mode == ActivationMode::a16 ? words : bytes); });
  return bytes == 0 ? "a16" : words == 0 ? "a8" : "mixed";
}

}  // namespace codecllm
