#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

void lower_where(NodeContext& c) { c.result(WhereAttrs{}, {c.input(0), c.input(1), c.input(2)}); }

}  // namespace actmatch::onnx_import
