// Tensors of ONNX files, widened to the three element types of the graph.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/core/tensor.h"
#include "onnx/onnx.pb.h"
#include "onnx_import/byte_source.h"
#include "onnx_import/skeleton.h"

namespace actmatch::onnx_import {

inline constexpr int kMaxRank = 16;  // far above what image models use

// The graph's type for an ONNX element type (TensorProto::DataType) that values can have; nothing for strings, complex numbers, types of
// less than 16 bits that round or saturate, and unknown ones.
std::optional<DType> widened_type(int32_t onnx_type);
// The same for tensors that are only read: those of 4 and 8 bits too.
std::optional<DType> stored_type(int32_t onnx_type);
bool is_half(int32_t onnx_type);
bool is_small_integer(int32_t onnx_type);  // of at most 8 bits
std::string type_name(int32_t onnx_type);  // "FLOAT16", "type 99"

// Reads raw_data or the typed field; sizes are compared before anything is allocated. `where` names the tensor in messages.
// Throws kFormat when dims and data disagree, kUnsupported for element types and storage that are not read here.
Tensor read_tensor(const onnx::TensorProto& proto, const std::string& where);
// A tensor given by its elements that are not zero. Throws as read_tensor does, and kUnsupported where the whole is too large to be filled
// in.
Tensor read_sparse_tensor(const onnx::SparseTensorProto& proto, const std::string& where);

// A tensor whose elements lie in a file as they would in raw_data.
struct StoredTensor {
  int32_t type = 0;  // of ONNX
  DType dtype = DType::kF32;
  Shape shape;
  std::shared_ptr<const ByteSource> source;
  uint64_t offset = 0;
};

// Bytes that so many elements of a type take; 0 for types that are not read.
uint64_t stored_bytes(int32_t onnx_type, int64_t count);
// Type and shape, checked as read_tensor does; source and offset are left open.
StoredTensor describe_tensor(const onnx::TensorProto& proto, const std::string& where);
// The tensor for a stretch of the file that it lies in; throws kFormat where the length is not that of its elements.
StoredTensor stored_tensor(const onnx::TensorProto& proto, const Stretch& stretch, std::shared_ptr<const ByteSource> source,
                           const std::string& where);
// The elements, as `as` (the type's own, or kF32).
Tensor read_stored(const StoredTensor& stored, DType as);

// The first element that is not a number (or, with `infinite`, not finite), or -1.
int64_t find_non_finite(const Tensor& tensor, bool infinite);
// The first element of a stored tensor of floats that is not finite, or -1; a part at a time, without keeping any.
int64_t find_non_finite(const StoredTensor& stored);

}  // namespace actmatch::onnx_import
