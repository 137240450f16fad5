// For test programs of the CUDA backend: the precision that they are about, and which of the shared tests it suits.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "engine/backend/backend.h"
#include "tests/support/compare.h"

namespace actmatch::test {

// ACTMATCH_TEST_PRECISION: fp32 (default), tf32 or bf16.
inline Precision precision_under_test() {
  const char* name = std::getenv("ACTMATCH_TEST_PRECISION");
  return precision_of(name ? name : "fp32");
}

// What a test asks for when it says `t`. Also one that says exact(): operators mostly stand behind a convolution with the identity, which
// rounds what goes through, and so does the gradient on its way back.
// TF32 keeps 10 bits of a factor: off by up to 2^-10 of itself where the rest is cut off, 1e-6 in the squared norm. bf16 keeps 7 and every
// operator rounds once or twice: 1e-5 for a few of them. A branch of an activation or of a maximum that is taken the other way costs more,
// up to a percent whichever way the emulator rounds in TF32, more in bf16: the bounds leave that room, and a wrong operator is off by
// about 1.
inline Tolerance tolerance_under_test(Tolerance t) {
  const double asked = t.kind == Tolerance::Kind::kSquared ? t.amount : 0;
  switch (precision_under_test()) {
    case Precision::kTf32: return squared(std::max(asked, 2e-2));
    case Precision::kBf16: return squared(std::max(asked, 3e-2));
    case Precision::kF32: break;
  }
  return t;
}
inline double branch_margin_under_test() { return precision_under_test() == Precision::kF32 ? 1e-3 : 3e-2; }

// Without a --gtest_filter: all tests but those of the reference itself, which run with the CPU's, and the many small ones about the CPU's
// layouts; and in TF32 and bf16 not those about numbers that these cannot tell apart, sums that cancel (random graphs have them too), and
// branches deep in a net, nor those whose own bounds are for fp32.
inline void choose_tests() {
  if (::testing::GTEST_FLAG(filter) != "*") return;
  std::string filter = "-*Reference*:Binary.NumbersAndChannelsBehindConvolutions";
  if (precision_under_test() != Precision::kF32)
    filter +=
        ":*LargeArguments*:Binary.OfAValueWithItself:Lowering.FusedActivations:Lowering.PoolsOf*:WholeNets.MobileNet*:RandomGraphs*:Cuda*";
  ::testing::GTEST_FLAG(filter) = filter;
}

}  // namespace actmatch::test
