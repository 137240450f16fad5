// The rest of the fake runtime, which timing plans does not need: devices, streams, launches, pinned memory, and what nvcc's objects
// register when a program starts.
#include <cuda_runtime.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "tests/backend/cuda/fake_runtime.h"

using namespace actmatch::cuda;

// The names of kernels by their stubs. Made when the first of them is registered, which is before main.
static std::map<const void*, std::string>& kernel_names() {
  static std::map<const void*, std::string> names;
  return names;
}

// "mask_activate_kernel" of the full name, and of one that walks for an operation "walk_kernel of ClipBackward".
static std::string short_name(const char* mangled) {
  const std::unique_ptr<char, void (*)(void*)> full(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr), std::free);
  std::string name = full ? full.get() : mangled;
  const std::string hidden = "(anonymous namespace)::";
  for (size_t at = name.find(hidden); at != std::string::npos; at = name.find(hidden)) name.erase(at, hidden.size());
  const auto last_part = [](const std::string& scoped) {
    const size_t scope = scoped.rfind("::");
    return scope == std::string::npos ? scoped : scoped.substr(scope + 2);
  };
  const size_t end = std::min(name.find_first_of("<("), name.size());
  std::string kernel = last_part(name.substr(0, end));
  if (const size_t comma = name.find(", ", end); kernel == "walk_kernel" && comma != std::string::npos)  // its first argument is a width
    kernel += " of " + last_part(name.substr(comma + 2, name.find_first_of("<,>(", comma + 2) - comma - 2));
  return kernel;
}

extern "C" {

cudaError_t cudaDriverGetVersion(int* version) {
  *version = fake_runtime().driver;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t status = fake_runtime().note("count devices"); status != cudaSuccess) return status;
  *count = static_cast<int>(fake_runtime().devices.size());
  return fake_runtime().counting;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const FakeDevice& fake = fake_runtime().devices.at(static_cast<size_t>(device));
  std::strncpy(properties->name, fake.name.c_str(), sizeof(properties->name) - 1);
  properties->major = fake.major;
  properties->minor = fake.minor;
  properties->multiProcessorCount = 132;
  properties->totalGlobalMem = size_t{1} << 30;
  return fake_runtime().note("get properties");
}
cudaError_t cudaSetDevice(int) { return fake_runtime().note("set device"); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = fake_runtime().room;
  *total = size_t{1} << 30;
  return fake_runtime().note("get memory");
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  fake_runtime().add_node("memset");
  return fake_runtime().note("set memory");
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (const cudaError_t status = fake_runtime().note("create stream"); status != cudaSuccess) return status;
  ++fake_runtime().streams;
  *stream = reinterpret_cast<cudaStream_t>(0x10);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) {
  --fake_runtime().streams;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t status = fake_runtime().note("create event"); status != cudaSuccess) return status;
  return cudaEventCreate(event);
}
cudaError_t cudaEventQuery(cudaEvent_t) { return fake_runtime().note("query event"); }
cudaError_t cudaMallocHost(void** address, size_t bytes) {
  if (const cudaError_t status = fake_runtime().note_outside_capture("malloc on the host"); status != cudaSuccess) return status;
  ++fake_runtime().pinned;
  *address = std::calloc(1, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* address) {
  --fake_runtime().pinned;
  std::free(address);
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t* count) {
  *count = 1;
  return fake_runtime().note("get nodes");
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t*, const void* kernel, void**) {
  fake_runtime().add_node(kernel_names().at(kernel));
  return fake_runtime().note("launch kernel");
}

// The stubs that nvcc makes for <<<>>> mention these; nothing is launched that way.
cudaError_t __cudaGetKernel(cudaKernel_t*, const void*) { std::abort(); }
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t) { std::abort(); }
cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) { std::abort(); }
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, size_t*, void*) { std::abort(); }

// Before main, so without the FakeRuntime.
void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  kernel_names()[stub] = short_name(name);
}

}  // extern "C"
