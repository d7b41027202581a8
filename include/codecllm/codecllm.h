/* SPDX-License-Identifier: Apache-2.0
 * The C interface. Functions that can fail return NULL or a negative number; codecllm_last_error then says why, in one
 * sentence, for the calling thread, until its next call that fails. Strings are UTF-8; those returned belong to the
 * object they came from and live until its next call, unless said otherwise. */
#ifndef CODECLLM_CODECLLM_H_
#define CODECLLM_CODECLLM_H_

#include <stdint.h>

#include "codecllm/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct codecllm_context codecllm_context;
typedef struct codecllm_model codecllm_model;
typedef struct codecllm_session codecllm_session;

CODECLLM_API const char* codecllm_version(void);
CODECLLM_API const char* codecllm_last_error(void);

/* threads 0: one per available CPU; 0 to 1024. */
CODECLLM_API codecllm_context* codecllm_context_new(int threads);
CODECLLM_API void codecllm_context_free(codecllm_context* context);

/* The context must outlive the model, the model its sessions. A model may be shared by threads. */
CODECLLM_API codecllm_model* codecllm_model_load(codecllm_context* context, const char* directory);
CODECLLM_API void codecllm_model_free(codecllm_model* model);

/* capacity 0: the model's trained length. A session belongs to one thread at a time. */
CODECLLM_API codecllm_session* codecllm_session_new(codecllm_model* model, int64_t capacity);
CODECLLM_API void codecllm_session_free(codecllm_session* session);

/* Goes on with the session's text: what was said and generated before stays in its capacity. Greedy where temperature is 0.
 * Returns the generated text, or NULL. */
CODECLLM_API const char* codecllm_generate(codecllm_session* session, const char* prompt, int64_t max_tokens,
                                           float temperature, uint64_t seed);

/* Returns 0, or a negative number. */
CODECLLM_API int codecllm_quantize(codecllm_context* context, const char* model, const char* output, const char* scheme);

#ifdef __cplusplus
}
#endif

#endif
