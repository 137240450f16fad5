#include "tests/backend/emulated/tf32_libraries.h"

#include <bit>

#include "engine/backend/cuda/conv_tensors.h"
#include "kernels/common/launch.cuh"
#include "tests/backend/emulated/kernel_plans.h"

namespace actmatch::test {
namespace {

// The 13 lowest bits of a factor do not count. Some kernels of the libraries round to the nearest; that is half as far off.
__global__ void cut_kernel(float* cut, const float* x, int64_t count) {
  if (const int64_t i = kernels::cuda::flat_index(); i < count) cut[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(x[i]) & 0xffffe000u);
}
float* cut(cudaStream_t stream, void* memory, const void* x, size_t bytes) {
  auto* to = static_cast<float*>(memory);
  const auto count = static_cast<int64_t>(bytes / sizeof(float));
  ACTMATCH_CUDA(kernels::cuda::launch(stream, cut_kernel, kernels::cuda::grid_of(kernels::cuda::ceil_div(count, kernels::cuda::kThreads)),
                                      kernels::cuda::kThreads, to, static_cast<const float*>(x), count));
  return to;
}
constexpr size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

class Convolution : public cuda::ConvRunner {
 public:
  Convolution(cudaStream_t stream, const cuda::PlanKey& key) : stream_(stream), key_(key), sizes_(cuda::bytes_of(key)) {}
  size_t workspace_bytes() const override {
    return aligned(first_bytes()) + aligned(second_bytes()) + (filter() ? filter_scratch_bytes(key_) : 0);
  }
  void run(const cuda::ConvTensors& tensors, void* workspace) override {
    cuda::require_tensors(key_, tensors);
    auto* memory = static_cast<char*>(workspace);
    void *first = memory, *second = memory + aligned(first_bytes());
    cuda::ConvTensors t = tensors;
    if (key_.pass == cuda::ConvPass::kBackwardData)
      t.y = cut(stream_, first, t.y, first_bytes());
    else
      t.x = cut(stream_, first, t.x, first_bytes());
    if (filter())
      t.y = cut(stream_, second, t.y, second_bytes());
    else
      t.w = cut(stream_, second, t.w, second_bytes());
    run_with_kernels(stream_, key_, t, memory + aligned(first_bytes()) + aligned(second_bytes()));
  }
  double microseconds() const override { return 1; }
  std::string description() const override { return "TF32 plan"; }

 private:
  bool filter() const { return key_.pass == cuda::ConvPass::kBackwardFilter; }
  size_t first_bytes() const { return key_.pass == cuda::ConvPass::kBackwardData ? sizes_.y : sizes_.x; }
  size_t second_bytes() const { return filter() ? sizes_.y : sizes_.w; }

  cudaStream_t stream_;
  cuda::PlanKey key_;
  cuda::ConvBytes sizes_;
};

class Product : public cuda::MatMulRunner {
 public:
  Product(cudaStream_t stream, const cuda::MatMulKey& key) : stream_(stream), key_(key) {}
  size_t workspace_bytes() const override { return aligned(a_bytes()) + aligned(b_bytes()); }
  void run(void* c, const void* a, const void* b, void* workspace) override {
    auto* memory = static_cast<char*>(workspace);
    const float *first = cut(stream_, memory, a, a_bytes()), *second = cut(stream_, memory + aligned(a_bytes()), b, b_bytes());
    multiply_with_kernels(stream_, key_, c, first, second);
  }
  std::string description() const override { return "TF32 product"; }

 private:
  size_t bytes(int64_t stride, int64_t matrix) const { return static_cast<size_t>((key_.batch - 1) * stride + matrix) * sizeof(float); }
  size_t a_bytes() const { return bytes(key_.a_stride, key_.M * key_.K); }
  size_t b_bytes() const { return bytes(key_.b_stride, key_.K * key_.N); }

  cudaStream_t stream_;
  cuda::MatMulKey key_;
};

class Convolutions : public cuda::ConvLibrary {
 public:
  explicit Convolutions(cudaStream_t stream) : stream_(stream) {}
  std::shared_ptr<cuda::ConvRunner> find(const cuda::PlanKey& key) override { return std::make_shared<Convolution>(stream_, key); }

 private:
  cudaStream_t stream_;
};

class Products : public cuda::MatMulLibrary {
 public:
  explicit Products(cudaStream_t stream) : stream_(stream) {}
  std::shared_ptr<cuda::MatMulRunner> find(const cuda::MatMulKey& key) override { return std::make_shared<Product>(stream_, key); }

 private:
  cudaStream_t stream_;
};

}  // namespace

std::unique_ptr<cuda::ConvLibrary> tf32_convolutions(cudaStream_t stream) { return std::make_unique<Convolutions>(stream); }
std::unique_ptr<cuda::MatMulLibrary> tf32_products(cudaStream_t stream) { return std::make_unique<Products>(stream); }

}  // namespace actmatch::test
