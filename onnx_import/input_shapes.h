// The shapes a model's inputs take in a graph, in which every extent is known.
#pragma once

#include <optional>
#include <vector>

#include "onnx_import/model_reader.h"

namespace actmatch::onnx_import {

// By input: as the file says, with 1 for a dynamic batch. Nothing where it leaves more than the batch open.
std::optional<std::vector<Shape>> declared_shapes(const ParsedModel& model);

// By input: what `options` ask for. Throws kInvalidArgument where a shape is missing or does not fit.
std::vector<Shape> chosen_shapes(const ParsedModel& model, const BuildOptions& options);

}  // namespace actmatch::onnx_import
