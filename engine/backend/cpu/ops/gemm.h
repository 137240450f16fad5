// Products of many rows with a frozen matrix: C = A B + bias. An element of C is summed in one order whatever rows and columns are computed
// beside it and by however many threads, so a picture's numbers do not depend on its batch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace actmatch::cpu {

struct GemmArguments {
  float* c = nullptr;           // M x N, row-major
  const float* a = nullptr;     // M x K, row-major
  const float* b = nullptr;     // packed
  const float* bias = nullptr;  // N, or null
  bool accumulate = false;      // C += A B; then without bias
  std::byte* scratch = nullptr;
};

class Gemm {
 public:
  Gemm(int64_t M, int64_t N, int64_t K);
  size_t scratch_bytes() const;
  void run(const GemmArguments&) const;

  static size_t packed_floats(int64_t K, int64_t N);
  // B (K x N) from a row-major matrix, or (`turned`) from its transpose, which then is N x K.
  static void pack(float* packed, const float* b, int64_t K, int64_t N, bool turned);

 private:
  int64_t M_, N_, K_;
  int workers_;
};

}  // namespace actmatch::cpu
