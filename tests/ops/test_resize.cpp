#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

TEST(Resize, UpDownAndSideways) {
  for (const Shape& from : {Shape{1, 2, 3, 4}, Shape{2, 9, 5, 7}, Shape{1, 1, 1, 1}, Shape{2, 3, 1, 6}, Shape{3, 2, 8, 8}})
    for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{{6, 8}, {3, 4}, {5, 3}, {1, 1}, {8, 8}, {11, 2}})
      for (ResizeMode mode : {ResizeMode::kNearest, ResizeMode::kLinear}) {
        const OpCase c{to_string(from) + " to " + std::to_string(height) + "x" + std::to_string(width),
                       ResizeAttrs{mode, height, width},
                       {{RandomArrays(71).uniform(from)}}};
        // The source coordinate in fp32 may be off by 2^-24 * 8 (extents up to 8), and so are the weights; a gradient adds up to 88 of
        // them. The nearest source is an integer division: exact, but for the sum of the gradient.
        if (from[1] < 9) check_gradient(c);
        check_backend(c, mode == ResizeMode::kNearest ? exact() : epsilons(40), epsilons(200));
      }
}

TEST(Resize, EmptyBatch) {
  for (ResizeMode mode : {ResizeMode::kNearest, ResizeMode::kLinear})
    check_op({"empty", ResizeAttrs{mode, 4, 4}, {{Doubles({0, 2, 3, 3})}}}, exact(), exact());
}

}  // namespace
}  // namespace actmatch::test
