// SPDX-License-Identifier: Apache-2.0
// Decoders of single blocks, for the table in ggml.cc.
#pragma once

#include <cstdint>

namespace codecllm {

void ggml_f32(const uint8_t* block, float* out);
void ggml_f16(const uint8_t* block, float* out);
void ggml_bf16(const uint8_t* block, float* out);
void ggml_q4_0(const uint8_t* block, float* out);
void ggml_q4_1(const uint8_t* block, float* out);
void ggml_q5_0(const uint8_t* block, float* out);
void ggml_q5_1(const uint8_t* block, float* out);
void ggml_q8_0(const uint8_t* block, float* out);
void ggml_q2_k(const uint8_t* block, float* out);
void ggml_q3_k(const uint8_t* block, float* out);
void ggml_q4_k(const uint8_t* block, float* out);
void ggml_q5_k(const uint8_t* block, float* out);
void ggml_q6_k(const uint8_t* block, float* out);

}  // namespace codecllm
