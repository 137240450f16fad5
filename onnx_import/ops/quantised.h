// Quantised operators in their float form: integers that stand for reals become these reals, and the rounding to integers is left out,
// since it has no useful gradient. Where the file has integers that it quantised itself, the graph has floats; a value of floats therefore
// is its own dequantised form. What stays of quantising is the clipping to the range of the integers, which networks use in place of ReLU.
#pragma once

#include "onnx_import/node_context.h"

namespace actmatch::onnx_import {

// Scale and zero point are inputs of the node (no_input where left out); `axis` is that of a list of scales.
inline constexpr size_t kNoInput = static_cast<size_t>(-1);

// The reals that input `x` stands for. `block`: elements along the axis that share a scale where the scales have the rank of x, 0
// otherwise.
ValueId dequantised(NodeContext& c, size_t x, size_t scale, size_t zero_point, int64_t axis = 1, int64_t block = 0);
// The integers less their zero point, as floats; without a scale.
ValueId centred(NodeContext& c, size_t x, size_t zero_point, int64_t axis);
// Ends the lowering with x clipped to what integers of the zero point's type (of `type` where there is none) can stand for.
void quantised_result(NodeContext& c, ValueId x, size_t scale, size_t zero_point, int64_t axis = 1, int32_t type = 0);
// Says once that the model is quantised.
void note_quantisation(NodeContext& c);

}  // namespace actmatch::onnx_import
