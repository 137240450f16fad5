#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

// exp is right to an ulp, its argument is off by up to 8 * 2^-24 (the subtraction of the maximum), a line has up to 33 terms: 60 roundings.
const Tolerance kLine = epsilons(60);

TEST(Softmax, AllAxes) {
  for (const Shape& shape : {Shape{7}, Shape{3, 5}, Shape{2, 3, 4}, Shape{2, 9, 3, 2}, Shape{1, 33}, Shape{4, 1}})
    for (int64_t axis = 0; axis < static_cast<int64_t>(shape.size()); ++axis)
      for (bool log : {false, true}) {
        RandomArrays random(31);
        check_op({std::string(log ? "log-softmax of " : "softmax of ") + to_string(shape) + " along " + std::to_string(axis),
                  SoftmaxAttrs{axis, log},
                  {{random.uniform(shape, -4, 4)}}},
                 kLine, kLine);
      }
}

TEST(Softmax, EmptyExtents) {
  for (bool log : {false, true}) {
    check_op({"no lines", SoftmaxAttrs{1, log}, {{Doubles({0, 3})}}}, exact(), exact());
    check_op({"empty lines", SoftmaxAttrs{1, log}, {{Doubles({3, 0})}}}, exact(), exact());
  }
}

TEST(Softmax, LargeArgumentsDoNotOverflow) {
  for (bool log : {false, true})
    check_in(tested_backend(), {"large", SoftmaxAttrs{1, log}, {{of_values({2, 3}, {1000, 999, -1000, -500, -500.5, -499})}}}, {}, kLine,
             kLine);
}

}  // namespace
}  // namespace actmatch::test
