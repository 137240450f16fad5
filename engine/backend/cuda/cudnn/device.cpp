#include "engine/backend/cuda/cudnn/device.h"

#include <nlohmann/json.hpp>

#include "engine/backend/cuda/cudnn/device_impl.h"

namespace actmatch::cuda {

DeviceDescription::DeviceDescription(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DeviceDescription::~DeviceDescription() = default;
DeviceDescription::DeviceDescription(DeviceDescription&&) noexcept = default;
DeviceDescription& DeviceDescription::operator=(DeviceDescription&&) noexcept = default;

DeviceDescription DeviceDescription::of_device(int device) {
  auto impl = std::make_unique<Impl>();
  const int32_t number = device;
  try {
    impl->properties.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, &number);
    impl->properties.finalize();
  } catch (const CudnnError& error) {
    if (error.code() == ErrorCode::kOutOfMemory) throw;
    throw Error(ErrorCode::kUnsupported, "cuDNN cannot use CUDA device " + std::to_string(device) + ": " + error.what());
  }
  DeviceDescription description(std::move(impl));
  description.read_facts();
  return description;
}

DeviceDescription DeviceDescription::from_json(const std::string& text) {
  auto impl = std::make_unique<Impl>();
  try {
    impl->properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, text);
    impl->properties.finalize();
  } catch (const CudnnError& error) {
    throw Error(ErrorCode::kFormat, std::string("cuDNN does not take this description of a device: ") + error.what());
  }
  DeviceDescription description(std::move(impl));
  description.read_facts();
  return description;
}

std::string DeviceDescription::to_json() const { return impl_->properties.get_text(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION); }

// cuDNN gives name and compute capability only inside its JSON.
void DeviceDescription::read_facts() {
  try {
    const nlohmann::json facts = nlohmann::json::parse(to_json());
    name_ = facts.at("deviceName").get<std::string>();
    compute_capability_ = facts.at("deviceVer").get<int>() / 10;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::kFormat, std::string("cuDNN's description of the device lacks its name or compute capability: ") + error.what());
  }
}

int64_t cudnn_version() { return static_cast<int64_t>(cudnnGetVersion()); }

}  // namespace actmatch::cuda
