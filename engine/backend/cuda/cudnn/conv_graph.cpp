#include "engine/backend/cuda/cudnn/conv_graph.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>

namespace actmatch::cuda {
namespace {

// cuDNN vectorises by what it knows of the addresses; the arena aligns to more than this.
constexpr int64_t kByteAlignment = 16;

cudnnDataType_t memory_type(ConvPrecision precision) { return precision == ConvPrecision::kBf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

std::array<int64_t, 4> x_shape(const ConvShape& s) { return {s.N, s.C, s.H, s.W}; }
std::array<int64_t, 4> w_shape(const ConvShape& s) { return {s.K, s.groups > 0 ? s.C / s.groups : 0, s.R, s.S}; }
std::array<int64_t, 4> y_shape(const ConvShape& s) { return {s.N, s.K, s.out_height(), s.out_width()}; }

int64_t id(TensorId tensor) { return static_cast<int64_t>(tensor); }

// The derivative of min(max(x, 0), ceiling) is taken from y, which is exactly `ceiling` wherever the clip was active: the bound that
// cuDNN compares with is one step below, so that it does not matter whether it lets a gradient through at the bound itself.
double backward_ceiling(float ceiling) { return std::nextafter(ceiling, 0.0f); }

Descriptor pointwise(cudnnPointwiseMode_t mode, const char* name) {
  Descriptor descriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, name);
  descriptor.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  descriptor.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  return descriptor;
}

}  // namespace

ConvGraph::ConvGraph(const PlanKey& key) {
  switch (key.pass) {
    case ConvPass::kForward: build_forward(key); break;
    case ConvPass::kBackwardData: build_backward_data(key); break;
    case ConvPass::kBackwardFilter: build_backward_filter(key); break;
  }
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operation graph");
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const Handle>(operations_));
  graph.finalize();
  keep(std::move(graph));
}

ConvGraph::Handle ConvGraph::keep(Descriptor descriptor) { return parts_.emplace_back(std::move(descriptor)).get(); }

ConvGraph::Handle ConvGraph::tensor(int64_t id, const char* name, std::array<int64_t, 4> nchw, cudnnDataType_t type, bool is_virtual) {
  const auto [n, c, h, w] = nchw;
  const std::array<int64_t, 4> strides{h * w * c, 1, w * c, c};  // NHWC in memory; cuDNN's axes are always N, C, H, W
  Descriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, std::string("tensor ") + name);
  descriptor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  descriptor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const int64_t>(nchw));
  descriptor.set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const int64_t>(strides));
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  descriptor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kByteAlignment);
  descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual);
  descriptor.finalize();
  return keep(std::move(descriptor));
}

ConvGraph::Handle ConvGraph::link(bool last, int64_t result_id, const char* result_name, std::array<int64_t, 4> nchw,
                                  cudnnDataType_t type) {
  return last ? tensor(result_id, result_name, nchw, type, false)
              : tensor(next_virtual_id_++, "between operations", nchw, CUDNN_DATA_FLOAT, true);
}

ConvGraph::Handle ConvGraph::convolution(const PlanKey& key) {
  const ConvShape& s = key.shape;
  const std::array<int64_t, 2> before{s.pads[0], s.pads[1]}, after{s.pads[2], s.pads[3]};
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  Descriptor descriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "convolution");
  descriptor.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  descriptor.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  descriptor.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  descriptor.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::span<const int64_t>(before));
  descriptor.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::span<const int64_t>(after));
  descriptor.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::span<const int64_t>(s.strides));
  descriptor.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::span<const int64_t>(s.dilations));
  descriptor.finalize();
  return keep(std::move(descriptor));
}

void ConvGraph::add_operation(Descriptor operation, std::initializer_list<Argument> arguments) {
  for (const auto& [attribute, argument] : arguments) operation.set(attribute, std::span<const Handle>(&argument, 1));
  operation.finalize();
  operations_.push_back(keep(std::move(operation)));
}

void ConvGraph::add_pointwise(Descriptor mode, const char* name, std::initializer_list<Argument> arguments) {
  mode.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, name);
  const Handle kept = keep(std::move(mode));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, std::span<const Handle>(&kept, 1));
  add_operation(std::move(operation), arguments);
}

ConvGraph::Handle ConvGraph::add_addend(Handle a, Handle b, bool last, TensorId result, const char* result_name,
                                        std::array<int64_t, 4> nchw, cudnnDataType_t type) {
  const Handle sum = link(last, id(result), result_name, nchw, type);
  add_pointwise(
      pointwise(CUDNN_POINTWISE_ADD, "addition"), "operation add",
      {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a}, {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b}, {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, sum}});
  return sum;
}

