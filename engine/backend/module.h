// Backends in modules: shared libraries that are loaded at run time, so that one program works with them and without. A module holds its
// own copy of the engine and exports one C function, which hands out the table below. What crosses the border are C++ objects of one
// build; the first entry of the table tells which build that is, and a module of another one is refused.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/core/error.h"

namespace actmatch {

struct ModuleDevice {
  int index = 0;
  std::string name;         // "NVIDIA H200"
  std::string description;  // for people: memory, versions
};

using NoticeCallback = std::function<void(const std::string&)>;

struct ModuleOptions {
  int device = 0;
  Precision precision = Precision::kF32;
  NoticeCallback notice;  // one line about something that costs time but no result; may be empty
};

struct ModuleFailure {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

// Both functions return false after a failure and let nothing through that was thrown. A backend works with errors as any other one does:
// the exceptions of one build mean the same on both sides.
struct ModuleTable {
  const char* abi;  // module_abi() of the module; read before anything else
  bool (*list_devices)(std::vector<ModuleDevice>& devices, ModuleFailure& failure);
  bool (*make_backend)(std::unique_ptr<Backend>& backend, const ModuleOptions& options, ModuleFailure& failure);
};

// The build that the calling code is of: the project's version, and a stamp of everything that decides how objects look (the headers
// between backend and engine, compiler, flags).
const char* module_abi();

inline constexpr const char* kModuleEntry = "actmatch_backend_module";
using ModuleEntry = const ModuleTable* (*)();
// Before the definition of that function in a module: it is all that a module exports.
#define ACTMATCH_MODULE_ENTRY extern "C" __attribute__((visibility("default")))

// For a module's functions: runs the body; what it throws becomes the failure.
template <class Body>
bool without_exceptions(ModuleFailure& failure, const Body& body) noexcept {
  const auto set = [&](ErrorCode code, const char* message) noexcept {
    failure.code = code;
    try {
      failure.message = message;
    } catch (...) {  // no memory even for that
      failure.message.clear();
    }
    return false;
  };
  try {
    body();
    return true;
  } catch (const Error& e) {
    return set(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return set(ErrorCode::kOutOfMemory, "out of memory");
  } catch (const std::exception& e) {
    return set(ErrorCode::kInternal, e.what());
  } catch (...) {
    return set(ErrorCode::kInternal, "unknown exception");
  }
}

// The program's side: a module that was loaded. It stays loaded until the program ends, because backends and errors of its may live on.
class BackendModule {
 public:
  // Looks for the module of that backend ("cuda": libactmatch_cuda.so) in module_folders() and loads it. Throws kUnsupported: the module
  // is nowhere, cannot be loaded, is no module, or is of another build.
  static BackendModule find(const std::string& backend);
  static BackendModule load(const std::string& path);

  const std::string& path() const { return path_; }
  // Throw what went wrong in the module, as an Error that names the file. An empty list: there are no devices.
  std::vector<ModuleDevice> devices() const;
  std::unique_ptr<Backend> make_backend(const ModuleOptions& options) const;

 private:
  BackendModule(std::string path, const ModuleTable* table) : path_(std::move(path)), table_(table) {}
  std::string path_;
  const ModuleTable* table_;
};

// Where modules lie: the folders of the environment variable ACTMATCH_MODULE_PATH (colons between them) if it is set; otherwise beside the
// program, in lib/actmatch of the prefix that the program lies in, and in that of the prefix that was configured.
std::vector<std::string> module_folders();

}  // namespace actmatch
