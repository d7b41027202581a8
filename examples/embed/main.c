/* SPDX-License-Identifier: Apache-2.0
 * The same from C, without quantizing. Usage: embed_c MODEL */
#include <codecllm/codecllm.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: embed_c MODEL\n");
    return 2;
  }
  codecllm_context* context = codecllm_context_new(0);
  codecllm_model* model = context ? codecllm_model_load(context, argv[1]) : NULL;
  codecllm_session* session = model ? codecllm_session_new(model, 0) : NULL;
  const char* text = session ? codecllm_generate(session, "The capital of France is", 4, 0.0f, 0) : NULL;
  if (text) {
    printf("codecllm %s: The capital of France is%s\n", codecllm_version(), text);
  } else {
    fprintf(stderr, "%s\n", codecllm_last_error());
  }
  codecllm_session_free(session);
  codecllm_model_free(model);
  codecllm_context_free(context);
  return text ? 0 : 1;
}
