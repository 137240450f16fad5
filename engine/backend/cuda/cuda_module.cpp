// The module's side of engine/backend/module.h for CUDA: libactmatch_cuda.so.
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/module.h"

namespace actmatch::cuda {
namespace {

bool list_devices(std::vector<ModuleDevice>& devices, ModuleFailure& failure) {
  return without_exceptions(failure, [&] {
    devices.clear();
    for (CudaDevice& device : list_cuda_devices()) devices.push_back({device.index, std::move(device.name), std::move(device.description)});
  });
}

bool make_backend(std::unique_ptr<Backend>& backend, const ModuleOptions& options, ModuleFailure& failure) {
  return without_exceptions(failure, [&] { backend = make_cuda_backend({options.device, options.precision, options.notice}); });
}

}  // namespace
}  // namespace actmatch::cuda

ACTMATCH_MODULE_ENTRY const actmatch::ModuleTable* actmatch_backend_module() {
  static const actmatch::ModuleTable table{actmatch::module_abi(), actmatch::cuda::list_devices, actmatch::cuda::make_backend};
  return &table;
}
