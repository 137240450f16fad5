// What is behind DeviceDescription; for the .cpp files of this folder.
#pragma once

#include "engine/backend/cuda/cudnn/descriptor.h"
#include "engine/backend/cuda/cudnn/device.h"

namespace actmatch::cuda {

struct DeviceDescription::Impl {
  Descriptor properties{CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "device properties"};
};

}  // namespace actmatch::cuda
