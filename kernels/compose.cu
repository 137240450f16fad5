// One thread a pixel of an image: it serves all passes and channels, so that x and the mask are read from memory once. With the channels
// last a thread's values of a pass lie together, and those of a warp in one run.
#include "kernels/common/launch.cuh"
#include "kernels/common/passes.cuh"
#include "kernels/cuda.h"

namespace actmatch::kernels::cuda {
namespace {

// A pixel of composed images: where its first channel is, and how far apart its channels are.
struct Pixel {
  int64_t at, step;
  __device__ __forceinline__ Pixel(ChannelOrder order, int64_t i, int64_t C, int64_t HW)
      : at(order == ChannelOrder::kFirst ? i : i * C), step(order == ChannelOrder::kFirst ? HW : 1) {}
};

__global__ void compose_kernel(float* out, const float* x, Passes passes, ChannelOrder order, int64_t B, int64_t C, int64_t HW) {
  const int64_t i = flat_index(), b = blockIdx.y;
  if (i >= HW) return;
  const Pixel pixel(order, i, C, HW);
  for (int64_t p = 0; p < passes.count; ++p) {
    const ComposePass<float>& pass = passes.pass[p];
    const float mask = pass.mask[b * HW + i], keep = pass.complement ? 1.0f - mask : mask, rest = pass.complement ? mask : 1.0f - mask;
    float* to = out + ((passes.first + p) * B + b) * C * HW + pixel.at;
    for (int64_t c = 0; c < C; ++c) to[c * pixel.step] = keep * x[(b * C + c) * HW + i] + rest * background_at(pass, b, c, i, C, HW);
  }
}

__global__ void compose_backward_kernel(float* dmask, const float* dout, const float* x, Passes passes, ChannelOrder order, int64_t B,
                                        int64_t C, int64_t HW, bool accumulate) {
  const int64_t i = flat_index(), b = blockIdx.y;
  if (i >= HW) return;
  const Pixel pixel(order, i, C, HW);
  float sum = accumulate ? dmask[b * HW + i] : 0.0f;
  for (int64_t p = 0; p < passes.count; ++p) {
    const ComposePass<float>& pass = passes.pass[p];
    const float* from = dout + ((passes.first + p) * B + b) * C * HW + pixel.at;
    for (int64_t c = 0; c < C; ++c) {
      const float d = from[c * pixel.step];
      const float term = d * (x[(b * C + c) * HW + i] - background_at(pass, b, c, i, C, HW));
      sum += pass.complement ? -term : term;
    }
  }
  dmask[b * HW + i] = sum;
}

}  // namespace

cudaError_t compose(cudaStream_t stream, float* out, const float* x, const ComposePass<float>* passes, ChannelOrder order, int64_t B,
                    int64_t P, int64_t C, int64_t HW) {
  return in_chunks(passes, P, [&](const Passes& chunk) {
    return launch(stream, compose_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, out, x, chunk, order, B, C, HW);
  });
}

cudaError_t compose_backward(cudaStream_t stream, float* dmask, const float* dout, const float* x, const ComposePass<float>* passes,
                             ChannelOrder order, int64_t B, int64_t P, int64_t C, int64_t HW, bool accumulate) {
  if (P == 0) return accumulate ? cudaSuccess : fill(stream, dmask, 0.0f, B * HW);
  return in_chunks(passes, P, [&](const Passes& chunk) {
    return launch(stream, compose_backward_kernel, grid_of(ceil_div(HW, kThreads), B), kThreads, dmask, dout, x, chunk, order, B, C, HW,
                  accumulate || chunk.first > 0);
  });
}

}  // namespace actmatch::kernels::cuda
