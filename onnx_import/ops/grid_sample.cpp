// Sampling at computed positions, and the grids of positions that affine maps give. Positions and image both have their gradient.
#include <algorithm>
#include <functional>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"

namespace actmatch::onnx_import {
namespace {

// Positions along one axis, in elements: [batch, output positions].
struct Coordinate {
  ValueId position = kNoValue;
  int64_t extent = 1, stride = 1;  // of the image
  double low = 0, high = 0;        // its borders
};

ValueId floor_of(NodeContext& c, ValueId x) { return unary(c, UnaryKind::kFloor, x); }
ValueId times(NodeContext& c, ValueId x, double factor) { return multiply(c, x, c.scalar(static_cast<float>(factor))); }
ValueId plus(NodeContext& c, ValueId x, double amount) { return amount == 0 ? x : add(c, x, c.scalar(static_cast<float>(amount))); }

// Thrown back from both borders until it is inside.
ValueId reflected(NodeContext& c, ValueId x, double low, double high) {
  const double range = high - low;
  if (range <= 0) return times(c, x, 0.0);
  const ValueId from_low = plus(c, x, -low), turns = floor_of(c, times(c, from_low, 1 / range));
  const ValueId rest = subtract(c, from_low, times(c, turns, range));
  const ValueId parity = subtract(c, turns, times(c, floor_of(c, times(c, turns, 0.5)), 2.0));
  const ValueId odd = binary(c, BinaryKind::kGreater, parity, c.scalar(0.5f));
  return where(c, odd, plus(c, unary(c, UnaryKind::kNeg, rest), high), plus(c, rest, low));
}

ValueId clipped(NodeContext& c, ValueId x, double low, double high) {
  return c.step(UnaryAttrs{UnaryKind::kClip, static_cast<float>(low), static_cast<float>(high)}, {x});
}

// The weight of the neighbour at `distance`, which is below 2.
ValueId cubic_weight(NodeContext& c, ValueId distance, bool near) {
  constexpr double kA = -0.75;
  const ValueId d = unary(c, UnaryKind::kAbs, distance);
  const auto horner = [&](double a3, double a2, double a1, double a0) {
    const ValueId first = plus(c, times(c, d, a3), a2), second = plus(c, multiply(c, first, d), a1);
    return plus(c, multiply(c, second, d), a0);
  };
  return near ? horner(kA + 2, -(kA + 3), 0, 1) : horner(kA, -5 * kA, 8 * kA, -4 * kA);
}

struct Neighbour {
  ValueId index = kNoValue;   // f32 whole numbers inside the image
  ValueId weight = kNoValue;  // kNoValue: 1
};

std::vector<Neighbour> neighbours(NodeContext& c, const Coordinate& at, const std::string& mode, const std::string& padding) {
  ValueId p = at.position;
  if (mode == "nearest") p = unary(c, UnaryKind::kRound, p);
  // Cubic kernels lie where the grid says, outside as well: there only the neighbours are moved inside, as PyTorch and ONNX Runtime do it.
  if (padding == "border" && mode != "cubic") p = clipped(c, p, 0, static_cast<double>(at.extent - 1));
  if (padding == "reflection" && mode != "cubic") p = reflected(c, p, at.low, at.high);
  const ValueId base = mode == "nearest" ? unary(c, UnaryKind::kRound, p) : floor_of(c, p);
  const ValueId fraction = mode == "nearest" ? kNoValue : subtract(c, p, base);
  std::vector<Neighbour> all;
  const int first = mode == "cubic" ? -1 : 0, last = mode == "nearest" ? 0 : mode == "linear" ? 1 : 2;
  for (int offset = first; offset <= last; ++offset) {
    Neighbour n;
    const ValueId index = plus(c, base, offset);
    if (mode == "linear") n.weight = offset == 0 ? plus(c, unary(c, UnaryKind::kNeg, fraction), 1.0) : fraction;
    if (mode == "cubic") n.weight = cubic_weight(c, plus(c, fraction, -offset), offset == 0 || offset == 1);
    const ValueId inside =
        clipped(c, padding == "reflection" ? reflected(c, index, at.low, at.high) : index, 0, static_cast<double>(at.extent - 1));
    if (padding == "zeros") {
      const ValueId valid = c.cast(binary(c, BinaryKind::kEqual, inside, index), DType::kF32);
      n.weight = n.weight == kNoValue ? valid : multiply(c, n.weight, valid);
    }
    n.index = inside;
    all.push_back(n);
  }
  return all;
}

void lower_grid_sample(NodeContext& c, std::string mode) {
  const std::string padding = c.attributes.text("padding_mode", "zeros");
  const bool align = c.attributes.flag("align_corners", false);
  if (mode == "bilinear") mode = "linear";
  if (mode == "bicubic") mode = "cubic";
  if (mode != "nearest" && mode != "linear" && mode != "cubic") throw Unsupported("the mode '" + mode + "' is not defined");
  if (padding != "zeros" && padding != "border" && padding != "reflection")
    throw Unsupported("the padding mode '" + padding + "' is not defined");
  const ValueId x = c.input(0), grid = c.input(1);
  const Shape shape = c.shape(x), gs = c.shape(grid);
  const size_t spatial = shape.size() < 3 ? 0 : shape.size() - 2;
  if (spatial < 1 || spatial > 3 || gs.size() != shape.size() || gs[0] != shape[0] || gs.back() != static_cast<int64_t>(spatial))
    throw Unsupported("a grid of shape " + to_string(gs) + " does not fit the input " + to_string(shape));
  int64_t positions = 1, elements = 1;
  for (size_t i = 0; i < spatial; ++i) {
    positions *= gs[i + 1];
    elements *= shape[i + 2];
  }
  if (elements < 1 || elements > (int64_t{1} << 24)) throw Unsupported("its input " + to_string(shape) + " is out of range");
  const ValueId points = c.reshape(grid, {shape[0], positions, static_cast<int64_t>(spatial)});
  std::vector<std::vector<Neighbour>> by_axis;
  std::vector<int64_t> strides;
  for (size_t i = 0; i < spatial; ++i) {
    Coordinate at;
    at.extent = shape[i + 2];
    const auto length = static_cast<double>(at.extent);
    // The last coordinate of a point belongs to the first axis.
    const ValueId g = c.reshape(slice(c, points, 2, static_cast<int64_t>(spatial - 1 - i), 1), {shape[0], positions});
    at.position = align ? times(c, plus(c, g, 1.0), (length - 1) / 2) : plus(c, times(c, plus(c, g, 1.0), length / 2), -0.5);
    at.low = align ? 0 : -0.5;
    at.high = align ? length - 1 : length - 0.5;
    by_axis.push_back(neighbours(c, at, mode, padding));
    int64_t stride = 1;
    for (size_t k = i + 1; k < spatial; ++k) stride *= shape[k + 2];
    strides.push_back(stride);
  }
  // Rows of the image as a matrix: [batch * elements, channels].
  std::vector<int64_t> last_channels{0};
  for (size_t i = 0; i < spatial; ++i) last_channels.push_back(static_cast<int64_t>(i) + 2);
  last_channels.push_back(1);
  const ValueId rows = c.reshape(transpose(c, x, last_channels), {shape[0] * elements, shape[1]});
  bounded_count({shape[0]});
  Tensor first_rows(DType::kI64, {shape[0], 1});
  for (int64_t n = 0; n < shape[0]; ++n) first_rows.data<int64_t>()[n] = n * elements;
  const ValueId first_row = c.constant(std::move(first_rows));
  ValueId sum = kNoValue;
  const std::function<void(size_t, ValueId, ValueId)> visit = [&](size_t axis, ValueId row, ValueId weight) {
    if (axis == spatial) {
      ValueId value = gather(c, rows, 0, row);  // [batch, positions, channels]
      if (weight != kNoValue) value = multiply(c, value, c.reshape(weight, {shape[0], positions, 1}));
      sum = sum == kNoValue ? value : add(c, sum, value);
      return;
    }
    for (const Neighbour& n : by_axis[axis]) {
      const ValueId step = multiply(c, c.cast(n.index, DType::kI64), c.constant(Tensor::scalar(strides[axis])));
      const ValueId both =
          weight == kNoValue || n.weight == kNoValue ? (weight == kNoValue ? n.weight : weight) : multiply(c, weight, n.weight);
      visit(axis + 1, add(c, row, step), both);
    }
  };
  visit(0, first_row, kNoValue);
  Shape spread{shape[0]};
  std::vector<int64_t> channels_second{0, static_cast<int64_t>(spatial) + 1};
  for (size_t i = 0; i < spatial; ++i) {
    spread.push_back(gs[i + 1]);
    channels_second.push_back(static_cast<int64_t>(i) + 1);
  }
  spread.push_back(shape[1]);
  c.alias(transpose(c, c.reshape(sum, spread), channels_second));
}

}  // namespace

void lower_grid_sample_16(NodeContext& c) { lower_grid_sample(c, c.attributes.text("mode", "bilinear")); }
void lower_grid_sample_20(NodeContext& c) { lower_grid_sample(c, c.attributes.text("mode", "linear")); }

// Positions from -1 to 1 along each axis, mapped by a matrix for each image.
void lower_affine_grid(NodeContext& c) {
  const ValueId theta = c.input(0);
  const std::vector<int64_t> size = c.integers(1, "the size");
  const Shape ts = c.shape(theta);
  const bool align = c.attributes.flag("align_corners", false);
  const auto spatial = static_cast<int64_t>(size.size()) - 2;
  if (spatial < 2 || spatial > 3 || ts != Shape{size[0], spatial, spatial + 1})
    throw Unsupported("maps of shape " + to_string(ts) + " do not fit the size " + to_string(size));
  const Shape extents(size.begin() + 2, size.end());
  const int64_t positions = bounded_count(extents);
  bounded_count({positions, spatial + 1});
  Tensor base(DType::kF32, {positions, spatial + 1});
  const std::vector<int64_t> strides = row_major_strides(extents);
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t k = 0; k < spatial; ++k) {
      const auto axis = static_cast<size_t>(spatial - 1 - k);  // the first coordinate belongs to the last axis
      const auto i = static_cast<double>(p / strides[axis] % extents[axis]), n = static_cast<double>(extents[axis]);
      const double at = align ? (n > 1 ? 2 * i / (n - 1) - 1 : 0.0) : (2 * i + 1) / n - 1;
      base.data<float>()[p * (spatial + 1) + k] = static_cast<float>(at);
    }
    base.data<float>()[p * (spatial + 1) + spatial] = 1.0f;
  }
  Shape result{size[0]};
  result.insert(result.end(), extents.begin(), extents.end());
  result.push_back(spatial);
  c.result(ReshapeAttrs{std::move(result)}, {c.step(MatMulAttrs{false, true}, {c.constant(std::move(base)), theta})});
}

}  // namespace actmatch::onnx_import
