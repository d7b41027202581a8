// SPDX-License-Identifier: Apache-2.0
// The C interface over the C++ one; nothing is thrown across it.
#include "codecllm/codecllm.h"

#include <optional>

#include "codecllm/model.h"
#include "codecllm/quantize.h"
#include "codecllm/version.h"

struct codecllm_context {
  codecllm::Context context;
};
struct codecllm_model {
  codecllm::Model model;
};
struct codecllm_session {
  codecllm::Session session;
  std::string text;  // of the last call
};

namespace {

thread_local std::string last_error;

// Runs the body; an exception becomes `failed` and the thread's last error.
template <class Result, class Body>
Result guarded(Result failed, const Body& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "unknown error";
  }
  return failed;
}

// The caller's pointer; throws where it is null.
template <class T>
T* given(T* pointer, const char* what) {
  if (pointer == nullptr) throw codecllm::Error(codecllm::ErrorCode::bad_call, "call", std::string(what) + " is NULL");
  return pointer;
}

}  // namespace

const char* codecllm_version(void) { return CODECLLM_VERSION; }
const char* codecllm_last_error(void) { return last_error.c_str(); }

codecllm_context* codecllm_context_new(int threads) {
  return guarded<codecllm_context*>(nullptr, [&] { return new codecllm_context{codecllm::Context({.threads = threads})}; });
}
void codecllm_context_free(codecllm_context* context) { delete context; }

codecllm_model* codecllm_model_load(codecllm_context* context, const char* directory) {
  return guarded<codecllm_model*>(nullptr, [&] {
    return new codecllm_model{codecllm::Model::load(given(context, "the context")->context, given(directory, "the directory"))};
  });
}
void codecllm_model_free(codecllm_model* model) { delete model; }

codecllm_session* codecllm_session_new(codecllm_model* model, int64_t capacity) {
  return guarded<codecllm_session*>(
      nullptr, [&] { return new codecllm_session{codecllm::Session(given(model, "the model")->model, capacity), {}}; });
}
void codecllm_session_free(codecllm_session* session) { delete session; }

const char* codecllm_generate(codecllm_session* session, const char* prompt, int64_t max_tokens, float temperature,
                              uint64_t seed) {
  return guarded<const char*>(nullptr, [&] {
    codecllm_session* own = given(session, "the session");
    own->text = own->session.generate(given(prompt, "the prompt"), {.max_tokens = max_tokens, .temperature = temperature, .seed = seed}).text;
    return own->text.c_str();
  });
}

int codecllm_quantize(codecllm_context* context, const char* model, const char* output, const char* scheme) {
  return guarded<int>(-1, [&] {
    codecllm::quantize(given(context, "the context")->context, {.model = given(model, "the model"),
                                                                .output = given(output, "the output"),
                                                                .scheme = given(scheme, "the scheme")});
    return 0;
  });
}
