// SPDX-License-Identifier: Apache-2.0
#include "base/context.h"

namespace codecllm {

Context::Context(ContextOptions options)
    : impl_(new Impl{choose_isa(options.isa), ThreadPool(options.threads), std::move(options.log)}) {}
Context::~Context() = default;
int Context::threads() const { return impl_->pool.threads(); }
std::string_view Context::isa() const { return isa_name(impl_->isa); }

}  // namespace codecllm
