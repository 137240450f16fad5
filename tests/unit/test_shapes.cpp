// The shape rules: one table of what fits and one of what must be refused, with the words the message has to contain.
#include <limits>

#include "tests/unit/graph_test_util.h"

namespace actmatch {
namespace {

using namespace test;

struct In {
  Shape shape;
  DType dtype = DType::kF32;
};

InferredValue infer(const Attributes& attrs, const std::vector<In>& inputs) {
  Graph g;
  std::vector<ValueId> ids;
  for (const In& in : inputs) ids.push_back(g.add_input("in" + std::to_string(ids.size()), in.dtype, in.shape));
  const Value& v = g.value(g.add_node("node", attrs, ids));
  return {v.dtype, v.shape};
}

Shape shape_of(const Attributes& attrs, const std::vector<In>& inputs) { return infer(attrs, inputs).shape; }

void refuses(const Attributes& attrs, const std::vector<In>& inputs, const std::vector<std::string>& words) {
  expect_mentions(error_of([&] { infer(attrs, inputs); }), words);
}

TEST(Shapes, Conv) {
  EXPECT_EQ(shape_of(ConvAttrs{}, {{{2, 3, 8, 9}}, {{5, 3, 3, 1}}}), (Shape{2, 5, 6, 9}));
  EXPECT_EQ(shape_of(ConvAttrs{{2, 2}, {3, 3, 3, 3}}, {{{1, 3, 224, 224}}, {{64, 3, 7, 7}}, {{64}}}), (Shape{1, 64, 112, 112}));
  EXPECT_EQ(shape_of(ConvAttrs{{1, 1}, {2, 2, 2, 2}, {2, 2}, 4}, {{{1, 4, 5, 5}}, {{8, 1, 3, 3}}}), (Shape{1, 8, 5, 5}));
  EXPECT_EQ(shape_of(ConvAttrs{{2, 1}, {0, 1, 1, 2}}, {{{1, 1, 4, 4}}, {{1, 1, 3, 3}}}), (Shape{1, 1, 2, 5})) << "uneven pads";
  EXPECT_EQ(shape_of(ConvAttrs{}, {{{0, 3, 8, 8}}, {{5, 3, 3, 3}}}), (Shape{0, 5, 6, 6})) << "an empty batch";
  refuses(ConvAttrs{}, {{{1, 3, 8, 8}}, {{5, 4, 3, 3}}}, {"1x3x8x8", "5x4x3x3", "channels"});
  refuses(ConvAttrs{{1, 1}, {}, {1, 1}, 3}, {{{1, 3, 8, 8}}, {{4, 1, 3, 3}}}, {"4x1x3x3", "3 groups"});
  refuses(ConvAttrs{}, {{{1, 3, 8, 8}}, {{5, 3, 3, 3}}, {{4}}}, {"bias", "4", "5x3x3x3"});
  refuses(ConvAttrs{}, {{{1, 3, 2, 8}}, {{5, 3, 3, 3}}}, {"1x3x2x8", "5x3x3x3", "spans 3"});
  refuses(ConvAttrs{}, {{{3, 8, 8}}, {{5, 3, 3, 3}}}, {"4 dimensions", "3x8x8"});
  refuses(ConvAttrs{}, {{{1, 3, 8, 8}, DType::kI64}, {{5, 3, 3, 3}}}, {"float32", "int64"});
  refuses(ConvAttrs{{0, 1}}, {{{1, 3, 8, 8}}, {{5, 3, 3, 3}}}, {"stride 0"});
  refuses(ConvAttrs{{1, 1}, {-1, 0, 0, 0}}, {{{1, 3, 8, 8}}, {{5, 3, 3, 3}}}, {"pad -1"});
  refuses(ConvAttrs{{1, 1}, {std::numeric_limits<int64_t>::max(), 0, 0, 0}}, {{{1, 3, 8, 8}}, {{5, 3, 3, 3}}}, {"pad 92"});
  refuses(ConvAttrs{{1, 1}, {}, {1, 1}, 0}, {{{1, 3, 8, 8}}, {{5, 3, 3, 3}}}, {"groups 0"});
  refuses(ConvAttrs{}, {{{1, 3, 8, 8}}, {{5, 3, 0, 3}}}, {"kernel extent 0"});
}

TEST(Shapes, ConvWithWeightsForEachPartOfTheBatch) {
  EXPECT_EQ(shape_of(ConvAttrs{}, {{{6, 3, 8, 9}}, {{3, 5, 3, 3, 1}}}), (Shape{6, 5, 6, 9}));
  EXPECT_EQ(shape_of(ConvAttrs{{2, 2}, {1, 1, 1, 1}, {1, 1}, 2}, {{{4, 6, 8, 8}}, {{4, 10, 3, 3, 3}}, {{4, 10}}}), (Shape{4, 10, 4, 4}));
  EXPECT_EQ(shape_of(ConvAttrs{}, {{{2, 3, 8, 8}}, {{1, 5, 3, 3, 3}}, {{1, 5}}}), (Shape{2, 5, 6, 6}));
  EXPECT_EQ(shape_of(ConvTransposeAttrs{{2, 2}, {}, {1, 1}, {0, 0}, 3}, {{{4, 3, 8, 8}}, {{2, 3, 5, 2, 2}}, {{2, 15}}}),
            (Shape{4, 15, 16, 16}));
  refuses(ConvAttrs{}, {{{5, 3, 8, 8}}, {{3, 5, 3, 3, 3}}}, {"batch of 5", "3 instances", "5x3x8x8"});
  refuses(ConvAttrs{}, {{{4, 3, 8, 8}}, {{0, 5, 3, 3, 3}}}, {"instances 0"});
  refuses(ConvAttrs{}, {{{4, 3, 8, 8}}, {{2, 5, 3, 3, 3}}, {{5}}}, {"bias", "2x5x3x3x3"});
  refuses(ConvAttrs{}, {{{4, 3, 8, 8}}, {{5, 3, 3, 3}}, {{2, 5}}}, {"bias", "2x5"});
  refuses(ConvAttrs{}, {{{4, 3, 8, 8}}, {{2, 2, 5, 3, 3, 3}}}, {"4 dimensions"});
  refuses(ConvAttrs{}, {{{4, 3, 8, 8}}, {{2, 5, 4, 3, 3}}}, {"channels"});
  refuses(ConvTransposeAttrs{}, {{{5, 3, 8, 8}}, {{2, 3, 5, 2, 2}}}, {"batch of 5"});
  refuses(ConvTransposeAttrs{}, {{{4, 3, 8, 8}}, {{2, 3, 5, 2, 2}}, {{5}}}, {"bias"});
}

TEST(Shapes, ConvTranspose) {
  EXPECT_EQ(shape_of(ConvTransposeAttrs{{2, 2}}, {{{1, 3, 8, 8}}, {{3, 5, 2, 2}}, {{5}}}), (Shape{1, 5, 16, 16}));
  EXPECT_EQ(shape_of(ConvTransposeAttrs{{2, 2}, {1, 1, 1, 1}, {1, 1}, {1, 1}, 3}, {{{1, 3, 4, 5}}, {{3, 2, 3, 3}}}), (Shape{1, 6, 8, 10}));
  EXPECT_EQ(shape_of(ConvTransposeAttrs{{1, 1}, {}, {2, 3}}, {{{1, 1, 4, 4}}, {{1, 1, 3, 3}}}), (Shape{1, 1, 8, 10}));
  EXPECT_EQ(shape_of(ConvTransposeAttrs{{1, 1}, {0, 1, 2, 0}}, {{{1, 1, 4, 4}}, {{1, 1, 3, 3}}}), (Shape{1, 1, 4, 5})) << "uneven pads";
  refuses(ConvTransposeAttrs{}, {{{1, 3, 8, 8}}, {{4, 5, 2, 2}}}, {"1x3x8x8", "4x5x2x2"});
  refuses(ConvTransposeAttrs{{2, 2}, {}, {1, 1}, {2, 0}}, {{{1, 3, 8, 8}}, {{3, 5, 2, 2}}}, {"output padding 2"});
  refuses(ConvTransposeAttrs{{1, 1}, {4, 0, 4, 0}}, {{{1, 1, 2, 2}}, {{1, 1, 2, 2}}}, {"pads leave nothing"});
  refuses(ConvTransposeAttrs{}, {{{1, 3, 8, 8}}, {{3, 5, 2, 2}}, {{3}}}, {"bias", "5 channels"});
}

TEST(Shapes, MatMul) {
  EXPECT_EQ(shape_of(MatMulAttrs{}, {{{2, 3}}, {{3, 4}}}), (Shape{2, 4}));
  EXPECT_EQ(shape_of(MatMulAttrs{true, true}, {{{3, 2}}, {{4, 3}}, {{4}}}), (Shape{2, 4}));
  EXPECT_EQ(shape_of(MatMulAttrs{}, {{{5, 1, 2, 3}}, {{7, 3, 4}}}), (Shape{5, 7, 2, 4}));
  EXPECT_EQ(shape_of(MatMulAttrs{}, {{{2, 0}}, {{0, 4}}}), (Shape{2, 4})) << "an empty sum";
  refuses(MatMulAttrs{}, {{{2, 3}}, {{4, 3}}}, {"2x3", "4x3"});
  refuses(MatMulAttrs{}, {{{3}}, {{3, 4}}}, {"at least 2", "3x4"});
  refuses(MatMulAttrs{}, {{{2, 2, 3}}, {{3, 3, 4}}}, {"do not broadcast"});
  refuses(MatMulAttrs{}, {{{2, 3}}, {{3, 4}}, {{1, 4}}}, {"bias", "1x4", "2x4"});
}

TEST(Shapes, Pool) {
  EXPECT_EQ(shape_of(PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {1, 1, 1, 1}}, {{{1, 64, 112, 112}}}), (Shape{1, 64, 56, 56}));
  EXPECT_EQ(shape_of(PoolAttrs{PoolMode::kMax, {2, 3}, {1, 1}, {}, {2, 1}}, {{{1, 1, 5, 5}}}), (Shape{1, 1, 3, 3}));
  EXPECT_EQ(shape_of(PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {}, {1, 1}, true}, {{{1, 1, 6, 7}}}), (Shape{1, 1, 3, 3}));
  EXPECT_EQ(shape_of(PoolAttrs{PoolMode::kMax, {3, 3}, {2, 2}, {}, {1, 1}, false}, {{{1, 1, 6, 7}}}), (Shape{1, 1, 2, 3}));
  // ceil((1 + 2 - 2) / 2) + 1 = 2, but the second window would start in the padding behind the input.
  EXPECT_EQ(shape_of(PoolAttrs{PoolMode::kMax, {2, 2}, {2, 2}, {1, 1, 1, 1}, {1, 1}, true}, {{{1, 1, 1, 1}}}), (Shape{1, 1, 1, 1}));
  refuses(PoolAttrs{PoolMode::kMax, {3, 3}}, {{{1, 1, 2, 5}}}, {"1x1x2x5", "spans 3"});
  refuses(PoolAttrs{PoolMode::kMax, {2, 2}, {1, 1}, {2, 0, 0, 0}}, {{{1, 1, 5, 5}}}, {"pad 2"});
  refuses(PoolAttrs{PoolMode::kMax, {0, 2}}, {{{1, 1, 5, 5}}}, {"kernel extent 0"});
  refuses(PoolAttrs{}, {{{1, 5, 5}}}, {"4 dimensions"});
}

