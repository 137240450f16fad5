// What the CUDA backend leaves to NVIDIA's libraries, as it sees them: convolutions and matrix products. cudnn/ and cublas/ stand behind it
// on a GPU; without them (in the emulator of the tests, or for a shape that a library refuses) the backend runs kernels of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/backend/cuda/conv_key.h"

namespace actmatch::cuda {

// Device addresses of the tensors of a PlanKey; what the key has not is null. Gradients stand at the place of their tensor.
struct ConvTensors {
  void* x = nullptr;             // x, or dx
  void* w = nullptr;             // w, or dw
  void* y = nullptr;             // y, or dy
  const void* bias = nullptr;    // [K], in the type of y
  const void* addend = nullptr;  // residual, or the skip connection's gradient
  const void* saved = nullptr;   // backward data: the output of the activation whose derivative is taken
};

// One convolution made ready: the plan is chosen and built. run() launches on the library's stream and allocates nothing.
class ConvRunner {
 public:
  virtual ~ConvRunner() = default;
  virtual size_t workspace_bytes() const = 0;
  virtual void run(const ConvTensors& tensors, void* workspace) = 0;
  virtual double microseconds() const = 0;      // measured when the plan was chosen (perhaps by an earlier process)
  virtual std::string description() const = 0;  // "cuDNN engine 5 {2=25}"
};

// Launches the kernel of our own that does what less_fused(key) leaves; see ops/conv_rest.h.
using ConvRest = std::function<void(const PlanKey& key, const ConvTensors& tensors)>;

class ConvLibrary {
 public:
  virtual ~ConvLibrary() = default;
  // Null when the library has no deterministic plan for this key; the reason then goes to the notice callback once. Runners of equal keys
  // are shared.
  virtual std::shared_ptr<ConvRunner> find(const PlanKey& key) = 0;
};

// C[b] = op(A[b]) op(B[b]) [+ C[b]], row-major, b < batch; strides in elements, a stride of 0 repeats the matrix.
struct MatMulKey {
  ConvPrecision precision = ConvPrecision::kF32;
  int64_t M = 1, N = 1, K = 1, batch = 1;
  bool transpose_a = false, transpose_b = false;
  int64_t a_stride = 0, b_stride = 0, c_stride = 0;
  bool accumulate = false;

  auto operator<=>(const MatMulKey&) const = default;
};

class MatMulRunner {
 public:
  virtual ~MatMulRunner() = default;
  virtual size_t workspace_bytes() const = 0;
  virtual void run(void* c, const void* a, const void* b, void* workspace) = 0;
  virtual std::string description() const = 0;
};

class MatMulLibrary {
 public:
  virtual ~MatMulLibrary() = default;
  virtual std::shared_ptr<MatMulRunner> find(const MatMulKey& key) = 0;  // null: not by this library
};

}  // namespace actmatch::cuda
