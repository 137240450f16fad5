#include "kernels/philox.h"

#include <array>
#include <set>

#include "kernels/normal_batch.h"
#include "tests/kernels/kernel_test_util.h"

namespace actmatch::kernels {
namespace {

TEST(Philox, PublishedVectors) {
  // Known answers of Random123 for philox4x32-10: counter, key, result.
  struct Known {
    PhiloxWords counter;
    uint32_t key0, key1;
    std::array<uint32_t, 4> result;
  };
  const Known known[] = {
      {{{0, 0, 0, 0}}, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Known& k : known) {
    const PhiloxWords got = philox4x32_10(k.counter, k.key0, k.key1);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(got.word[i], k.result[i]);
  }
}

TEST(Philox, BlockLayoutIsTheDocumentedOne) {
  const PhiloxWords block = random_block(0x299f31d0a4093822u, RandomStream::kCertify, 3, 0x77, 0x55, 0x99);
  const PhiloxWords same = philox4x32_10({{0x99, 0x55, 2 + 256 * 3, 0x77}}, 0xa4093822, 0x299f31d0);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(block.word[i], same.word[i]);
}

TEST(Philox, EveryCoordinateMatters) {
  std::set<uint32_t> seen;
  const auto add = [&](const PhiloxWords& w) { seen.insert(w.word[0]); };
  add(random_block(1, RandomStream::kOptimise, 0, 0, 0, 0));
  add(random_block(1ull << 32, RandomStream::kOptimise, 0, 0, 0, 0));
  add(random_block(1, RandomStream::kPrune, 0, 0, 0, 0));
  add(random_block(1, RandomStream::kCertify, 0, 0, 0, 0));
  add(random_block(1, RandomStream::kInitialise, 0, 0, 0, 0));
  add(random_block(1, RandomStream::kOptimise, 1, 0, 0, 0));
  add(random_block(1, RandomStream::kOptimise, 0, 1, 0, 0));
  add(random_block(1, RandomStream::kOptimise, 0, 0, 1, 0));
  add(random_block(1, RandomStream::kOptimise, 0, 0, 0, 1));
  EXPECT_EQ(seen.size(), 9u);
}

TEST(Philox, UniformsStayInsideTheOpenInterval) {
  EXPECT_EQ(uniform_of(0), 0x1p-33);
  EXPECT_EQ(uniform_of(~0u), 1 - 0x1p-33);
  EXPECT_TRUE(std::isfinite(normal_pair(0, 0).first));
  EXPECT_TRUE(std::isfinite(normal_pair(~0u, ~0u).second));
}

TEST(Philox, BatchGivesTheSameNormalNumbers) {
  for (int64_t count : {int64_t{1}, int64_t{3}, kNormalBatch}) {
    for (uint32_t first = 0; first < 20'000; first += 997) {
      double out[4 * kNormalBatch];
      normal_batch(out, 77, RandomStream::kPrune, 2, 5, 9, first, count);
      for (int64_t i = 0; i < count; ++i) {
        const NormalBlock b = normal_block(random_block(77, RandomStream::kPrune, 2, 5, 9, first + uint32_t(i)));
        // Series cut off at 2e-16, then a dozen roundings of numbers up to 6; libm is exact beside that.
        for (int k = 0; k < 4; ++k) ASSERT_NEAR(out[4 * i + k], b.value[k], 2e-14);
      }
    }
  }
}

TEST(Philox, BatchLogarithmAndAnglesOverTheirWholeRange) {
  for (uint32_t word : {0u, 1u, 2u, 1u << 16, 0x7fffffffu, 0x80000000u, 0xb504f333u, 0xb504f334u, 0xfffffffeu, 0xffffffffu}) {
    const double u = uniform_of(word), exact = std::log(u);
    EXPECT_NEAR(log_vec(u), exact, 1e-15 * std::abs(exact) + 1e-26) << word;  // relative also near 1, where ln u is 1e-10
  }
  for (int i = 0; i < 4096; ++i) {
    const double v = (i + 0.5) / 4096;
    double c, s;
    cos_sin_turns(v, &c, &s);
    EXPECT_NEAR(c, std::cos(2 * M_PI * v), 2e-15) << v;  // the reference's own angle, up to 6.3, is rounded by 4e-16
    EXPECT_NEAR(s, std::sin(2 * M_PI * v), 2e-15) << v;
  }
}

TEST(Philox, NormalNumbersHaveTheMomentsOfTheNormalDistribution) {
  const int blocks = 100'000, n = 4 * blocks;
  double sum[5] = {}, cross = 0;
  int beyond2 = 0;
  for (int q = 0; q < blocks; ++q) {
    const NormalBlock b = normal_block(random_block(5, RandomStream::kOptimise, 0, 0, 0, uint32_t(q)));
    for (double v : b.value) {
      double power = 1;
      for (double& s : sum) s += power, power *= v;
      beyond2 += std::abs(v) > 2;
    }
    cross += b.value[0] * b.value[1] + b.value[2] * b.value[3];
  }
  // Five standard errors each: of the mean 1/sqrt(n), of the k-th moment sqrt(m_2k - m_k^2) / sqrt(n); the seed is fixed.
  const double error = 5 / std::sqrt(double(n));
  EXPECT_NEAR(sum[1] / n, 0, error);
  EXPECT_NEAR(sum[2] / n, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(sum[3] / n, 0, error * std::sqrt(15.0));
  EXPECT_NEAR(sum[4] / n, 3, error * std::sqrt(96.0));
  EXPECT_NEAR(double(beyond2) / n, 0.0455003, error * std::sqrt(0.0455 * 0.9545));
  EXPECT_NEAR(cross / (2.0 * blocks), 0, 5 / std::sqrt(2.0 * blocks));  // the two numbers of a pair are uncorrelated
}

}  // namespace
}  // namespace actmatch::kernels
