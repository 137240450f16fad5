// Modules with something wrong, one for each value of BROKEN.
#include <new>
#include <stdexcept>

#include "engine/backend/module.h"

namespace {

using namespace actmatch;

enum Kind { kNoDriver, kNoDevice, kStale, kThrows, kThrowsThrough, kSilent };
constexpr Kind kKind = BROKEN;

bool list_devices(std::vector<ModuleDevice>& devices, ModuleFailure& failure) {
  if (kKind == kThrowsThrough) throw 17;  // which a module must not
  if (kKind == kSilent) return false;
  return without_exceptions(failure, [&] {
    if (kKind == kNoDriver) throw Error(ErrorCode::kUnsupported, "there is no NVIDIA driver; install one");
    if (kKind == kThrows) throw std::runtime_error("something went wrong deep inside");
    devices.clear();
    if (kKind == kStale) devices.push_back({0, "Fake GPU", ""});
  });
}

bool make_backend(std::unique_ptr<Backend>&, const ModuleOptions&, ModuleFailure& failure) {
  if (kKind == kThrowsThrough) throw std::bad_alloc();
  if (kKind == kSilent) return true;  // and no backend
  return without_exceptions(failure, [&] { throw 17; });
}

}  // namespace

ACTMATCH_MODULE_ENTRY const ModuleTable* actmatch_backend_module() {
  static const ModuleTable table{kKind == kStale ? "actmatch 0.0.9, build 0123456789ab" : module_abi(), list_devices, make_backend};
  return &table;
}
