// SPDX-License-Identifier: Apache-2.0
// The steps that products with one weight and with many (linear, linear_grouped) are made of: room for inputs as a weight
// takes them, a few rows put there, and the product of such rows with some panels.
#pragma once

#include "kernels/linear.h"

namespace codecllm {

// Rows as a weight takes them: of the three the one that its element asks for.
struct LinearInputs {
  int64_t rows = 0;
  IntActivations integers = {};
  ScaledActivations scaled = {};
  FloatRows floats = {};
};

// The scale that the weight's activation scheme has for all of these rows; 0 where every row has its own.
float given_scale(ThreadPool& pool, const KernelTable& kernels, std::vector<float>& room, const float* x, int64_t x_stride,
                  int64_t rows, const MatrixView& w);

// Room for `rows` rows, to be filled.
IntActivations integer_room(IntegerScratch& scratch, int64_t rows, const MatrixView& w);
ScaledActivations float8_room(const KernelTable& kernels, LinearScratch& scratch, int64_t rows, const MatrixView& w);

// The tile of `rows` rows of x becomes the rows from `place` on.
void put_integers(const KernelTable& kernels, IntegerScratch& scratch, const MatrixView& w, const float* x, int64_t x_stride,
                  int64_t rows, int64_t place, float given);
void put_float8(const KernelTable& kernels, LinearScratch& scratch, const ScaledActivations& room, const MatrixView& w, const float* x,
                int64_t x_stride, int64_t rows, int64_t place, float given);
void put_floats(const KernelTable& kernels, Element weight, const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* tile);

// Whether float rows need not be put anywhere: products with such weights read them where they are.
bool as_they_are(const KernelTable& kernels, Element weight, int64_t rows);

// y [rows, y_stride] of panels [begin, end). room: a thread's own (PanelScratch), where panels that are coded are decoded.
void multiply(const KernelTable& kernels, const MatrixView& w, const LinearInputs& x, uint8_t* room, float* y, int64_t y_stride,
              int64_t begin, int64_t end);

// Panels of a task: few enough to share `panels` evenly, enough that a task's cost hides the counter's.
int64_t panel_grain(const LinearScratch& scratch, int64_t panels, int threads);

}  // namespace codecllm
