// Products with a frozen matrix against plain sums in double, at sizes around all edges of its blocks; and the same bits for a row wherever
// it stands.
#include "engine/backend/cpu/ops/gemm.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

namespace actmatch::test {
namespace {

using cpu::Gemm;

std::vector<float> noise(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = uniform(random);
  return values;
}

std::vector<float> multiply(int64_t M, int64_t N, int64_t K, const std::vector<float>& a, const std::vector<float>& b, bool turned,
                            const float* bias, const std::vector<float>* start) {
  std::vector<float> packed(Gemm::packed_floats(K, N)), c = start ? *start : std::vector<float>(static_cast<size_t>(M * N), -7.0f);
  Gemm::pack(packed.data(), b.data(), K, N, turned);
  const Gemm gemm(M, N, K);
  std::vector<std::byte> scratch(gemm.scratch_bytes());
  cpu::GemmArguments g;
  g.c = c.data(), g.a = a.data(), g.b = packed.data(), g.bias = bias, g.accumulate = start != nullptr, g.scratch = scratch.data();
  gemm.run(g);
  return c;
}

TEST(Gemm, AgreesWithPlainSums) {
  for (const auto& [M, N, K] : std::vector<std::array<int64_t, 3>>{{1, 1, 1},
                                                                   {8, 5, 3},
                                                                   {11, 16, 8},
                                                                   {12, 17, 40},
                                                                   {13, 31, 255},
                                                                   {25, 32, 256},
                                                                   {7, 33, 257},
                                                                   {145, 48, 100},
                                                                   {290, 65, 520},
                                                                   {9, 7, 0}}) {
    const auto a = noise(M * K, 1), b = noise(K * N, 2), bias = noise(N, 3), start = noise(M * N, 4);
    for (const bool turned : {false, true})
      for (const int mode : {0, 1, 2}) {  // alone, with a bias, added to what is there
        const auto c = multiply(M, N, K, a, b, turned, mode == 1 ? bias.data() : nullptr, mode == 2 ? &start : nullptr);
        double worst = 0;
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            double want = mode == 1 ? bias[static_cast<size_t>(n)] : mode == 2 ? start[static_cast<size_t>(m * N + n)] : 0.0f;
            for (int64_t k = 0; k < K; ++k)
              want += double{a[static_cast<size_t>(m * K + k)]} * b[static_cast<size_t>(turned ? n * K + k : k * N + n)];
            worst = std::max(worst, std::fabs(want - c[static_cast<size_t>(m * N + n)]));
          }
        // Rounding of K sums of products below 1, each of at most 2^-24 of the running sum, which is about sqrt(K).
        EXPECT_LE(worst, 2e-7 * static_cast<double>(K + 1)) << M << " " << N << " " << K << " " << turned << " " << mode;
      }
  }
}

TEST(Gemm, ARowGetsTheSameBitsInAnyCompany) {
  const int64_t N = 50, K = 300, most = 160;
  const auto a = noise(most * K, 5), b = noise(K * N, 6);
  const auto all = multiply(most, N, K, a, b, false, nullptr, nullptr);
  for (const int64_t M : {1, 2, 5, 6, 7, 11, 12, 13, 144, 145}) {
    const int64_t first = most - M;
    const std::vector<float> part(a.begin() + first * K, a.end());
    const auto c = multiply(M, N, K, part, b, false, nullptr, nullptr);
    EXPECT_TRUE(std::equal(c.begin(), c.end(), all.begin() + first * N)) << M;
  }
}

}  // namespace
}  // namespace actmatch::test
