// An ONNX file without what is large in it. The weights are most of a file: they are passed over where they lie and read later, straight
// into the tensors that need them. So a file may be larger than protobuf's 2 GB, and is never in memory twice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "onnx/onnx.pb.h"
#include "onnx_import/byte_source.h"

namespace actmatch::onnx_import {

// Bytes of the source that hold the elements of a tensor, little-endian and without gaps.
struct Stretch {
  uint64_t offset = 0, length = 0;
  bool floats = false;  // of the list of floats, not of raw data
};

// Fields that onnx.proto has gained over the years are put where an older one has room: an overload (of a node or function) in doc_string,
// which is not read for anything else, and the default attributes of a function in nodes of the operator kDefaultsOp.
inline constexpr const char* kDefaultsOp = "#defaults";

struct Skeleton {
  std::string bytes;  // a ModelProto: documentation, shapes of inner values and data longer than a few kilobytes are left out
  std::vector<Stretch> stretches;
};

// Throws kFormat where the encoding is damaged, kUnsupported past the limits on nodes, tensors and depth; `path` names the file.
Skeleton read_skeleton(const ByteSource& source, const std::string& path);

// The stretch of the skeleton that a tensor's data was left out for, or null.
const Stretch* stretch_of(const onnx::TensorProto& tensor, const std::vector<Stretch>& stretches);

}  // namespace actmatch::onnx_import
