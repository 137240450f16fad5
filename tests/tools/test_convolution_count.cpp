// What actmatch_bench says of a network's convolutions, from what its steps say of themselves.
#include <gtest/gtest.h>

#include "tools/bench/classifier_passes.h"

namespace actmatch::bench {
namespace {

NodeProfile node(const char* what, const char* implementation) { return {what, "", implementation, 0, 0}; }

TEST(ConvolutionCount, CountsPassesByWhoDoesThem) {
  const ConvolutionCount none = count_convolutions({node("Relu", "kernel"), node("reorder", "conversion"), node("MatMul", "cuDNN")});
  EXPECT_EQ(none.by_plans + none.by_kernels + none.without_a_plan, 0);
  const ConvolutionCount count =
      count_convolutions({node("Conv", "cuDNN engine 5 {2=25, 12=0} | cuDNN engine 41 {} + skip + derivative"),
                          node("Conv", "cuDNN engine 5 {2=25} | kernel for lack of a plan"), node("Conv", "depthwise kernel"),
                          node("ConvTranspose", "kernel | kernel | cuDNN engine 1 {}"),
                          node("Conv", "kernel for lack of a plan | kernel for lack of a plan"), node("Conv", "cuDNN engine 3 {}")});
  EXPECT_EQ(count.by_plans, 5);
  EXPECT_EQ(count.by_kernels, 3);
  EXPECT_EQ(count.without_a_plan, 3);
}

}  // namespace
}  // namespace actmatch::bench