TEST(Shapes, ReduceSoftmaxResize) {
  EXPECT_EQ(shape_of(ReduceAttrs{ReduceKind::kMean, {2, 3}, true}, {{{2, 3, 4, 5}}}), (Shape{2, 3, 1, 1}));
  EXPECT_EQ(shape_of(ReduceAttrs{ReduceKind::kMax, {0, 2}, false}, {{{2, 3, 4}}}), (Shape{3}));
  EXPECT_EQ(shape_of(ReduceAttrs{ReduceKind::kSum, {1}, true}, {{{2, 0}}}), (Shape{2, 1}));
  refuses(ReduceAttrs{ReduceKind::kMax, {1}, true}, {{{2, 0}}}, {"2x0", "empty"});
  refuses(ReduceAttrs{ReduceKind::kSum, {1, 1}, true}, {{{2, 3}}}, {"ascend", "2x3"});
  refuses(ReduceAttrs{ReduceKind::kSum, {2}, true}, {{{2, 3}}}, {"axis 2", "2x3"});
  refuses(ReduceAttrs{ReduceKind::kSum, {0}, true}, {{{2}, DType::kBool}}, {"bool"});
  EXPECT_EQ(shape_of(SoftmaxAttrs{0}, {{{2, 3}}}), (Shape{2, 3}));
  refuses(SoftmaxAttrs{2}, {{{2, 3}}}, {"axis 2", "2x3"});
  EXPECT_EQ(shape_of(ResizeAttrs{ResizeMode::kLinear, 7, 9}, {{{1, 2, 3, 3}}}), (Shape{1, 2, 7, 9}));
  refuses(ResizeAttrs{ResizeMode::kLinear, 0, 9}, {{{1, 2, 3, 3}}}, {"height 0"});
  refuses(ResizeAttrs{ResizeMode::kLinear, 2, 2}, {{{1, 2, 0, 3}}}, {"1x2x0x3"});
}

