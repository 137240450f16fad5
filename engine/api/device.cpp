#include "engine/api/device.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace actmatch::api {

namespace {

constexpr const char* kCuda = "cuda";

// N of "cuda" (0) and "cuda:N"; -1: this is no such name.
int cuda_index(const std::string& device) {
  if (device == kCuda) return 0;
  if (device.rfind("cuda:", 0) != 0) return -1;
  const char *begin = device.data() + 5, *end = device.data() + device.size();
  int index = -1;
  const auto [rest, code] = std::from_chars(begin, end, index);
  return code == std::errc() && rest == end ? index : -1;
}

// With its name in front, once.
std::string described(const ModuleDevice& gpu) {
  if (gpu.description.rfind(gpu.name, 0) == 0) return gpu.description;
  return gpu.name + (gpu.description.empty() ? "" : ", " + gpu.description);
}

std::string cuda_name(int index) { return "cuda:" + std::to_string(index); }

// The GPUs, or why there are none.
struct Gpus {
  std::unique_ptr<BackendModule> module;
  std::vector<ModuleDevice> devices;
  std::string missing;
};

Gpus find_gpus() {
  Gpus gpus;
  try {
    gpus.module = std::make_unique<BackendModule>(BackendModule::find(kCuda));
    gpus.devices = gpus.module->devices();
    if (gpus.devices.empty()) gpus.missing = "the driver shows no GPU; see whether 'nvidia-smi' and CUDA_VISIBLE_DEVICES name one";
  } catch (const Error& e) {
    gpus.missing = e.what();
  }
  return gpus;
}

}  // namespace

std::unique_ptr<Backend> make_backend(const DeviceOptions& options) {
  const std::string& device = options.device;
  if (options.threads < 0) throw Error(ErrorCode::kInvalidArgument, "the number of threads must not be negative; 0 takes what there is");
  const Precision precision = precision_of(options.precision);
  int index = 0;
  if (device != "auto" && device != "cpu") {
    index = cuda_index(device);
    if (index < 0) throw Error(ErrorCode::kInvalidArgument, "there is no device '" + device + "'; use 'auto', 'cpu', 'cuda' or 'cuda:N'");
  }
  if (device != "cpu") {
    const Gpus gpus = find_gpus();
    for (const ModuleDevice& gpu : gpus.devices)
      if (device == "auto" || gpu.index == index) return gpus.module->make_backend({gpu.index, precision, options.notice});
    if (device != "auto") {
      if (gpus.devices.empty())
        throw Error(ErrorCode::kUnsupported, "device '" + device + "' cannot be used: " + gpus.missing + "; 'cpu' and 'auto' can be used");
      std::string there;
      for (const ModuleDevice& gpu : gpus.devices) there += (there.empty() ? "" : ", ") + cuda_name(gpu.index) + " (" + gpu.name + ")";
      throw Error(ErrorCode::kNotFound, "there is no device '" + device + "'; there are: cpu, " + there);
    }
  }
  if (precision != Precision::kF32)
    throw Error(ErrorCode::kUnsupported, std::string("the CPU computes in fp32 only, not in ") + name_of(precision) +
                                             "; leave the precision out, or take a GPU ('actmatch devices' lists what is there)");
  return make_cpu_backend(options.threads);
}

std::string devices_json() {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  const Gpus gpus = find_gpus();
  for (const ModuleDevice& gpu : gpus.devices)
    list.push_back({{"name", cuda_name(gpu.index)},
                    {"description", described(gpu)},
                    {"precisions", {name_of(Precision::kF32), name_of(Precision::kTf32), name_of(Precision::kBf16)}}});
  const auto cpu = make_cpu_backend(0);
  list.push_back({{"name", cpu->name()}, {"description", cpu->description()}, {"precisions", {name_of(cpu->precision())}}});
  if (gpus.devices.empty()) list.push_back({{"name", kCuda}, {"missing", gpus.missing}});
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace actmatch::api
