// A convolution of the graph in the forms that the kernels and the library want.
#pragma once

#include "engine/backend/cuda/conv_key.h"
#include "engine/graph/op.h"
#include "kernels/conv.h"
#include "kernels/depthwise.h"

namespace actmatch::cuda {

// x, w, y in the graph's order of axes; w may have instances in front.
kernels::ConvShape kernel_shape(const ConvAttrs& attrs, const Shape& x, const Shape& w, const Shape& y);
// Of the convolution whose gradient the transposed one is: its x is our result, its y our input.
kernels::ConvShape kernel_shape(const ConvTransposeAttrs& attrs, const Shape& x, const Shape& w, const Shape& y);

// The same for plans; w has no instances.
ConvShape library_shape(const ConvAttrs& attrs, const Shape& x, const Shape& w);
ConvShape library_shape(const ConvTransposeAttrs& attrs, const Shape& w, const Shape& y);

bool is_depthwise(const ConvAttrs& attrs, const Shape& x, const Shape& w);  // what kernels/depthwise.h does
kernels::DepthwiseShape depthwise_shape(const ConvAttrs& attrs, const Shape& x, const Shape& y);

}  // namespace actmatch::cuda
