#include "engine/backend/cuda/ops/conv_shapes.h"

namespace actmatch::cuda {

namespace {

template <class Attrs>
void set_window(kernels::ConvShape& s, const Attrs& attrs, const Shape& w) {
  s.R = w[w.size() - 2];
  s.S = w[w.size() - 1];
  s.stride_h = attrs.strides[0];
  s.stride_w = attrs.strides[1];
  s.pad_top = attrs.pads[0];
  s.pad_left = attrs.pads[1];
  s.dilation_h = attrs.dilations[0];
  s.dilation_w = attrs.dilations[1];
  s.groups = attrs.groups;
  s.instances = instances_of(w);
}

}  // namespace

kernels::ConvShape kernel_shape(const ConvAttrs& attrs, const Shape& x, const Shape& w, const Shape& y) {
  kernels::ConvShape s;
  set_window(s, attrs, w);
  s.N = x[0], s.C = x[1], s.H = x[2], s.W = x[3];
  s.K = y[1], s.P = y[2], s.Q = y[3];
  return s;
}

kernels::ConvShape kernel_shape(const ConvTransposeAttrs& attrs, const Shape& x, const Shape& w, const Shape& y) {
  kernels::ConvShape s;
  set_window(s, attrs, w);
  s.N = y[0], s.C = y[1], s.H = y[2], s.W = y[3];
  s.K = x[1], s.P = x[2], s.Q = x[3];
  return s;
}

ConvShape library_shape(const ConvAttrs& attrs, const Shape& x, const Shape& w) {
  return {x[0], x[1], x[2], x[3], w[0], w[2], w[3], attrs.strides, attrs.pads, attrs.dilations, attrs.groups};
}

ConvShape library_shape(const ConvTransposeAttrs& attrs, const Shape& w, const Shape& y) {
  return {y[0], y[1], y[2], y[3], w[0], w[2], w[3], attrs.strides, attrs.pads, attrs.dilations, attrs.groups};
}

bool is_depthwise(const ConvAttrs& attrs, const Shape& x, const Shape& w) {
  return !has_instances(w) && attrs.groups == x[1] && w[0] == x[1] && w[2] == 3 && w[3] == 3 && attrs.dilations[0] == 1 &&
         attrs.dilations[1] == 1 && attrs.strides[0] == attrs.strides[1] && attrs.strides[0] <= 2 && attrs.pads[0] <= 2 &&
         attrs.pads[1] <= 2;
}

kernels::DepthwiseShape depthwise_shape(const ConvAttrs& attrs, const Shape& x, const Shape& y) {
  kernels::DepthwiseShape s;
  s.N = x[0], s.C = x[1], s.H = x[2], s.W = x[3];
  s.outH = y[2], s.outW = y[3];
  s.stride = attrs.strides[0];
  s.pad_top = attrs.pads[0], s.pad_left = attrs.pads[1];
  return s;
}

}  // namespace actmatch::cuda
