// What listing plans and building one of them have in common; for the .cpp files of this folder.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/backend/cuda/cudnn/conv_graph.h"
#include "engine/backend/cuda/cudnn/descriptor.h"
#include "engine/backend/cuda/cudnn/device.h"

namespace actmatch::cuda {

using NumericalNotes = std::vector<cudnnBackendNumericalNote_t>;

inline bool has(const NumericalNotes& notes, cudnnBackendNumericalNote_t note) {
  return std::find(notes.begin(), notes.end(), note) != notes.end();
}
inline NumericalNotes numerical_notes(const Descriptor& engine) {
  return engine.get_all<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
}
bool fits_precision(ConvPrecision precision, const NumericalNotes& notes);

// Throws kInvalidArgument, naming the convolution, when such a one cannot exist.
ConvGraph make_graph(const PlanKey& key);
// The execution plan of an engine configuration.
Descriptor build_plan(const Descriptor& configuration, const DeviceDescription& device);

}  // namespace actmatch::cuda
