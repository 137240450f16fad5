#include "kernels/adam.h"

#include <cmath>

namespace actmatch::kernels {

template <class T>
void adam_ref(T* parameter, T* first, T* second, const T* gradient, int64_t count, const AdamOptions& options, int64_t step,
              T gradient_scale) {
  const double t = static_cast<double>(step);
  const T rate = static_cast<T>(options.learning_rate / (1 - std::pow(options.beta1, t)));
  const T correction = static_cast<T>(1 / std::sqrt(1 - std::pow(options.beta2, t)));
  const T beta1 = static_cast<T>(options.beta1), beta2 = static_cast<T>(options.beta2), epsilon = static_cast<T>(options.epsilon);
  // Not 1 - beta in T: rounding beta2 first would cost four digits of the difference.
  const T rest1 = static_cast<T>(1 - options.beta1), rest2 = static_cast<T>(1 - options.beta2);
  for (int64_t i = 0; i < count; ++i) {
    const T g = gradient_scale * gradient[i];
    const T m = beta1 * first[i] + rest1 * g;
    const T v = beta2 * second[i] + rest2 * (g * g);
    first[i] = m;
    second[i] = v;
    parameter[i] -= rate * m / (std::sqrt(v) * correction + epsilon);
  }
}

template void adam_ref<float>(float*, float*, float*, const float*, int64_t, const AdamOptions&, int64_t, float);
template void adam_ref<double>(double*, double*, double*, const double*, int64_t, const AdamOptions&, int64_t, double);

}  // namespace actmatch::kernels
