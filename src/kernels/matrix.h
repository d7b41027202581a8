// SPDX-License-Identifier: Apache-2.0
// A weight matrix in the kernels' own order, coded, or where a mapped file has it; this is the only copy kept in memory.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "codec/container.h"
#include "codecllm/error.h"
#include "format/dtype.h"
#include "format/scheme.h"
#include "kernels/views.h"

namespace codecllm {

struct KernelTable;

class Matrix {
 public:
  Matrix() = default;
  // Zeroed. group: columns that share a scale, a multiple of 32 below `columns` or `columns` itself; ignored for plain
  // floats. Throws Error(unsupported) for integer rows longer than kMaxIntColumns.
  Matrix(Element element, int64_t rows, int64_t columns, int64_t group, ScaleType scale_type);

  // Weights that stay where a mapped file has them, for as long as this lives, laid out panel by panel for each product; else
  // as the constructor, and no set_panel. A matrix like this takes no order, outlier threshold or asymmetric activations.
  static Matrix from_rows(const StoredRows& stored, Element element, int64_t rows, int64_t columns, int64_t group, ScaleType scale_type);

  // Entropy-coded weights, kept as they are; integers and 8-bit floats have one scale per row: `scales` as MatrixView has
  // them, or null and then set_scale. Takes the container's bytes, those before the panels where these are mapped and stay, and
  // what open_coded says of them; throws Error for a container of another shape.
  static Matrix from_coded(Buffer container, const CodedTensor& opened, int64_t rows, int64_t columns, ScaleType scale_type,
                           const ErrorPlace& place, const void* scales = nullptr);

  // The same weights decoded, for the kernels of plain matrices; this one must be coded.
  Matrix decoded(ThreadPool& pool, const KernelTable& kernels) const;

  const MatrixView& view() const { return view_; }
  int64_t rows() const { return view_.rows; }
  int64_t columns() const { return view_.columns; }
  size_t bytes() const;         // all that there is, in memory or mapped
  size_t mapped_bytes() const;  // of these, in a mapped file

  // Sixteen rows (fewer in the last panel) as the source stores them. Panels may be written from several threads.
  using FloatRows = std::span<const void* const>;  // each [columns] of `type`, f32, bf16 or f16; converted if need be
  void set_panel(int64_t panel, FloatRows rows, DType type);
  // Each [columns], signed codes that fit the element, or the bits of 8-bit floats. E4M3's NaN, which the kernels do not
  // know, makes the scale of its group NaN, so scales are set before.
  using CodeRows = std::span<const int8_t* const>;
  void set_panel(int64_t panel, CodeRows rows);
  // The panel's rows of all that a file has, of codes without E4M3's NaN; kernels: to lay them out with. No order of columns.
  void set_panel(int64_t panel, const StoredRows& stored, const KernelTable& kernels);
  void set_scale(int64_t row, int64_t group, float scale);  // rounded to scale_type

  // Integers that are not symmetric: a weight is (code - zero) * scale. To be called before any set_zero; all are 0 then.
  void add_zeros();
  // In signed codes, the offset's range and one above (GPTQ files hold it). Throws Error(bad_input) beyond.
  void set_zero(int64_t row, int64_t group, int zero);

  // Columns whose groups are not consecutive: data column k holds input order[k]. To be called before set_panel, whose
  // rows stay in the order of the inputs.
  void set_order(std::vector<int32_t> order);

  // Columns (ascending) of integers that are multiplied in floating point; `weight` [rows, columns.size()] holds them, and
  // their codes should stand for 0. Throws Error(bad_input) for columns that are not ascending or beyond the matrix.
  void set_outliers(std::vector<int32_t> columns, Matrix weight);

  // Throws Error(bad_input) for a8_fixed with a scale that is not positive and finite, Error(unsupported) for integers in
  // groups, and for a threshold where rows have several scales or zero points. No effect on plain floats. Asymmetric: to be
  // called when the codes are there.
  void set_activation(const ActivationScheme& scheme);

 private:
  explicit Matrix(const MatrixView& view);  // with scales, where such an element has them, and nothing else

  void set_float8_panel(int64_t panel, CodeRows rows);
  void add_code_sums();
  uint8_t* panel_data(int64_t panel);

  MatrixView view_ = {};
  int64_t source_column(int64_t k) const { return view_.order == nullptr ? k : view_.order[k]; }

  Buffer data_, scales_, zeros_, code_sums_;
  std::vector<int32_t> order_;
  std::unique_ptr<CodedView> coded_;  // into data_, or mapped
  std::unique_ptr<StoredRows> stored_;
  struct Outliers;
  std::shared_ptr<const Outliers> outliers_;
};

// The element that holds this file type unchanged, or the codes of a scheme.
Element element_of(DType type);
Element element_of(const QuantArgs& args);
// The type that holds scales of a file's type exactly (powers of two are BF16).
ScaleType scale_type_of(DType type);

// The kind that codes the element as it is, and the element that a kind decodes to.
CodeKind coding_of(Element element);
Element element_of(CodeKind kind);

// Fills what coded blocks of four columns have beyond a panel's rows and columns with what codes as well as the rest: codes that
// are there, or of floats their exponents, since what is beyond the columns is multiplied by zero. Elements that are coded only.
void pad_panel(Element element, int64_t rows, int64_t columns, uint8_t* panel);

// Plain weights coded as they are, as coding_of the element or, of a rate, as the kind. Integers and 8-bit floats: one scale per row.
Buffer encode_matrix(ThreadPool& pool, const MatrixView& plain, CodeKind kind, Prefer prefer = Prefer::speed);
Matrix encoded(ThreadPool& pool, const Matrix& plain, std::optional<CodeKind> of_rate = {});

// The scale of a row and group of integers or 8-bit floats.
float scale_of(const MatrixView& w, int64_t row, int64_t group);
// One row as float, dequantized; out [columns]. kernels: to make its panel with, of coded or stored weights; by default plain loops.
void read_row(const MatrixView& w, int64_t row, float* out, const KernelTable& kernels);
void read_row(const MatrixView& w, int64_t row, float* out);

}  // namespace codecllm
