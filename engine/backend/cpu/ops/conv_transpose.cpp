// Transposed convolution: the backward pass of a convolution with respect to its input, run forward.
#include <utility>

#include "engine/backend/cpu/ops/conv_common.h"
#include "engine/backend/cpu/ops/conv_traits.h"

namespace actmatch::cpu {

std::string conv_transpose_unsupported(const Graph& graph, const Node& node) {
  for (ValueId input : node.inputs)
    if (input != kNoValue && graph.value(input).dtype != DType::kF32) return "integers that depend on the input";
  const auto& a = std::get<ConvTransposeAttrs>(node.attrs);
  // oneDNN takes such rows for another input position.
  for (size_t i = 0; i < 2; ++i)
    if (a.output_padding[i] - a.pads[2 + i] > a.strides[i])
      return "output padding " + std::to_string(a.output_padding[i]) +
             " reaches more than a stride past the last kernel; pad the result instead";
  return {};
}

void build_conv_transpose(Lowering& l) {
  if (has_instances(l.input_shape(1))) return build_conv_instances(l);
  const auto& a = std::get<ConvTransposeAttrs>(l.node().attrs);
  const Shape& w = l.input_shape(1);  // C x K/g x R x S: oneDNN wants the output channels first, over the same bytes
  Shape shape = w;
  if (a.groups > 1) shape = {a.groups, w[0] / a.groups, w[1], w[2], w[3]};
  Shape dims = shape;
  std::swap(dims[dims.size() - 4], dims[dims.size() - 3]);
  ConvGeometry geometry{{a.strides[0], a.strides[1]}, {a.dilations[0] - 1, a.dilations[1] - 1}, {a.pads[0], a.pads[1]}, {0, 0}};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t extent = (w[2 + i] - 1) * a.dilations[i] + 1;
    geometry.pads_end[i] = (l.input_shape(0)[2 + i] - 1) * a.strides[i] + extent - l.output_shape()[2 + i] - a.pads[i];
  }
  ConvLikeStep<DeconvTraits>::build(l, swapped_weights_desc(shape), dims, geometry);
}

}  // namespace actmatch::cpu