TEST(Shapes, Elementwise) {
  EXPECT_EQ(shape_of(BinaryAttrs{}, {{{2, 1, 3}}, {{4, 1}}}), (Shape{2, 4, 3}));
  EXPECT_EQ(shape_of(BinaryAttrs{}, {{{0, 3}}, {{1}}}), (Shape{0, 3}));
  EXPECT_EQ(infer(BinaryAttrs{BinaryKind::kLess}, {{{2}}, {{2}}}).dtype, DType::kBool);
  EXPECT_EQ(infer(BinaryAttrs{BinaryKind::kMul}, {{{2}, DType::kI64}, {{2}, DType::kI64}}).dtype, DType::kI64);
  EXPECT_EQ(infer(BinaryAttrs{BinaryKind::kEqual}, {{{2}, DType::kBool}, {{2}, DType::kBool}}).dtype, DType::kBool);
  refuses(BinaryAttrs{}, {{{2, 3}}, {{4}}}, {"2x3", "4", "do not broadcast"});
  refuses(BinaryAttrs{}, {{{2}}, {{2}, DType::kI64}}, {"float32", "int64", "same type"});
  refuses(BinaryAttrs{BinaryKind::kAdd}, {{{2}, DType::kBool}, {{2}, DType::kBool}}, {"bool"});
  refuses(BinaryAttrs{BinaryKind::kAnd}, {{{2}}, {{2}}}, {"must be bool"});
  EXPECT_EQ(infer(UnaryAttrs{UnaryKind::kNeg}, {{{2}, DType::kI64}}).dtype, DType::kI64);
  refuses(UnaryAttrs{UnaryKind::kExp}, {{{2}, DType::kI64}}, {"float32"});
  refuses(UnaryAttrs{UnaryKind::kNot}, {{{2}}}, {"bool"});
  refuses(UnaryAttrs{UnaryKind::kAbs}, {{{2}, DType::kBool}}, {"bool"});
  EXPECT_EQ(shape_of(WhereAttrs{}, {{{2, 1}, DType::kBool}, {{3}}, {{}}}), (Shape{2, 3}));
  refuses(WhereAttrs{}, {{{2}}, {{2}}, {{2}}}, {"condition", "bool"});
  refuses(WhereAttrs{}, {{{2}, DType::kBool}, {{2}}, {{2}, DType::kI64}}, {"same type"});
  EXPECT_EQ(infer(CastAttrs{DType::kI64}, {{{2}}}).dtype, DType::kI64);
  EXPECT_EQ(shape_of(ScaleShiftAttrs{}, {{{2, 3}}, {{3}}, {{3}}}), (Shape{2, 3}));
  refuses(ScaleShiftAttrs{}, {{{2, 3, 4, 4}}, {{4}}, {{3}}}, {"2x3x4x4", "4", "3 channels"});
  EXPECT_EQ(shape_of(BatchNormAttrs{}, {{{2, 3, 4, 4}}, {{3}}, {{3}}, {{3}}, {{3}}}), (Shape{2, 3, 4, 4}));
  refuses(BatchNormAttrs{}, {{{2, 3, 4, 4}}, {{3}}, {{3}}, {{3}}, {{2}}}, {"in4", "3 channels"});
  refuses(BatchNormAttrs{-1.0f}, {{{2, 3, 4, 4}}, {{3}}, {{3}}, {{3}}, {{3}}}, {"epsilon"});
}

