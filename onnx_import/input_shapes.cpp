#include "onnx_import/input_shapes.h"

#include <algorithm>

#include "engine/core/error.h"

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kLargestExtent = int64_t{1} << 31;

bool is_image_like(const ModelInput& input) { return input.shape.size() == 4 && input.dtype == DType::kF32; }

// Names of extents that stand for the batch: those of axis 0 of any input.
bool is_batch(const ParsedModel& model, size_t input, size_t axis) {
  const std::string& symbol = model.input_symbols[input][axis];
  if (axis == 0) return true;
  return !symbol.empty() && std::any_of(model.input_symbols.begin(), model.input_symbols.end(),
                                        [&](const auto& symbols) { return !symbols.empty() && symbols[0] == symbol; });
}

// The shape with the batch filled in; other open extents stay -1.
Shape with_batch(const ParsedModel& model, size_t i, int64_t batch, const std::string& picture) {
  const ModelInput& input = model.inputs[i];
  Shape shape = input.shape;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] < 0 && is_batch(model, i, axis)) shape[axis] = std::max<int64_t>(batch, 1);
  const bool is_picture = input.name == picture && !shape.empty();
  if (batch > 0 && (is_picture || is_image_like(input))) shape[0] = batch;
  return shape;
}

bool is_complete(const ParsedModel& model, size_t i, const Shape& shape) {
  return model.input_has_shape[i] && std::all_of(shape.begin(), shape.end(), [](int64_t extent) { return extent > 0; });
}

std::string describe(const Shape& shape) {
  std::string text;
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "x" : "") + (shape[i] < 0 ? "?" : std::to_string(shape[i]));
  return text;
}

void check_given(const ParsedModel& model, size_t i, const Shape& given) {
  const ModelInput& input = model.inputs[i];
  const std::string where = "the shape " + to_string(given) + " given for input '" + input.name + "' of '" + model.path + "' ";
  if (model.input_has_shape[i] && given.size() != input.shape.size())
    throw Error(ErrorCode::kInvalidArgument, where + "has " + std::to_string(given.size()) + " dimensions; the file declares " +
                                                 std::to_string(input.shape.size()) + " (" + describe(input.shape) + ")");
  const int64_t least = is_image_like(input) ? 1 : 0;
  for (int64_t extent : given)
    if (extent < least || extent > kLargestExtent)
      throw Error(ErrorCode::kInvalidArgument, where + "is out of range; give extents of at least " + std::to_string(least));
}

}  // namespace

std::optional<std::vector<Shape>> declared_shapes(const ParsedModel& model) {
  std::vector<Shape> shapes;
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    shapes.push_back(with_batch(model, i, 0, {}));
    if (!is_complete(model, i, shapes.back())) return std::nullopt;
  }
  return shapes;
}

std::vector<Shape> chosen_shapes(const ParsedModel& model, const BuildOptions& options) {
  if (options.batch < 0 || options.batch > kLargestExtent)
    throw Error(ErrorCode::kInvalidArgument, "the batch " + std::to_string(options.batch) + " is out of range; give at least 1");
  for (const auto& given : options.input_shapes)
    if (std::none_of(model.inputs.begin(), model.inputs.end(), [&](const ModelInput& input) { return input.name == given.first; }))
      throw Error(ErrorCode::kInvalidArgument, "'" + model.path + "' has no input '" + given.first + "', for which a shape is given");
  std::vector<Shape> shapes;
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    const ModelInput& input = model.inputs[i];
    const auto given = options.input_shapes.find(input.name);
    if (given != options.input_shapes.end()) {
      check_given(model, i, given->second);
      shapes.push_back(given->second);
      continue;
    }
    shapes.push_back(with_batch(model, i, options.batch, options.picture));
    if (!is_complete(model, i, shapes.back()))
      throw Error(ErrorCode::kInvalidArgument, "input '" + input.name + "' of '" + model.path + "' has no fixed size (" +
                                                   (model.input_has_shape[i] ? describe(input.shape) : "no shape at all") +
                                                   "); give its shape (--input-shape), or export the model with a fixed one");
  }
  return shapes;
}

}  // namespace actmatch::onnx_import
