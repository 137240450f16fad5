#include "onnx_import/initializers.h"
#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

void lower_to(NodeContext& c, DType to) {
  c.attributes.ignore("saturate");                            // of 8-bit floats, which are not read
  if (c.dtype(c.input(0)) == to) return c.alias(c.input(0));  // between float types, or between integer types
  c.result(CastAttrs{to}, {c.input(0)});
}

}  // namespace

void lower_cast(NodeContext& c) {
  const auto to = static_cast<int32_t>(c.attributes.integer("to", 0, 0));
  const auto dtype = widened_type(to);
  if (!dtype) throw Unsupported("casts to " + type_name(to) + " are not supported");
  lower_to(c, *dtype);
}

void lower_cast_like(NodeContext& c) { lower_to(c, c.dtype(c.input(1))); }

}  // namespace actmatch::onnx_import
