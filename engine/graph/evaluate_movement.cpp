// Constant folding of operators that move elements. Elements are copied by size, whatever their type.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/graph/op_rules.h"
#include "engine/graph/strided_walk.h"

namespace actmatch {
namespace {

template <class T>
void gather_strided_as(const Tensor& x, const std::vector<int64_t>& strides, int64_t start, Tensor& y) {
  const T* px = static_cast<const T*>(x.raw());
  T* py = static_cast<T*>(y.raw());
  strided_walk<1>(y.shape(), {strides}, {start}, [&](int64_t i, const std::array<int64_t, 1>& at) { py[i] = px[at[0]]; });
}

// y[index] = x[start + index . strides]
Tensor gather_strided(const Tensor& x, const std::vector<int64_t>& strides, int64_t start, const InferredValue& out) {
  Tensor y(out.dtype, out.shape);
  switch (out.dtype) {
    case DType::kF32: gather_strided_as<float>(x, strides, start, y); break;
    case DType::kI64: gather_strided_as<int64_t>(x, strides, start, y); break;
    case DType::kBool: gather_strided_as<uint8_t>(x, strides, start, y); break;
  }
  return y;
}

// Extents before, at and after an axis: every tensor is [outer, extent, inner] to operators that work along one axis.
struct AxisView {
  int64_t outer = 1, extent = 1, inner = 1;
  AxisView(const Shape& shape, int64_t axis) : extent(shape[static_cast<size_t>(axis)]) {
    for (int64_t i = 0; i < static_cast<int64_t>(shape.size()); ++i)
      if (i != axis) (i < axis ? outer : inner) *= shape[static_cast<size_t>(i)];
  }
};

// Where position i of a padded axis comes from; -1: from the pad value.
int64_t padded_source(int64_t i, int64_t before, int64_t extent, PadMode mode) {
  int64_t source = i - before;
  if (source >= 0 && source < extent) return source;
  switch (mode) {
    case PadMode::kConstant: return -1;
    case PadMode::kEdge: return source < 0 ? 0 : extent - 1;
    case PadMode::kReflect: return source < 0 ? -source : 2 * (extent - 1) - source;
  }
  return -1;
}

template <class T>
void pad_as(const Tensor& x, const PadAttrs& attrs, T value, Tensor& y) {
  const T* px = static_cast<const T*>(x.raw());
  T* py = static_cast<T*>(y.raw());
  const std::vector<int64_t> strides = row_major_strides(x.shape());
  const Shape& shape = y.shape();
  std::vector<int64_t> index(shape.size(), 0);
  for (int64_t i = 0; i < y.count(); ++i) {
    int64_t offset = 0;
    for (size_t axis = 0; axis < shape.size() && offset >= 0; ++axis) {
      const int64_t source = padded_source(index[axis], attrs.before[axis], x.shape()[axis], attrs.mode);
      offset = source < 0 ? -1 : offset + source * strides[axis];
    }
    py[i] = offset < 0 ? value : px[offset];
    for (size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace

Tensor evaluate_concat(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const int64_t axis = std::get<ConcatAttrs>(attrs).axis;
  Tensor y(out.dtype, out.shape);
  auto* to = static_cast<std::byte*>(y.raw());
  const int64_t outer = AxisView(out.shape, axis).outer;
  for (int64_t o = 0; o < outer; ++o)
    for (const Tensor* x : inputs) {
      const AxisView view(x->shape(), axis);
      const auto chunk = static_cast<size_t>(view.extent * view.inner) * size_of(out.dtype);
      if (chunk > 0) std::memcpy(to, static_cast<const std::byte*>(x->raw()) + static_cast<size_t>(o) * chunk, chunk);
      to += chunk;
    }
  return y;
}

Tensor evaluate_reshape(const Attributes&, HostInputs inputs, const InferredValue& out) { return inputs[0]->reshaped(out.shape); }

Tensor evaluate_transpose(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const std::vector<int64_t> own = row_major_strides(inputs[0]->shape());
  std::vector<int64_t> strides;
  for (int64_t axis : std::get<TransposeAttrs>(attrs).perm) strides.push_back(own[static_cast<size_t>(axis)]);
  return gather_strided(*inputs[0], strides, 0, out);
}

Tensor evaluate_slice(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  if (element_count(out.shape) == 0) return Tensor(out.dtype, out.shape);  // starts and steps of empty slices may be anything
  const auto& a = std::get<SliceAttrs>(attrs);
  std::vector<int64_t> strides = row_major_strides(inputs[0]->shape());
  int64_t start = 0;
  for (size_t i = 0; i < strides.size(); ++i) {
    start += a.starts[i] * strides[i];
    strides[i] = a.sizes[i] == 1 ? 0 : strides[i] * a.steps[i];  // a single element has no step, whatever the attribute says
  }
  return gather_strided(*inputs[0], strides, start, out);
}

Tensor evaluate_pad(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const auto& a = std::get<PadAttrs>(attrs);
  Tensor y(out.dtype, out.shape);
  switch (out.dtype) {
    case DType::kF32: pad_as<float>(*inputs[0], a, a.value, y); break;
    case DType::kI64:
      if (!(std::fabs(a.value) < 0x1p63f)) misfit("the pad value " + std::to_string(a.value) + " does not fit int64");
      pad_as<int64_t>(*inputs[0], a, static_cast<int64_t>(a.value), y);
      break;
    case DType::kBool: pad_as<uint8_t>(*inputs[0], a, a.value != 0.0f, y); break;
  }
  return y;
}

Tensor evaluate_gather(const Attributes& attrs, HostInputs inputs, const InferredValue& out) {
  const AxisView view(inputs[0]->shape(), std::get<GatherAttrs>(attrs).axis);
  Tensor y(out.dtype, out.shape);
  const auto* from = static_cast<const std::byte*>(inputs[0]->raw());
  auto* to = static_cast<std::byte*>(y.raw());
  const auto chunk = static_cast<size_t>(view.inner) * size_of(out.dtype);
  if (y.count() == 0) return y;
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t index : inputs[1]->view<int64_t>()) {
      if (index < -view.extent || index >= view.extent)  // of constants the shape rule has checked it
        misfit("index " + std::to_string(index) + " lies outside the axis of " + std::to_string(view.extent));
      const int64_t i = o * view.extent + (index < 0 ? index + view.extent : index);
      std::memcpy(to, from + static_cast<size_t>(i) * chunk, chunk);
      to += chunk;
    }
  return y;
}

Tensor evaluate_expand(const Attributes&, HostInputs inputs, const InferredValue& out) {
  if (inputs[0]->count() == 1 && out.dtype == DType::kF32) {  // a table of one number, which exporters like
    Tensor filled(out.dtype, out.shape);
    std::fill_n(filled.data<float>(), filled.count(), *inputs[0]->data<float>());
    return filled;
  }
  return gather_strided(*inputs[0], broadcast_strides(inputs[0]->shape(), out.shape), 0, out);
}

}  // namespace actmatch
