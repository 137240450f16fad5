// Adam, fused over a contiguous vector of parameters; the formula and the order of operations are PyTorch's.
//
//   g = gradient_scale * gradient
//   first  = beta1 first  + (1 - beta1) g
//   second = beta2 second + (1 - beta2) g^2
//   parameter -= lr / (1 - beta1^step) * first / (sqrt(second) / sqrt(1 - beta2^step) + epsilon)
//
// Bound by memory traffic: four vectors read, three written, 28 bytes a parameter in float.
#pragma once

#include <cstdint>

namespace actmatch::kernels {

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
};

// One of the tensors that are optimised together; all [count], first and second start at zero.
struct AdamTensor {
  float *parameter = nullptr, *first = nullptr, *second = nullptr;
  const float* gradient = nullptr;
  int64_t count = 0;
};

// parameter, first, second, gradient [count]; first and second start at zero. step counts from 1.
template <class T>
void adam_ref(T* parameter, T* first, T* second, const T* gradient, int64_t count, const AdamOptions& options, int64_t step,
              T gradient_scale);

}  // namespace actmatch::kernels
