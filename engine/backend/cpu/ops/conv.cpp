// Convolution: y = x * w + b, then the fused activation. Backward: dx = dy * w', dw = x * dy, db = sum dy.
#include "engine/backend/cpu/ops/conv_common.h"
#include "engine/backend/cpu/ops/conv_traits.h"
#include "engine/backend/cpu/ops/conv_winograd.h"

namespace actmatch::cpu {

void build_conv(Lowering& l) {
  if (has_instances(l.input_shape(1))) return build_conv_instances(l);
  if (build_conv_winograd(l)) return;
  const auto& a = std::get<ConvAttrs>(l.node().attrs);
  const Shape& w = l.input_shape(1);
  Shape dims = w;
  if (a.groups > 1) dims = {a.groups, w[0] / a.groups, w[1], w[2], w[3]};
  const ConvGeometry geometry{
      {a.strides[0], a.strides[1]}, {a.dilations[0] - 1, a.dilations[1] - 1}, {a.pads[0], a.pads[1]}, {a.pads[2], a.pads[3]}};
  // oneDNN insists that the padding matches the output exactly; ONNX lets a stride leave rows over. The end padding says it either way.
  ConvGeometry exact = geometry;
  for (size_t i = 0; i < 2; ++i) {
    const int64_t extent = (w[2 + i] - 1) * a.dilations[i] + 1;
    exact.pads_end[i] = (l.output_shape()[2 + i] - 1) * a.strides[i] + extent - l.input_shape(0)[2 + i] - a.pads[i];
  }
  ConvLikeStep<ConvTraits>::build(l, plain_desc(dims), dims, exact);
}

}  // namespace actmatch::cpu