TEST(Shapes, Movement) {
  EXPECT_EQ(shape_of(ConcatAttrs{1}, {{{2, 3}}, {{2, 0}}, {{2, 4}}}), (Shape{2, 7}));
  refuses(ConcatAttrs{1}, {{{2, 3}}, {{3, 3}}}, {"2x3", "3x3", "axis 1"});
  refuses(ConcatAttrs{0}, {{{2, 3}}, {{2}}}, {"2x3"});
  refuses(ConcatAttrs{2}, {{{2, 3}}}, {"axis 2"});
  refuses(ConcatAttrs{0}, {{{2}}, {{2}, DType::kI64}}, {"float32"});
  EXPECT_EQ(shape_of(ReshapeAttrs{{6}}, {{{2, 3}}}), (Shape{6}));
  EXPECT_EQ(shape_of(ReshapeAttrs{{0, 7}}, {{{2, 0}}}), (Shape{0, 7}));
  refuses(ReshapeAttrs{{5}}, {{{2, 3}}}, {"2x3", "5 elements"});
  EXPECT_EQ(shape_of(TransposeAttrs{{2, 0, 1}}, {{{2, 3, 4}}}), (Shape{4, 2, 3}));
  refuses(TransposeAttrs{{0, 0}}, {{{2, 3}}}, {"twice", "2x3"});
  refuses(TransposeAttrs{{0}}, {{{2, 3}}}, {"1 entries", "2x3"});
  refuses(TransposeAttrs{{0, 2}}, {{{2, 3}}}, {"axis 2"});
  EXPECT_EQ(shape_of(SliceAttrs{{1, 4}, {1, -2}, {2, 3}}, {{{3, 5}}}), (Shape{2, 3}));
  EXPECT_EQ(shape_of(SliceAttrs{{7}, {1}, {0}}, {{{3}}}), (Shape{0}));
  refuses(SliceAttrs{{1}, {1}, {3}}, {{{3}}}, {"leaves the input of shape 3"});
  refuses(SliceAttrs{{2}, {-2}, {3}}, {{{3}}}, {"step -2"});
  refuses(SliceAttrs{{0}, {0}, {1}}, {{{3}}}, {"step 0"});
  refuses(SliceAttrs{{0}, {std::numeric_limits<int64_t>::min()}, {1}}, {{{3}}}, {"slice"});
  refuses(SliceAttrs{{0}, {std::numeric_limits<int64_t>::max()}, {2}}, {{{3}}}, {"slice"});
  EXPECT_EQ(shape_of(PadAttrs{{1, -1}, {2, 0}}, {{{2, 3}}}), (Shape{5, 2}));
  EXPECT_EQ(shape_of(PadAttrs{{2}, {2}, PadMode::kReflect}, {{{3}}}), (Shape{7}));
  refuses(PadAttrs{{3}, {0}, PadMode::kReflect}, {{{3}}}, {"reflection of 3", "input 3"});
  refuses(PadAttrs{{-2}, {-2}}, {{{3}}}, {"crop", "input 3"});
  refuses(PadAttrs{{-4}, {4}}, {{{3}}}, {"pad -4"});
  refuses(PadAttrs{{1}, {0}, PadMode::kEdge}, {{{0}}}, {"empty"});
  refuses(PadAttrs{{1}, {0}}, {{{2, 3}}}, {"1 entries", "2x3"});
  EXPECT_EQ(shape_of(GatherAttrs{1}, {{{2, 3, 4}}, {{5, 6}, DType::kI64}}), (Shape{2, 5, 6, 4}));
  EXPECT_EQ(shape_of(GatherAttrs{0}, {{{3}}, {{}, DType::kI64}}), (Shape{}));
  refuses(GatherAttrs{0}, {{{3}}, {{2}}}, {"int64"});
  refuses(GatherAttrs{1}, {{{3}}, {{2}, DType::kI64}}, {"axis 1"});
  EXPECT_EQ(shape_of(ExpandAttrs{{4, 2, 3}}, {{{2, 1}}}), (Shape{4, 2, 3}));
  refuses(ExpandAttrs{{4, 3}}, {{{2, 3}}}, {"2x3", "4x3"});
  refuses(ExpandAttrs{{3}}, {{{1, 3}}}, {"1x3"});
}

TEST(Shapes, ConstantIndicesAreCheckedWhereverTheDataIs) {
  Graph g;
  const ValueId x = g.add_input("x", DType::kF32, {2, 3});
  const ValueId good = g.add_constant("good", ints({2}, {-3, 2})), bad = g.add_constant("bad", ints({1}, {3}));
  EXPECT_EQ(g.value(g.add_node("ok", GatherAttrs{1}, {x, good})).shape, (Shape{2, 2}));
  expect_mentions(error_of([&] { g.add_node("no", GatherAttrs{1}, {x, bad}); }), {"index 3", "'bad'", "2x3"});
}

}  // namespace
}  // namespace actmatch
