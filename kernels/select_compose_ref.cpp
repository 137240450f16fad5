#include "kernels/select_compose.h"

#include <algorithm>

namespace actmatch::kernels {
namespace {

// Calls row(background) with the background of channel c of the job as a function of the pixel.
template <class T, class Row>
void with_background(const SelectSources<T>& sources, const SelectJob& job, int64_t c, int64_t C, int64_t HW, Row row) {
  if (job.set < 0) {
    row([v = sources.colour[c]](int64_t) { return v; });
  } else {
    row([v = sources.sets[job.set] + (job.background * C + c) * HW](int64_t i) { return v[i]; });
  }
}

}  // namespace

template <class T>
void select_compose_ref(T* out, const SelectSources<T>& sources, const SelectJob* jobs, bool complement, int64_t n, int64_t C, int64_t H,
                        int64_t W) {
  const int64_t HW = H * W;
  const uint8_t shown = complement ? 0 : 1;
  for (int64_t j = 0; j < n; ++j) {
    const PixelBox& box = jobs[j].removed;
    const uint8_t* mask = sources.masks + jobs[j].mask * HW;
    for (int64_t c = 0; c < C; ++c, out += HW) {
      const T* x = sources.x + c * HW;
      with_background(sources, jobs[j], c, C, HW, [&](auto background) {
        for (int64_t i = 0; i < HW; ++i) out[i] = mask[i] == shown ? x[i] : background(i);
        for (int64_t row = box.top; row < box.bottom; ++row)
          for (int64_t i = row * W + box.left; i < row * W + box.right; ++i) out[i] = complement ? x[i] : background(i);
      });
    }
  }
}

template <class T>
void select_gain_ref(T* gain, const T* gradient, const SelectSources<T>& sources, const SelectJob* jobs, T sign, bool inside, int64_t n,
                     int64_t C, int64_t H, int64_t W, bool accumulate) {
  const int64_t HW = H * W;
  if (!accumulate) std::fill_n(gain, HW, T(0));
  for (int64_t j = 0; j < n; ++j) {
    const PixelBox& box = jobs[j].removed;
    const uint8_t* mask = inside ? sources.masks + jobs[j].mask * HW : nullptr;
    const auto counts = [&](int64_t i) { return !mask || (mask[i] && (box.empty() || !box.holds(i / W, i % W))); };
    for (int64_t c = 0; c < C; ++c, gradient += HW) {
      const T* x = sources.x + c * HW;
      with_background(sources, jobs[j], c, C, HW, [&](auto background) {
        for (int64_t i = 0; i < HW; ++i)
          if (counts(i)) gain[i] += sign * (gradient[i] * (x[i] - background(i)));
      });
    }
  }
}

#define ACTMATCH_INSTANTIATE(T)                                                                                                          \
  template void select_compose_ref<T>(T*, const SelectSources<T>&, const SelectJob*, bool, int64_t, int64_t, int64_t, int64_t);          \
  template void select_gain_ref<T>(T*, const T*, const SelectSources<T>&, const SelectJob*, T, bool, int64_t, int64_t, int64_t, int64_t, \
                                   bool);
ACTMATCH_INSTANTIATE(float)
ACTMATCH_INSTANTIATE(double)
#undef ACTMATCH_INSTANTIATE

}  // namespace actmatch::kernels
