// From the name of a device to its backend.
#pragma once

#include <memory>
#include <string>

#include "engine/backend/module.h"

namespace actmatch::api {

struct DeviceOptions {
  std::string device = "auto";  // "auto": the first GPU, or the CPU where there is none; "cpu"; "cuda": the first GPU; "cuda:N"
  int threads = 0;
  std::string precision = "fp32";
  NoticeCallback notice;
};

// Throws kInvalidArgument for names that are none, kNotFound for a GPU that is not there, kUnsupported for a precision that the device does
// not have and where GPUs cannot be used at all, with the reason.
std::unique_ptr<Backend> make_backend(const DeviceOptions& options);

// See actmatch_devices_json.
std::string devices_json();

}  // namespace actmatch::api
