// Tensors of ONNX files, widened to the three element types of the graph.
#pragma once

#include <optional>
#include <string>

#include "engine/core/tensor.h"
#include "onnx/onnx.pb.h"

namespace actmatch::onnx_import {

inline constexpr int kMaxRank = 16;  // far above what image models use

// The graph's type for an ONNX element type (TensorProto::DataType); nothing for strings, complex numbers and unknown ones.
std::optional<DType> widened_type(int32_t onnx_type);
bool is_half(int32_t onnx_type);
std::string type_name(int32_t onnx_type);  // "FLOAT16", "type 99"

// Reads raw_data or the typed field; sizes are compared before anything is allocated. `where` names the tensor in messages.
// Throws kFormat when dims and data disagree, kUnsupported for element types and storage that are not read here.
Tensor read_tensor(const onnx::TensorProto& proto, const std::string& where);

// The first element that is not a number (or, with `infinite`, not finite), or -1.
int64_t find_non_finite(const Tensor& tensor, bool infinite);

}  // namespace actmatch::onnx_import
