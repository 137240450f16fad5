// What bench_kernels times: every launcher at sizes that occur in the engine's work. A case says how its memory is made and how the
// launcher is called; its memory counts the bytes that the kernel has to read and write at least, each once.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/bfloat16.h"

namespace actmatch::kernels::bench {

struct CudaFailure : std::runtime_error {
  CudaFailure(cudaError_t error, const std::string& call)
      : std::runtime_error("CUDA failed: " + call + ": " + cudaGetErrorString(error)), status(error) {}
  cudaError_t status;
};
inline void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw CudaFailure(status, call);
}

// Device memory of one case, freed with it.
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  // Read by the kernel: numbers spread evenly over [low, high). T: float, bfloat16.
  template <class T>
  T* input(int64_t count, double low = -2, double high = 2);
  // Whole numbers of [low, high). T: int32_t, int64_t, uint8_t.
  template <class T>
  T* indices(int64_t count, int64_t low, int64_t high);
  // Given values.
  template <class T>
  T* values(const std::vector<T>& given) {
    T* memory = static_cast<T*>(take(given.size() * sizeof(T), true));
    upload(memory, given.data(), given.size() * sizeof(T));
    return memory;
  }
  // Written by the kernel; zeros before.
  template <class T>
  T* output(int64_t count) {
    return static_cast<T*>(take(static_cast<size_t>(count) * sizeof(T), true));
  }
  // Read and written; zeros before.
  template <class T>
  T* updated(int64_t count) {
    traffic_ += static_cast<size_t>(count) * sizeof(T);
    return output<T>(count);
  }
  // Does not count as work: what goes through it is the kernel's own affair.
  void* scratch(size_t bytes) { return take(bytes, false); }
  float* scratch_floats(int64_t count) { return static_cast<float*>(take(static_cast<size_t>(count) * sizeof(float), false)); }
  // For kernels that touch less (or more) of their memory than all of it.
  void set_traffic(size_t bytes) { traffic_ = bytes; }

  size_t traffic() const { return traffic_; }
  size_t bytes() const { return bytes_; }

 private:
  void* take(size_t bytes, bool counts);
  template <class T, class Next>
  T* repeated(int64_t count, Next next);
  void upload(void* device, const void* host, size_t bytes);

  std::vector<void*> blocks_;
  size_t traffic_ = 0, bytes_ = 0;
};

// The sizes of ResNet-50 and SqueezeNet at 224 x 224, for one picture and for 64; tests take fractions of them.
struct Sizes {
  std::vector<int64_t> batches = {1, 64};
  int64_t divisor = 1;
  int64_t operator()(int64_t extent) const { return extent / divisor > 1 ? extent / divisor : 1; }
};

using Launch = std::function<cudaError_t(cudaStream_t)>;

// What does the arithmetic, where there is enough of it to matter.
enum class Unit : uint8_t { kNone, kFp32, kTensorCores };

struct Case {
  std::string kernel;  // the launcher
  std::string size;
  std::function<Launch(Memory&)> prepare;
  double operations = 0;  // floating-point ones, a multiplication with its addition counting two
  Unit unit = Unit::kNone;

  std::string name() const { return kernel + " " + size; }
};

class Cases {
 public:
  explicit Cases(Sizes s) : size(std::move(s)) {}
  void add(const std::string& kernel, const std::string& size_text, std::function<Launch(Memory&)> prepare, double operations = 0,
           Unit unit = Unit::kNone) {
    list.push_back({kernel, size_text, std::move(prepare), operations, unit});
  }

  Sizes size;
  std::vector<Case> list;
};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
template <class T>
constexpr const char* kTypeName = "";
template <>
inline constexpr const char* kTypeName<float> = "fp32";
template <>
inline constexpr const char* kTypeName<bfloat16> = "bf16";

// One file each.
void add_mask_cases(Cases& cases);
void add_tap_cases(Cases& cases);
void add_loss_cases(Cases& cases);
void add_step_cases(Cases& cases);
void add_method_cases(Cases& cases);
void add_select_cases(Cases& cases);
void add_conv_cases(Cases& cases);
void add_depthwise_cases(Cases& cases);
void add_elementwise_cases(Cases& cases);
void add_broadcast_cases(Cases& cases);
void add_movement_cases(Cases& cases);
void add_reduce_cases(Cases& cases);
void add_window_cases(Cases& cases);
void add_matrix_cases(Cases& cases);

std::vector<Case> all_cases(const Sizes& sizes);

}  // namespace actmatch::kernels::bench
