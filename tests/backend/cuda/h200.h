// The device that plans are asked for where there is no GPU: an H200, described in tests/data/cuda/h200.json.
#pragma once

#include <string>

#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/cudnn/plans.h"
#include "engine/image/file.h"

namespace actmatch::cuda {

inline std::string h200_json() {
  const std::vector<std::byte> bytes = read_file(ACTMATCH_SOURCE_DIR "/tests/data/cuda/h200.json");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline const DeviceDescription& h200() {
  static const DeviceDescription device = DeviceDescription::from_json(h200_json());
  return device;
}

// Runtime-compiled engines cannot be built without a working driver; whether they are listed depends on one being there at all.
inline PlanLimits deviceless_limits() {
  PlanLimits limits;
  limits.build_runtime_compiled = false;
  return limits;
}

}  // namespace actmatch::cuda
