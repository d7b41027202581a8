// SPDX-License-Identifier: Apache-2.0
#include "kernels/matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "codecllm/error.h"
#include "format/float8.h"
#include "format/plain_float.h"
#include "kernels/dispatch.h"
#include "kernels/transient_panels.h"

namespace codecllm {

static MatrixView checked_view(Element element, int64_t rows, int64_t columns, int64_t group, ScaleType scale_type) {
  if (is_integer(element) && columns > kMaxIntColumns)
    throw Error(ErrorCode::unsupported, "matrix",
                "rows of " + std::to_string(columns) + " integer weights; at most " + std::to_string(kMaxIntColumns));
  if (is_scaled(element) && group != columns && (group <= 0 || group % 32 != 0))
    throw Error(ErrorCode::unsupported, "matrix", "groups of " + std::to_string(group) + "; a multiple of 32 expected");
  return {.element = element, .scale_type = scale_type, .rows = rows, .columns = columns, .group = group, .data = nullptr, .scales = nullptr};
}

Matrix::Matrix(const MatrixView& view) : view_(view) {
  if (!is_scaled(view_.element)) return;
  scales_ = Buffer(static_cast<size_t>(view_.panels() * view_.groups() * kPanelRows * scale_bytes(view_.scale_type)));
  view_.scales = scales_.data();
}

Matrix::Matrix(Element element, int64_t rows, int64_t columns, int64_t group, ScaleType scale_type)
    : Matrix(checked_view(element, rows, columns, group, scale_type)) {
  data_ = Buffer(static_cast<size_t>(view_.panels() * view_.panel_bytes()));
  view_.data = data_.as<uint8_t>().data();
}

Matrix Matrix::from_rows(const StoredRows& stored, Element element, int64_t rows, int64_t columns, int64_t group, ScaleType scale_type) {
  Matrix out(checked_view(element, rows, columns, group, scale_type));
  out.stored_ = std::make_unique<StoredRows>(stored);
  out.view_.stored = out.stored_.get();
  return out;
}

struct Matrix::Outliers {
  std::vector<int32_t> columns;
  Matrix weight;
  OutlierView view;
};

size_t Matrix::mapped_bytes() const {
  if (stored_ != nullptr) return static_cast<size_t>(view_.rows * stored_->row_bytes);
  return coded_ != nullptr ? container_bytes(*coded_) - data_.bytes() : 0;  // all but what is held
}

size_t Matrix::bytes() const {
  const size_t own = mapped_bytes() + data_.bytes() + scales_.bytes() + zeros_.bytes() + code_sums_.bytes() + order_.size() * sizeof(int32_t);
  return outliers_ == nullptr ? own : own + outliers_->weight.bytes() + outliers_->columns.size() * sizeof(int32_t);
}

void Matrix::set_outliers(std::vector<int32_t> columns, Matrix weight) {
  const auto fail = [](const std::string& what) { throw Error(ErrorCode::bad_input, "matrix", what); };
  if (weight.rows() != rows() || weight.columns() != static_cast<int64_t>(columns.size()) || is_scaled(weight.view().element))
    fail("outlier columns of another shape or kind than the matrix needs");
  for (size_t i = 0; i < columns.size(); ++i)
    if (columns[i] < 0 || columns[i] >= this->columns() || (i > 0 && columns[i] <= columns[i - 1]))
      fail("outlier column " + std::to_string(columns[i]) + ", expected ascending numbers below " + std::to_string(this->columns()));
  if (view_.activation.mode == ActivationMode::a8_tensor) fail("outlier columns beside a scale for all rows; give one per token");
  auto held = std::make_shared<Outliers>(Outliers{std::move(columns), std::move(weight), {}});
  held->view = {held->columns.data(), held->weight.view()};
  outliers_ = held;
  view_.outliers = &outliers_->view;
}

uint8_t* Matrix::panel_data(int64_t panel) { return data_.as<uint8_t>().data() + panel * view_.panel_bytes(); }

// The byte of a panel in which an element begins; 4-bit ones share it with the one four columns on.
static int64_t byte_of(Element element, int64_t k, int64_t lane) {
  const int64_t line = k / traits(element).line_columns * kLineBytes;
  switch (element) {
    case Element::f32: return line + lane * 4;
    case Element::f16: return line + (k % 2 * kPanelRows + lane) * 2;
    case Element::bf16: return line + (lane * 2 + k % 2) * 2;
    case Element::e4m3:
    case Element::e5m2: return line + k % 4 / 2 * 32 + lane * 2 + k % 2;
    default: return line + lane * 4 + k % 4;
  }
}

static int code_of(Element element, int byte, int64_t k) { return element == Element::u8 ? byte : byte >> (k % 8 < 4 ? 0 : 4) & 15; }

void Matrix::set_panel(int64_t panel, FloatRows rows, DType type) {
  const bool same = element_of(type) == view_.element;
  const auto bytes = static_cast<size_t>(traits(view_.element).bits / 8);
  for (size_t lane = 0; lane < rows.size(); ++lane) {
    for (int64_t k = 0; k < view_.columns; ++k) {
      uint8_t* to = panel_data(panel) + byte_of(view_.element, k, static_cast<int64_t>(lane));
      if (same) {
        std::memcpy(to, static_cast<const char*>(rows[lane]) + k * bytes, bytes);
        continue;
      }
      const float value = load_float(rows[lane], k, type);
      if (view_.element == Element::f32) {
        std::memcpy(to, &value, bytes);
      } else {
        const uint16_t bits = view_.element == Element::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
        std::memcpy(to, &bits, bytes);
      }
    }
  }
}

void pad_panel(Element element, int64_t rows, int64_t columns, uint8_t* panel) {
  const int64_t blocks = (columns + 3) / 4, bytes = traits(element).bits / 8;
  const uint32_t exponent = element == Element::f32 ? 0x7F800000 : element == Element::f16 ? 0x7C00 : element == Element::bf16 ? 0x7F80 : 0x78;
  const auto pad = [&](int64_t k, int64_t lane) {
    uint32_t value = 0;
    std::memcpy(&value, panel + byte_of(element, std::min(k, columns - 1), lane % rows), static_cast<size_t>(bytes));
    if (!is_integer(element)) value = (value & exponent) == exponent && bytes > 1 ? 0 : value & exponent;  // finite, above zero
    std::memcpy(panel + byte_of(element, k, lane), &value, static_cast<size_t>(bytes));
  };
  for (int64_t k = 0; k < blocks * 4; ++k)
    for (int64_t lane = k < columns ? rows : 0; lane < kPanelRows; ++lane) pad(k, lane);
}

void Matrix::set_float8_panel(int64_t panel, CodeRows rows) {
  for (size_t lane = 0; lane < rows.size(); ++lane)
    for (int64_t k = 0; k < view_.columns; ++k) {
      const auto code = static_cast<uint8_t>(rows[lane][k]);
      panel_data(panel)[byte_of(view_.element, k, static_cast<int64_t>(lane))] = code;
      if (view_.element == Element::e4m3 && (code & 0x7F) == 0x7F)
        set_scale(panel * kPanelRows + static_cast<int64_t>(lane), k / view_.group, std::numeric_limits<float>::quiet_NaN());
    }
}

void Matrix::set_panel(int64_t panel, CodeRows rows) {
  if (is_float8(view_.element)) return set_float8_panel(panel, rows);
  const int offset = traits(view_.element).offset;
  for (size_t lane = 0; lane < rows.size(); ++lane) {
    const int8_t* codes = rows[lane];
    if (view_.element == Element::u8) {
      for (int64_t k = 0; k < view_.columns; ++k)
        panel_data(panel)[byte_of(Element::u8, k, static_cast<int64_t>(lane))] = static_cast<uint8_t>(codes[source_column(k)] + offset);
    } else {
      for (int64_t k = 0; k < view_.columns; ++k) {
        const int shift = k % 8 < 4 ? 0 : 4;
        uint8_t& byte = panel_data(panel)[byte_of(Element::u4, k, static_cast<int64_t>(lane))];
        byte = static_cast<uint8_t>((byte & ~(15 << shift)) | (codes[source_column(k)] + offset) << shift);
      }
    }
  }
}

void Matrix::set_panel(int64_t panel, const StoredRows& stored, const KernelTable& kernels) {
  MatrixView rows = view_;
  rows.stored = &stored;
  kernels.lay_out_panel(rows, panel, panel_data(panel));
}

static int64_t index_of_scale(const MatrixView& w, int64_t row, int64_t group) {
  return (row / kPanelRows * w.groups() + group) * kPanelRows + row % kPanelRows;
}

void Matrix::set_scale(int64_t row, int64_t group, float scale) {
  const int64_t at = index_of_scale(view_, row, group);
  switch (view_.scale_type) {
    case ScaleType::f32: scales_.as<float>()[at] = scale; break;
    case ScaleType::bf16: scales_.as<uint16_t>()[at] = f32_to_bf16(scale); break;
    case ScaleType::f16: scales_.as<uint16_t>()[at] = f32_to_f16(scale); break;
  }
}

void Matrix::add_zeros() {
  zeros_ = Buffer(static_cast<size_t>(view_.panels() * view_.groups() * kPanelRows));
  std::memset(zeros_.data(), traits(view_.element).offset, zeros_.bytes());
  view_.zeros = zeros_.as<uint8_t>().data();
}

void Matrix::set_zero(int64_t row, int64_t group, int zero) {
  const int stored = zero + traits(view_.element).offset;
  if (stored < 0 || stored > std::min(255, 2 * traits(view_.element).offset))
    throw Error(ErrorCode::bad_input, "matrix", "zero point " + std::to_string(zero) + " is outside the codes' range");
  zeros_.as<uint8_t>()[index_of_scale(view_, row, group)] = static_cast<uint8_t>(stored);
}

void Matrix::set_order(std::vector<int32_t> order) {
  if (view_.data == nullptr) throw Error(ErrorCode::unsupported, "matrix", "columns in another order, of weights that are not laid out in memory");
  order_ = std::move(order);
  view_.order = order_.data();
}

static int zero_of(const MatrixView& w, int64_t row, int64_t group) {
  return w.zeros == nullptr ? traits(w.element).offset : w.zeros[index_of_scale(w, row, group)];
}

// Unsigned, of data column k.
static int stored_code(const MatrixView& w, int64_t row, int64_t k) {
  return code_of(w.element, w.data[row / kPanelRows * w.panel_bytes() + byte_of(w.element, k, row % kPanelRows)], k);
}

void Matrix::set_activation(const ActivationScheme& scheme) {
  if (scheme.mode == ActivationMode::a8_fixed && !(scheme.scale >= kSmallestActivation && scheme.scale < INFINITY))
    throw Error(ErrorCode::bad_input, "matrix",
                "activation scale " + std::to_string(scheme.scale) + ", expected a positive finite number");
  if (scheme.mode == ActivationMode::a8_group && is_integer(view_.element))
    throw Error(ErrorCode::unsupported, "matrix", "INT8 activations in groups are not in this version; use one scale per token");
  if (scheme.threshold != 0 && (!is_integer(view_.element) || view_.groups() != 1 || view_.zeros != nullptr || view_.order != nullptr || view_.data == nullptr))
    throw Error(ErrorCode::unsupported, "matrix", "outlier features are taken out of symmetric integers with one scale per row, laid out in memory, only");
  if (scheme.mode == ActivationMode::a8_tensor && (scheme.threshold != 0 || view_.outliers != nullptr))
    throw Error(ErrorCode::unsupported, "matrix", "outlier features go with one scale per token or a given one, not with one for all rows");
  if (!is_scaled(view_.element)) return;
  if (scheme.asymmetric) {
    if (!is_integer(view_.element) || view_.data == nullptr || (scheme.mode != ActivationMode::a8_token && scheme.mode != ActivationMode::a8_fixed))
      throw Error(ErrorCode::unsupported, "matrix", "asymmetric activations are INT8, with one scale per token or a given one, of weights that are laid out in memory");
    if (scheme.zero < -127 || scheme.zero > 127)
      throw Error(ErrorCode::bad_input, "matrix", "activation zero point " + std::to_string(scheme.zero) + ", expected -127 to 127");
    add_code_sums();
  }
  view_.activation = scheme;
}

void Matrix::add_code_sums() {
  code_sums_ = Buffer(static_cast<size_t>(view_.panels() * view_.groups() * kPanelRows) * sizeof(int32_t));
  const auto sums = code_sums_.as<int32_t>();
  std::fill(sums.begin(), sums.end(), 0);
  for (int64_t row = 0; row < view_.rows; ++row)
    for (int64_t k = 0; k < view_.columns; ++k) sums[index_of_scale(view_, row, k / view_.group)] += stored_code(view_, row, k) - zero_of(view_, row, k / view_.group);
  view_.code_sums = sums.data();
}

Element element_of(DType type) {
  switch (type) {
    case DType::f32: return Element::f32;
    case DType::f16: return Element::f16;
    case DType::bf16: return Element::bf16;
    default: throw Error(ErrorCode::unsupported, "matrix", std::string(dtype_name(type)) + " is no plain weight type");
  }
}

Element element_of(const QuantArgs& args) {
  if (args.type == NumberType::integer) return args.num_bits <= 4 ? Element::u4 : Element::u8;
  return args.type == NumberType::floating ? Element::e4m3 : Element::e5m2;
}

ScaleType scale_type_of(DType type) {
  if (type == DType::f32) return ScaleType::f32;
  return type == DType::f16 ? ScaleType::f16 : ScaleType::bf16;
}

float scale_of(const MatrixView& w, int64_t row, int64_t group) {
  const int64_t at = index_of_scale(w, row, group);
  if (w.scale_type == ScaleType::f32) return static_cast<const float*>(w.scales)[at];
  const uint16_t bits = static_cast<const uint16_t*>(w.scales)[at];
  return w.scale_type == ScaleType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

void read_row(const MatrixView& w, int64_t row, float* out) { read_row(w, row, out, kernels_for(Isa::reference)); }

void read_row(const MatrixView& w, int64_t row, float* out, const KernelTable& kernels) {
  thread_local std::vector<uint8_t> made;
  const uint8_t* panel;
  if (w.data != nullptr) {
    panel = w.data + row / kPanelRows * w.panel_bytes();
  } else {
    made.resize(static_cast<size_t>(made_bytes(w)));
    panel = made.data();
    make_panel(kernels, w, row / kPanelRows, made.data());
  }
  const int64_t lane = row % kPanelRows;
  for (int64_t k = 0; k < w.columns; ++k) {
    const uint8_t* at = panel + byte_of(w.element, k, lane);
    switch (w.element) {
      case Element::f32: out[k] = load_float(at, 0, DType::f32); break;
      case Element::bf16: out[k] = load_float(at, 0, DType::bf16); break;
      case Element::f16: out[k] = load_float(at, 0, DType::f16); break;
      case Element::e4m3:
      case Element::e5m2:
        out[k] = scale_of(w, row, k / w.group) * float8_to_f32(*at, w.element == Element::e4m3 ? kE4m3 : kE5m2);
        break;
      case Element::u8:
      case Element::u4: {
        const int code = code_of(w.element, *at, k);
        const int64_t group = k / w.group, input = w.order == nullptr ? k : w.order[k];
        out[input] = scale_of(w, row, group) * static_cast<float>(code - zero_of(w, row, group));
        break;
      }
    }
  }
  if (w.outliers == nullptr) return;
  std::vector<float> values(static_cast<size_t>(w.outliers->weight.columns));
  read_row(w.outliers->weight, row, values.data(), kernels);
  for (size_t i = 0; i < values.size(); ++i) out[w.outliers->columns[i]] = values[i];
}

}  // namespace codecllm
