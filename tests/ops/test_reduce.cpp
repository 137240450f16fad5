#include "tests/ops/op_check.h"

namespace actmatch::test {
namespace {

struct Sizes {
  const char* name;
  std::vector<int64_t> axes;
  Shape x;
};
const std::vector<Sizes> kSizes = {
    {"positions", {2, 3}, {2, 5, 4, 3}},
    {"channels", {1}, {2, 5, 4, 3}},
    {"batch and last", {0, 3}, {3, 2, 4, 5}},
    {"everything", {0, 1, 2, 3}, {2, 3, 2, 3}},
    {"nothing", {}, {2, 3}},
    {"a vector", {0}, {7}},
    {"a scalar", {}, {}},
    {"extents of one", {0, 2}, {1, 3, 1}},
    {"last of three", {2}, {3, 4, 5}},
    {"positions of one pixel", {2, 3}, {2, 9, 1, 1}},
};
// Sums of at most 36 numbers of size 1: 36 roundings.
const Tolerance kSum = epsilons(40);

TEST(Reduce, AllKinds) {
  for (const Sizes& s : kSizes)
    for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMean, ReduceKind::kMax, ReduceKind::kMin})
      for (bool keep_dims : {true, false}) {
        RandomArrays random(12);
        const bool extreme = kind == ReduceKind::kMax || kind == ReduceKind::kMin;
        const OpCase c{s.name, ReduceAttrs{kind, s.axes, keep_dims}, {{extreme ? random.distinct(s.x, 0.0078125) : random.uniform(s.x)}}};
        check_op(c, extreme ? exact() : kSum, kSum);
      }
}

// Global average pooling reads blocked layouts directly.
TEST(Reduce, PositionsOfManyChannels) {
  for (int64_t channels : {1, 8, 12, 16, 17, 40})
    for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMean})
      for (bool keep_dims : {true, false})
        for (bool shared : {false, true}) {
          RandomArrays random(13);
          const OpCase c{
              std::to_string(channels) + " channels", ReduceAttrs{kind, {2, 3}, keep_dims}, {{random.uniform({2, channels, 6, 6})}}};
          check_in(tested_backend(), c, {true, shared, Surroundings::Activation::kNone}, kSum, kSum);
        }
}

TEST(Reduce, EqualExtremesShareTheGradient) {
  for (ReduceKind kind : {ReduceKind::kMax, ReduceKind::kMin}) {
    const OpCase c{"ties", ReduceAttrs{kind, {1}, true}, {{of_values({2, 4}, {1, 3, 3, 1, 2, 2, 2, 2})}}};
    check_backend(c, exact(), kSum);
  }
}

TEST(Reduce, EmptyExtents) {
  for (bool keep_dims : {true, false}) {
    const OpCase sum{"sum over nothing", ReduceAttrs{ReduceKind::kSum, {1}, keep_dims}, {{Doubles({2, 0, 3})}}};
    check_op(sum, exact(), exact());
    for (ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMean, ReduceKind::kMax, ReduceKind::kMin}) {
      const OpCase empty{"nothing to reduce", ReduceAttrs{kind, {2}, keep_dims}, {{Doubles({2, 0, 3})}}};
      check_op(empty, exact(), exact());
    }
    const OpCase positions{"maps without positions", ReduceAttrs{ReduceKind::kSum, {2, 3}, keep_dims}, {{Doubles({2, 3, 0, 4})}}};
    check_op(positions, exact(), exact());
  }
}

}  // namespace
}  // namespace actmatch::test
