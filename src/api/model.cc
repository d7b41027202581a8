// SPDX-License-Identifier: Apache-2.0
#include "codecllm/model.h"

#include <algorithm>

#include "api/model_impl.h"
#include "gen/generate.h"
#include "model/model_tokenizer.h"

namespace codecllm {

Model Model::load(const Context& context, const std::string& directory, const Progress& progress) {
  return Model(std::make_shared<Impl>(Impl{load_model(context, directory, progress), load_tokenizer(directory)}));
}

ModelInfo Model::info() const {
  const DecoderModel& m = impl_->model;
  return {m.spec.family, m.scheme, m.spec.parameters(), m.weights.bytes(), m.spec.max_positions, m.spec.vocab};
}

std::vector<int32_t> Model::tokenize(std::string_view text) const { return impl_->tokenizer.encode(text); }
std::string Model::detokenize(const std::vector<int32_t>& tokens) const { return impl_->tokenizer.decode(tokens); }

struct Session::Impl {
  Model model;
  TokenSession session;
};

static int64_t room(const Model& model, int64_t capacity) {
  const int64_t trained = model.impl().model.spec.max_positions;
  if (capacity < 0) throw Error(ErrorCode::bad_call, "session", "the capacity is negative");
  return capacity == 0 ? trained : std::min(capacity, trained);
}

Session::Session(Model model, int64_t capacity)
    : impl_(new Impl{model, TokenSession(model.impl().model, room(model, capacity))}) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

Generated Session::generate(std::string_view prompt, const Sampling& sampling,
                            const std::function<bool(std::string_view)>& on_text) {
  const Model::Impl& m = impl_->model.impl();
  const GenerateOptions options = {.max_tokens = sampling.max_tokens,
                                   .sampler = {.temperature = sampling.temperature,
                                               .top_k = sampling.top_k,
                                               .top_p = sampling.top_p,
                                               .min_p = sampling.min_p,
                                               .repetition_penalty = sampling.repetition_penalty,
                                               .seed = sampling.seed},
                                   .stop = sampling.stop};
  const auto tokens = m.tokenizer.encode(prompt, impl_->session.length() == 0);
  GenerateResult r = codecllm::generate(impl_->session, m.model, m.tokenizer, tokens, options, on_text);
  return {std::move(r.text), std::move(r.tokens), r.finish, r.prompt_tok_s(), r.decode_tok_s()};
}

std::vector<float> Session::logits(const std::vector<int32_t>& tokens) {
  const auto logits = impl_->session.append(tokens);
  return {logits.begin(), logits.end()};
}

int64_t Session::length() const { return impl_->session.length(); }

}  // namespace codecllm
