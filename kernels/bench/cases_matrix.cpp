// The plain matrix product, for what cuBLASLt is not used for: gemm.cu.
#include "kernels/bench/case.h"
#include "kernels/cuda_ops.h"

namespace actmatch::kernels::bench {

namespace {

template <class To, class From>
void add_product(Cases& cases, const std::string& name, int64_t M, int64_t N, int64_t K) {
  cuda::GemmShape shape;
  shape.M = M;
  shape.N = N;
  shape.K = K;
  shape.transpose_b = true;
  cases.add(
      "gemm", text(name, kTypeName<To>, " from ", kTypeName<From>, " ", M, "x", N, "x", K),
      [=](Memory& m) {
        To* c = m.output<To>(M * N);
        const From *a = m.input<From>(M * K), *b = m.input<From>(N * K);
        const To* bias = m.input<To>(N);
        return [=](cudaStream_t s) { return cuda::gemm<To, From>(s, c, a, b, bias, shape, false, {}); };
      },
      2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K), Unit::kFp32);
}

}  // namespace

void add_matrix_cases(Cases& cases) {
  for (int64_t B : cases.size.batches) {
    const int64_t classes = cases.size(1000), features = cases.size(2048), tokens = B * cases.size(197), D = cases.size(768);
    add_product<float, float>(cases, "classes ", B, classes, features);
    add_product<bfloat16, bfloat16>(cases, "classes ", B, classes, features);
    add_product<float, bfloat16>(cases, "classes ", B, classes, features);
    add_product<float, float>(cases, "tokens ", tokens, D, D);
    add_product<bfloat16, bfloat16>(cases, "tokens ", tokens, D, D);
  }
}

}  // namespace actmatch::kernels::bench
