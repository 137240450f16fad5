#include "onnx_import/ops/quantised.h"

#include <limits>
#include <optional>
#include <utility>

#include "onnx_import/initializers.h"

namespace actmatch::onnx_import {
namespace {

// The smallest and the largest integer of a type that activations are quantised to; nothing for others.
std::optional<std::pair<double, double>> range_of(int32_t type) {
  switch (type) {
    case onnx::TensorProto::UINT8: return {{0, 255}};
    case onnx::TensorProto::INT8: return {{-128, 127}};
    case onnx::TensorProto::UINT16: return {{0, 65535}};
    case onnx::TensorProto::INT16: return {{-32768, 32767}};
    case 21: return {{0, 15}};  // UINT4
    case 22: return {{-8, 7}};  // INT4
    default: return std::nullopt;
  }
}

const Tensor& float_constant(NodeContext& c, size_t index, const char* what) {
  c.need_constant(index, what);
  return *c.constant(c.float_input(index));
}

// The value of a list of one element, or of one element for each index of the axis, or of blocks.
class ByChannel {
 public:
  ByChannel(const Tensor* values, const Shape& x, int64_t axis, int64_t block, const char* what) : values_(values) {
    if (!values || values->count() == 1) return;
    const auto along = static_cast<size_t>(normalise_axis(axis, static_cast<int64_t>(x.size())));
    extent_ = x[along];
    for (size_t i = along + 1; i < x.size(); ++i) inner_ *= x[i];
    if (values->shape().size() == 1 && values->count() == extent_) return;
    Shape blocks = x;
    if (block > 0 && values->shape().size() == x.size()) blocks[along] = extent_ / block + (extent_ % block != 0);
    if (block <= 0 || values->shape() != blocks)
      throw Unsupported(std::string("its ") + what + " of shape " + to_string(values->shape()) + " does not fit " + to_string(x));
    block_ = block;
    blocks_ = blocks[along];
  }

  // Of element i of x in row-major order.
  float at(int64_t i) const {
    if (!values_) return 0.0f;
    if (values_->count() == 1) return *values_->data<float>();
    const int64_t channel = i / inner_ % extent_;
    if (block_ == 0) return values_->data<float>()[channel];
    return values_->data<float>()[(i / inner_ / extent_ * blocks_ + channel / block_) * inner_ + i % inner_];
  }

 private:
  const Tensor* values_;
  int64_t inner_ = 1, extent_ = 1, block_ = 0, blocks_ = 1;
};

// A constant that broadcasts along the axis of x.
ValueId along_axis(NodeContext& c, const Tensor& values, const Shape& x, int64_t axis) {
  if (values.count() == 1) return c.constant(values.reshaped({}));
  Shape shape(x.size(), 1);
  const auto along = static_cast<size_t>(normalise_axis(axis, static_cast<int64_t>(x.size())));
  if (values.shape().size() != 1 || values.count() != x[along])
    throw Unsupported("its scales of shape " + to_string(values.shape()) + " do not fit " + to_string(x));
  shape[along] = values.count();
  return c.constant(values.reshaped(std::move(shape)));
}

// (x - zero) * scale for integers, of which a null `scale` is 1.
ValueId reals_of(NodeContext& c, size_t index, const Tensor* scale, const Tensor* zero, int64_t axis, int64_t block) {
  const ValueId x = c.float_input(index);
  const Shape shape = c.shape(x);
  const Tensor* integers = c.constant(x);
  if (integers) {
    const ByChannel scales(scale, shape, axis, block, "scale"), zeros(zero, shape, axis, block, "zero point");
    if (c.structure_only()) return x;
    Tensor reals(DType::kF32, shape);
    for (int64_t i = 0; i < reals.count(); ++i)
      reals.data<float>()[i] = (integers->data<float>()[i] - zeros.at(i)) * (scale ? scales.at(i) : 1.0f);
    return c.constant(std::move(reals));
  }
  if (block > 0) throw Unsupported("scales for blocks of an input that is not constant are not supported");
  ValueId y = x;
  if (zero) y = c.step(BinaryAttrs{BinaryKind::kSub}, {y, along_axis(c, *zero, shape, axis)});
  if (scale) y = c.step(BinaryAttrs{BinaryKind::kMul}, {y, along_axis(c, *scale, shape, axis)});
  return y;
}

}  // namespace

void note_quantisation(NodeContext& c) {
  c.note(
      "the model is quantised: it is taken in its float form, without the rounding to integers; scores differ a little from the "
      "original's");
}

ValueId dequantised(NodeContext& c, size_t x, size_t scale, size_t zero_point, int64_t axis, int64_t block) {
  if (c.is_float(x)) return c.input(x);
  const Tensor* zero = zero_point != kNoInput && c.has(zero_point) ? &float_constant(c, zero_point, "the zero point") : nullptr;
  return reals_of(c, x, &float_constant(c, scale, "the scale"), zero, axis, block);
}

ValueId centred(NodeContext& c, size_t x, size_t zero_point, int64_t axis) {
  if (c.is_float(x)) return c.input(x);
  const Tensor* zero = c.has(zero_point) ? &float_constant(c, zero_point, "the zero point") : nullptr;
  return reals_of(c, x, nullptr, zero, axis, 0);
}

void quantised_result(NodeContext& c, ValueId x, size_t scale, size_t zero_point, int64_t axis, int32_t type) {
  note_quantisation(c);
  const Tensor& scales = float_constant(c, scale, "the scale");
  const bool has_zero = zero_point != kNoInput && c.has(zero_point);
  const Tensor* zeros = has_zero ? &float_constant(c, zero_point, "the zero point") : nullptr;
  if (has_zero) type = c.stored_type(zero_point);
  const auto range = range_of(type);
  if (!range || c.dtype(x) != DType::kF32) return c.alias(x);
  if (scales.count() == 1 && (!zeros || zeros->count() == 1)) {
    const double s = *scales.data<float>(), z = zeros ? *zeros->data<float>() : 0.0;
    const double a = (range->first - z) * s, b = (range->second - z) * s;
    if (!(a < b)) throw Unsupported("the scale " + std::to_string(s) + " is not a positive number");
    return c.result(UnaryAttrs{UnaryKind::kClip, static_cast<float>(a), static_cast<float>(b)}, {x});
  }
  if (scales.shape().size() != 1) return c.alias(x);  // of blocks: weights, which are in range
  Tensor low(DType::kF32, scales.shape()), high(DType::kF32, scales.shape());
  if (zeros && zeros->count() != scales.count()) throw Unsupported("it has another number of zero points than of scales");
  for (int64_t i = 0; i < scales.count(); ++i) {
    const float z = zeros ? zeros->data<float>()[i] : 0.0f;
    low.data<float>()[i] = (static_cast<float>(range->first) - z) * scales.data<float>()[i];
    high.data<float>()[i] = (static_cast<float>(range->second) - z) * scales.data<float>()[i];
  }
  const Shape shape = c.shape(x);
  const ValueId above = c.step(BinaryAttrs{BinaryKind::kMax}, {x, along_axis(c, low, shape, axis)});
  c.result(BinaryAttrs{BinaryKind::kMin}, {above, along_axis(c, high, shape, axis)});
}

}  // namespace actmatch::onnx_import
