// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <string>

#include "codec/encode_tensor.h"
#include "codecllm/error.h"
#include "kernels/transient_panels.h"
#include "kernels/matrix.h"

namespace codecllm {

CodeKind coding_of(Element element) {
  switch (element) {
    case Element::f32: return CodeKind::f32;
    case Element::f16: return CodeKind::f16;
    case Element::bf16: return CodeKind::bf16;
    case Element::u8: return CodeKind::integer;
    case Element::e4m3: return CodeKind::e4m3;
    default: throw Error(ErrorCode::unsupported, "matrix", "weights of 4 bits and E5M2 are not entropy-coded");
  }
}

Element element_of(CodeKind kind) {
  switch (kind) {
    case CodeKind::bf16: return Element::bf16;
    case CodeKind::f16: return Element::f16;
    case CodeKind::f32: return Element::f32;
    case CodeKind::e4m3: return Element::e4m3;
    default: return Element::u8;
  }
}

Matrix Matrix::from_coded(Buffer container, const CodedTensor& tensor, int64_t rows, int64_t columns, ScaleType scale_type,
                          const ErrorPlace& place, const void* scales) {
  if (tensor.header.rows != static_cast<uint64_t>(rows) || tensor.header.columns != static_cast<uint64_t>(columns))
    throw Error(ErrorCode::bad_input, "matrix",
                "coded as [" + std::to_string(tensor.header.rows) + ", " + std::to_string(tensor.header.columns) + "], expected [" +
                    std::to_string(rows) + ", " + std::to_string(columns) + "]", place);
  const Element element = element_of(tensor.header.shape.kind);
  const MatrixView view = {.element = element, .scale_type = scale_type, .rows = rows, .columns = columns, .group = columns, .data = nullptr, .scales = nullptr};
  if (tensor.view.panels != view.panels() || tensor.view.blocks != (columns + 3) / 4)
    throw Error(ErrorCode::bad_input, "matrix", "coded in panels of another shape than its rows and columns need", place);
  if (is_integer(element) && columns > kMaxIntColumns)
    throw Error(ErrorCode::unsupported, "matrix", "rows of " + std::to_string(columns) + " integer weights", place);
  Matrix out(view);
  out.data_ = std::move(container);
  out.coded_ = std::make_unique<CodedView>(tensor.view);
  out.view_.coded = out.coded_.get();
  if (scales != nullptr) std::memcpy(out.scales_.data(), scales, out.scales_.bytes());
  return out;
}

Matrix Matrix::decoded(ThreadPool& pool, const KernelTable& kernels) const {
  Matrix out(view_.element, rows(), columns(), columns(), view_.scale_type);
  out.view_.activation = view_.activation;
  if (scales_.bytes() > 0) std::memcpy(out.scales_.data(), scales_.data(), scales_.bytes());
  PanelScratch scratch;
  scratch.fit(view_, pool.threads());
  pool.parallel_for(static_cast<size_t>(view_.panels()), 4, [&](size_t begin, size_t end, int worker) {
    for_plain_panels(kernels, view_, 1, scratch.of(worker), static_cast<int64_t>(begin), static_cast<int64_t>(end),
                       [&](const MatrixView& part, int64_t row, int64_t first, int64_t last) {
                         std::memcpy(out.panel_data(row / kPanelRows + first), part.data, static_cast<size_t>((last - first) * part.panel_bytes()));
                       });
  });
  return out;
}

Buffer encode_matrix(ThreadPool& pool, const MatrixView& plain, CodeKind kind, Prefer prefer) {
  std::vector<uint8_t> bytes;
  encode_tensor(pool, {kind, static_cast<uint64_t>(plain.rows), static_cast<uint64_t>(plain.columns), plain.panels(), (plain.columns + 3) / 4, prefer},
                [&](int64_t panel, uint8_t* out) {
                  std::memcpy(out, plain.data + panel * plain.panel_bytes(), static_cast<size_t>(plain.panel_bytes()));
                  pad_panel(plain.element, std::min(kPanelRows, plain.rows - panel * kPanelRows), plain.columns, out);
                },
                [&](uint64_t offset, const void* data, size_t count) {
                  if (bytes.size() < offset + count) bytes.resize(offset + count);
                  std::memcpy(bytes.data() + offset, data, count);
                });
  Buffer out(bytes.size());
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

Matrix encoded(ThreadPool& pool, const Matrix& plain, std::optional<CodeKind> of_rate) {
  const MatrixView& from = plain.view();
  if (is_scaled(from.element) && (from.groups() != 1 || from.zeros != nullptr || from.order != nullptr))
    throw Error(ErrorCode::unsupported, "matrix", "only codes with one scale per row are entropy-coded");
  Buffer container = encode_matrix(pool, from, of_rate.value_or(coding_of(from.element)), of_rate ? Prefer::bytes : Prefer::speed);
  const CodedTensor opened = open_coded(container.as<const uint8_t>(), "", "");
  return Matrix::from_coded(std::move(container), opened, from.rows, from.columns, from.scale_type, {}, from.scales);
}

}  // namespace codecllm
