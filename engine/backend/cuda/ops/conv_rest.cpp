#include "engine/backend/cuda/ops/conv_rest.h"

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/cuda_form.h"

namespace actmatch::cuda {

namespace launch = kernels::cuda;

namespace {

Clip clip_of(const PlanKey& key) {
  switch (key.activation) {
    case ConvActivation::kRelu: return kernels::kReluClip;
    case ConvActivation::kClippedRelu: return {0.0f, key.ceiling};
    case ConvActivation::kNone: break;
  }
  return kernels::kNoClip;
}

template <class T>
void run_rest_in(cudaStream_t stream, const PlanKey& key, const ConvTensors& tensors) {
  const ConvShape& s = key.shape;
  const Clip clip = clip_of(key);
  if (key.pass == ConvPass::kForward) {
    ACTMATCH_CUDA(launch::clip_inplace(stream, static_cast<T*>(tensors.y), clip, s.N * s.out_height() * s.out_width() * s.K));
    return;
  }
  const int64_t count = s.N * s.H * s.W * s.C;
  auto* dx = static_cast<T*>(tensors.x);
  const auto* saved = static_cast<const T*>(tensors.saved);
  if (key.residual)
    add_gradient(stream, dx, static_cast<const T*>(tensors.addend), saved, clip, count);
  else
    ACTMATCH_CUDA(launch::clip_backward(stream, dx, dx, saved, clip, count));
}

}  // namespace

template <class T>
void add_gradient(cudaStream_t stream, T* dx, const T* more, const T* saved, const Clip& clip, int64_t count) {
  if (clip.changes())
    ACTMATCH_CUDA(launch::add_clip_backward(stream, dx, dx, more, saved, clip, count));
  else
    ACTMATCH_CUDA(launch::add(stream, dx, dx, more, kernels::kNoClip, count));
}
template void add_gradient<float>(cudaStream_t, float*, const float*, const float*, const Clip&, int64_t);
template void add_gradient<bfloat16>(cudaStream_t, bfloat16*, const bfloat16*, const bfloat16*, const Clip&, int64_t);

void run_rest(cudaStream_t stream, const PlanKey& key, const ConvTensors& tensors) {
  if (key.precision == ConvPrecision::kBf16)
    run_rest_in<bfloat16>(stream, key, tensors);
  else
    run_rest_in<float>(stream, key, tensors);
}

}  // namespace actmatch::cuda
