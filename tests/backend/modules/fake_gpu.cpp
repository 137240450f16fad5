// A module as libactmatch_cuda.so is one, with two GPUs that are CPUs with a limited memory. ACTMATCH_FAKE_GPU_BYTES is how much they have,
// ACTMATCH_FAKE_GPU_BATCH the batch that they prefer, ACTMATCH_FAKE_GPU_NOTICE something that they have to say, ACTMATCH_FAKE_GPU_LOST a
// file with whose making they are lost.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/backend/module.h"
#include "tests/support/limited_backend.h"

namespace {

using namespace actmatch;

bool list_devices(std::vector<ModuleDevice>& devices, ModuleFailure& failure) {
  return without_exceptions(failure, [&] {
    devices = {{0, "Fake GPU", "compute capability 0.0"}, {1, "Other fake GPU", "Other fake GPU, 1 GiB"}};
  });
}

bool make_backend(std::unique_ptr<Backend>& backend, const ModuleOptions& options, ModuleFailure& failure) {
  return without_exceptions(failure, [&] {
    auto gpu = std::make_unique<test::LimitedBackend>(make_cpu_backend(1));
    gpu->called = "cuda:" + std::to_string(options.device);
    gpu->described = "Fake GPU";
    gpu->stated = options.precision;
    if (const char* bytes = std::getenv("ACTMATCH_FAKE_GPU_BYTES")) gpu->memory = std::stoull(bytes);
    if (const char* batch = std::getenv("ACTMATCH_FAKE_GPU_BATCH")) gpu->preferred = std::stoll(batch);
    if (const char* file = std::getenv("ACTMATCH_FAKE_GPU_LOST"))
      gpu->lost = [path = std::string(file)] { return std::filesystem::exists(path); };
    if (const char* notice = std::getenv("ACTMATCH_FAKE_GPU_NOTICE"); notice && options.notice) options.notice(notice);
    backend = std::move(gpu);
  });
}

}  // namespace

ACTMATCH_MODULE_ENTRY const ModuleTable* actmatch_backend_module() {
  static const ModuleTable table{module_abi(), list_devices, make_backend};
  return &table;
}
