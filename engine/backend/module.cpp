#include "engine/backend/module.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace actmatch {

namespace fs = std::filesystem;

namespace {

std::string file_name(const std::string& backend) { return "libactmatch_" + backend + ".so"; }

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::kUnsupported, message); }

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t from = 0; from <= list.size();) {
    const size_t to = std::min(list.find(':', from), list.size());
    if (to > from) parts.push_back(list.substr(from, to - from));
    from = to + 1;
  }
  return parts;
}

// Calls across the border; what a module lets through in spite of its promise ends here, too.
template <class Call>
void ask(const std::string& path, const Call& call) {
  ModuleFailure failure;
  bool done = false;
  if (!without_exceptions(failure, [&] {
        ModuleFailure inner;
        done = call(inner);
        if (!done) failure = std::move(inner);
      }))
    done = false;
  if (done) return;
  if (failure.message.empty()) failure.message = "it failed and does not say why";
  throw Error(failure.code, failure.message + " (module '" + path + "')");
}

}  // namespace

std::vector<std::string> module_folders() {
  if (const char* set = ::secure_getenv("ACTMATCH_MODULE_PATH")) return split(set);
  std::vector<std::string> folders;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    folders.push_back(program.parent_path().string());
    folders.push_back((program.parent_path() / ACTMATCH_MODULES_FROM_PROGRAM).lexically_normal().string());
  }
  if (folders.empty() || folders.back() != ACTMATCH_MODULES_INSTALLED) folders.push_back(ACTMATCH_MODULES_INSTALLED);
  return folders;
}

BackendModule BackendModule::find(const std::string& backend) {
  const std::string name = file_name(backend);
  std::string looked;
  for (const std::string& folder : module_folders()) {
    const std::string path = (fs::path(folder) / name).string();
    std::error_code ignored;
    if (fs::exists(path, ignored)) return load(path);
    looked += (looked.empty() ? "'" : ", '") + folder + "'";
  }
  refuse("there is no " + name + " in " + (looked.empty() ? "ACTMATCH_MODULE_PATH, which names no folder" : looked) +
         "; build it (nvcc and cuDNN have to be found), or set ACTMATCH_MODULE_PATH to the folder that it is in");
}

BackendModule BackendModule::load(const std::string& path) {
  // RTLD_NOW, so that what is missing shows here and not in the middle of the work.
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle) {
    const char* reason = ::dlerror();
    refuse("the module '" + path + "' cannot be loaded: " + (reason ? reason : "unknown reason") +
           "; install the library that is missing, or add its folder to LD_LIBRARY_PATH");
  }
  const auto entry = reinterpret_cast<ModuleEntry>(::dlsym(handle, kModuleEntry));
  const ModuleTable* table = entry ? entry() : nullptr;
  if (!table || !table->abi)
    refuse("'" + path + "' is no module of actmatch: it does not have " + kModuleEntry + "; take another file away from its place");
  if (std::strcmp(table->abi, module_abi()) != 0)
    refuse("the module '" + path + "' is of another build (" + table->abi + ") than this program (" + module_abi() +
           "); build and install both together");
  return BackendModule(path, table);
}

std::vector<ModuleDevice> BackendModule::devices() const {
  std::vector<ModuleDevice> devices;
  ask(path_, [&](ModuleFailure& failure) { return table_->list_devices(devices, failure); });
  return devices;
}

std::unique_ptr<Backend> BackendModule::make_backend(const ModuleOptions& options) const {
  std::unique_ptr<Backend> backend;
  ask(path_, [&](ModuleFailure& failure) { return table_->make_backend(backend, options, failure); });
  if (!backend) throw Error(ErrorCode::kInternal, "the module '" + path_ + "' made no backend and does not say why");
  return backend;
}

}  // namespace actmatch
