// Products of a few rows with a large matrix, as in a classifier's head, where reading the matrix once is what takes the time. An element
// is summed in one order whatever rows are computed beside it and by however many threads, so a picture's numbers do not depend on its
// batch.
#pragma once

#include <cstdint>

namespace actmatch::cpu {

struct ThinProduct {
  float* c = nullptr;        // M x N, row-major
  const float* a = nullptr;  // M x K, row-major
  const float* b = nullptr;  // K x N row-major, or N x K where it is turned
  int64_t M = 0, N = 0, K = 0;
  bool turned = false;
  bool accumulate = false;  // C += A B
};

void run(const ThinProduct&);

}  // namespace actmatch::cpu