// conv -> + residual -> + bias -> activation. cuDNN's precompiled engines know this order; with the bias first only runtime-compiled ones
// match, and a sum is a sum. They want the bias in the type of y, and a ReLU without a ceiling: for a clipped one there is a single slow
// engine without tensor cores beside the runtime-compiled ones, so in the fast precisions it is better to fuse a plain ReLU and to leave
// the ceiling to the next kernel.
void ConvGraph::build_forward(const PlanKey& key) {
  const cudnnDataType_t type = memory_type(key.precision);
  const std::array<int64_t, 4> shape = y_shape(key.shape);
  const bool activation = key.activation != ConvActivation::kNone;
  const Handle x = tensor(id(TensorId::kX), "x", x_shape(key.shape), type, false);
  const Handle w = tensor(id(TensorId::kW), "w", w_shape(key.shape), type, false);
  const Handle conv = convolution(key);
  Handle y = link(!key.residual && !key.bias && !activation, id(TensorId::kY), "y", shape, type);
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, "operation convolution forward");
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
  add_operation(std::move(operation), {{CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y}});
  if (key.residual) {
    const Handle residual = tensor(id(TensorId::kAddend), "residual", shape, type, false);
    y = add_addend(y, residual, !key.bias && !activation, TensorId::kY, "y", shape, type);
  }
  if (key.bias) {
    const Handle bias = tensor(id(TensorId::kBias), "bias", {1, key.shape.K, 1, 1}, type, false);
    y = add_addend(y, bias, !activation, TensorId::kY, "y", shape, type);
  }
  if (activation) {
    Descriptor relu = pointwise(CUDNN_POINTWISE_RELU_FWD, "relu");
    if (key.activation == ConvActivation::kClippedRelu) relu.set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, static_cast<double>(key.ceiling));
    const Handle result = tensor(id(TensorId::kY), "y", shape, type, false);
    add_pointwise(std::move(relu), "operation relu",
                  {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, y}, {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, result}});
  }
}

// dgrad -> + skip gradient -> relu'. The derivative stands behind the dgrad that makes the gradient, never before the one that reads it:
// cuDNN has no engine for the latter on Hopper.
void ConvGraph::build_backward_data(const PlanKey& key) {
  const cudnnDataType_t type = memory_type(key.precision);
  const std::array<int64_t, 4> shape = x_shape(key.shape);
  const bool activation = key.activation != ConvActivation::kNone;
  const Handle dy = tensor(id(TensorId::kY), "dy", y_shape(key.shape), type, false);
  const Handle w = tensor(id(TensorId::kW), "w", w_shape(key.shape), type, false);
  const Handle conv = convolution(key);
  Handle dx = link(!key.residual && !activation, id(TensorId::kX), "dx", shape, type);
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, "operation convolution backward data");
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0f);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0f);
  add_operation(std::move(operation), {{CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, dy},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, dx}});
  if (key.residual) {
    const Handle skip = tensor(id(TensorId::kAddend), "skip gradient", shape, type, false);
    dx = add_addend(dx, skip, !activation, TensorId::kX, "dx", shape, type);
  }
  if (activation) {
    Descriptor relu = pointwise(CUDNN_POINTWISE_RELU_BWD, "relu backward");
    if (key.activation == ConvActivation::kClippedRelu) relu.set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, backward_ceiling(key.ceiling));
    const Handle saved = tensor(id(TensorId::kSaved), "saved activation", shape, type, false);
    const Handle result = tensor(id(TensorId::kX), "dx", shape, type, false);
    add_pointwise(std::move(relu), "operation relu backward",
                  {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, saved},
                   {CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, dx},
                   {CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, result}});
  }
}

void ConvGraph::build_backward_filter(const PlanKey& key) {
  const cudnnDataType_t type = memory_type(key.precision);
  const Handle x = tensor(id(TensorId::kX), "x", x_shape(key.shape), type, false);
  const Handle dy = tensor(id(TensorId::kY), "dy", y_shape(key.shape), type, false);
  const Handle dw = tensor(id(TensorId::kW), "dw", w_shape(key.shape), type, false);
  const Handle conv = convolution(key);
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, "operation convolution backward filter");
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0f);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0f);
  add_operation(std::move(operation), {{CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, conv},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, dy},
                                       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, dw}});
}

}  // namespace actmatch::cuda
