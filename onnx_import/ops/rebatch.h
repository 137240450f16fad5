// Files often carry the batch they were exported with inside their constants (Reshape to 1x512, Expand to 1x1x64). When another batch is
// built, every value's shape at the declared batch is known, and shows where the batch went.
#pragma once

#include <optional>

#include "engine/core/tensor.h"

namespace actmatch::onnx_import {

// The axis along which a value has grown, and from and to what extent.
struct Growth {
  size_t axis = 0;
  int64_t from = 1, to = 1;
};

// The one axis in which the shapes differ; nothing when they are equal, differ in rank or in several axes.
std::optional<Growth> find_growth(const Shape& declared, const Shape& actual);

// A value of shape `declared`, grown by `growth`, is reshaped to what was `target` at the declared size. In row-major order the batch
// stays behind the same number of elements, so it belongs to the axis of `target` with as many elements in front of it. Nothing when there
// is no such axis, or its extent cannot take the batch.
std::optional<Shape> grow_reshape(const Shape& declared, const Growth& growth, const Shape& target);

}  // namespace actmatch::onnx_import
