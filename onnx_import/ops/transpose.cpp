#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {

void lower_transpose(NodeContext& c) {
  const ValueId x = c.input(0);
  TransposeAttrs attrs{c.attributes.integers("perm")};
  if (attrs.perm.empty())
    for (int64_t axis = c.rank(x); axis-- > 0;) attrs.perm.push_back(axis);
  c.result(std::move(attrs), {x});
}

}  // namespace actmatch::onnx_import
