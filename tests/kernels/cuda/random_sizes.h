// Sizes as they break kernels, other ones in every run: 1, primes, powers of two and blocks of threads, and what lies beside those.
//
//   ACTMATCH_TEST_SEED    repeats a run: a failure prints it (otherwise --gtest_random_seed, or whatever the system draws)
//   ACTMATCH_TEST_DRAWS   how many cases each test draws beside those that it always has: 0 for none, many to search
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace actmatch::kernels::cuda {

inline uint64_t test_seed() {
  static const uint64_t seed = [] {
    if (const char* given = std::getenv("ACTMATCH_TEST_SEED")) return static_cast<uint64_t>(std::strtoull(given, nullptr, 10));
    if (const auto flag = ::testing::GTEST_FLAG(random_seed); flag != 0) return static_cast<uint64_t>(flag);
    return static_cast<uint64_t>(std::random_device()());
  }();
  return seed;
}
inline int test_draws(int otherwise) {
  const char* given = std::getenv("ACTMATCH_TEST_DRAWS");
  return given ? std::atoi(given) : otherwise;
}

class RandomSizes {
 public:
  explicit RandomSizes(uint64_t seed) : engine_(seed) {}
  int64_t integer(int64_t low, int64_t high) { return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1)); }
  bool chance() { return integer(0, 1) == 1; }
  // From 1 to `most`.
  int64_t size(int64_t most, int64_t block = 256) {
    int64_t n = 1;
    switch (integer(0, 5)) {
      case 0: break;
      case 1:
        for (n = integer(1, most); !is_prime(n) && n > 1;) --n;
        break;
      case 2: n = (int64_t{1} << integer(0, 10)) + integer(-1, 1); break;
      case 3: n = block * integer(1, most / block + 1) + integer(-1, 1); break;
      case 4: n = 32 * integer(1, most / 32 + 1) + integer(-1, 1); break;  // warps
      default: n = integer(1, most);
    }
    return n >= 1 && n <= most ? n : integer(1, most);
  }

 private:
  static bool is_prime(int64_t n) {
    for (int64_t d = 2; d * d <= n; ++d)
      if (n % d == 0) return false;
    return n > 1;
  }
  std::mt19937_64 engine_;
};

}  // namespace actmatch::kernels::cuda
