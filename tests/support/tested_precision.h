// For test programs of the CUDA backend: the precision that they are about, and which of the shared tests it suits.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "engine/backend/backend.h"

namespace actmatch::test {

// ACTMATCH_TEST_PRECISION: fp32 (default), tf32 or bf16.
inline Precision precision_under_test() {
  const char* name = std::getenv("ACTMATCH_TEST_PRECISION");
  return precision_of(name ? name : "fp32");
}

// Without a --gtest_filter: all tests but those of the reference itself, which run with the CPU's, and the many small ones about the CPU's
// layouts; and in bf16 not those about numbers that it cannot tell apart, sums that cancel (random graphs have them too), and branches deep
// in a net, nor those whose own bounds are for fp32.
inline void choose_tests() {
  if (::testing::GTEST_FLAG(filter) != "*") return;
  std::string filter = "-*Reference*:Binary.NumbersAndChannelsBehindConvolutions";
  if (precision_under_test() == Precision::kBf16)
    filter +=
        ":*LargeArguments*:Binary.OfAValueWithItself:Lowering.FusedActivations:Lowering.PoolsOf*:WholeNets.MobileNet*:RandomGraphs*:Cuda*";
  ::testing::GTEST_FLAG(filter) = filter;
}

}  // namespace actmatch::test
