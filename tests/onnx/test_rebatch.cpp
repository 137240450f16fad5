// Files exported with a fixed batch, built with another one.
#include <gtest/gtest.h>

#include "model_maker.h"
#include "onnx_import/ops/rebatch.h"

namespace actmatch::onnx_import {
namespace {

Shape output_shape(const ModelMaker& maker, int64_t batch) {
  const Graph graph = maker.build({.batch = batch});
  return graph.value(graph.outputs()[0]).shape;
}

TEST(Rebatch, GrowsTheAxisThatHoldsTheBatch) {
  const Growth first{0, 1, 3};
  EXPECT_EQ(grow_reshape({1, 512}, first, {1, 512}), (Shape{3, 512}));
  EXPECT_EQ(grow_reshape({1, 512}, first, {512}), (Shape{1536}));
  EXPECT_EQ(grow_reshape({1, 8, 8}, first, {4, 16}), (Shape{12, 16}));
  // Sequence first, as PyTorch's attention has it: 17 positions come before the batch, heads behind it.
  const Growth second{1, 1, 3};
  EXPECT_EQ(grow_reshape({17, 1, 64}, second, {17, 8, 8}), (Shape{17, 24, 8}));
  EXPECT_EQ(grow_reshape({17, 1, 64}, second, {17, 1, 8, 8}), (Shape{17, 3, 8, 8}));
  // The batch has been merged behind other elements: it is in the middle of an axis and cannot be taken apart.
  EXPECT_EQ(grow_reshape({17, 1, 64}, second, {1088}), std::nullopt);
  // Two images to three: windows of an image stay together.
  EXPECT_EQ(grow_reshape({2, 4, 4}, {0, 2, 3}, {8, 4}), (Shape{12, 4}));
  EXPECT_EQ(grow_reshape({2, 4, 4}, {0, 2, 3}, {1, 32}), std::nullopt) << "1 * 3/2 is no extent";
}

TEST(Rebatch, FindsOneGrownAxis) {
  const auto growth = find_growth({1, 3, 4}, {5, 3, 4});
  ASSERT_TRUE(growth);
  EXPECT_EQ(growth->axis, 0u);
  EXPECT_EQ(growth->to, 5);
  EXPECT_FALSE(find_growth({1, 3}, {1, 3}));
  EXPECT_FALSE(find_growth({1, 3}, {2, 4}));
  EXPECT_FALSE(find_growth({1, 3}, {2, 3, 1}));
}

TEST(Rebatch, FixedReshapeTargets) {
  for (const std::vector<int64_t>& target : {std::vector<int64_t>{1, 12}, {1, -1}, {-1, 12}, {0, -1}}) {
    ModelMaker m;
    m.input("x", {1, 3, 2, 2}).ints("target", target).node("Reshape", {"x", "target"}, {"y"}).output("y");
    EXPECT_EQ(output_shape(m, 0), (Shape{1, 12}));
    EXPECT_EQ(output_shape(m, 5), (Shape{5, 12})) << "target " << to_string(target);
  }
}

// The target is computed from the input's shape: it must not be corrected a second time.
TEST(Rebatch, TargetsThatKnowTheBatch) {
  ModelMaker m;
  m.input("x", {-1, 3, 2, 2}).ints("zero", {0}).ints("rest", {-1});
  m.node("Shape", {"x"}, {"s"}).node("Gather", {"s", "zero"}, {"n"}).node("Concat", {"n", "rest"}, {"target"}).set("axis", int64_t{0});
  m.node("Reshape", {"x", "target"}, {"y"}).output("y");
  EXPECT_EQ(output_shape(m, 0), (Shape{1, 12}));
  EXPECT_EQ(output_shape(m, 5), (Shape{5, 12}));
}

// Positions first and the batch, of one, left to a -1: which axis of the target holds it does not show in the shapes.
TEST(Rebatch, AFileWithAnOpenBatchMeansWhatItSays) {
  ModelMaker m;
  m.input("x", {-1, 5, 6}).ints("merged", {-1, 6}).ints("apart", {5, -1, 3, 2}).filled("w", {6, 6}, 1.0f);
  m.node("Transpose", {"x"}, {"t"}).set("perm", std::vector<int64_t>{1, 0, 2});
  m.node("Reshape", {"t", "merged"}, {"r"}).node("MatMul", {"r", "w"}, {"l"}).node("Reshape", {"l", "apart"}, {"a"});
  m.node("Transpose", {"a"}, {"y"}).set("perm", std::vector<int64_t>{1, 0, 2, 3}).output("y");
  EXPECT_EQ(output_shape(m, 0), (Shape{1, 5, 3, 2}));
  const Graph graph = m.build({.input_shapes = {{"x", {4, 5, 6}}}});
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{4, 5, 3, 2}));
}

// But a target with the batch of one written into it is still followed.
TEST(Rebatch, AnOpenBatchThatWasForgotten) {
  ModelMaker m;
  m.input("x", {-1, 3, 2, 2}).ints("target", {1, 12}).node("Reshape", {"x", "target"}, {"y"}).output("y");
  EXPECT_EQ(output_shape(m, 5), (Shape{5, 12}));
  ModelMaker flat;
  flat.input("x", {-1, 3, 2, 2}).ints("target", {1, -1}).node("Reshape", {"x", "target"}, {"y"}).output("y");
  EXPECT_EQ(output_shape(flat, 5), (Shape{5, 12}));
}

TEST(Rebatch, ClassTokenSlicesAndBoxes) {
  ModelMaker token;  // a constant token in front of each image's patches, and the token taken out again
  token.input("x", {1, 4, 2, 2}).ints("target", {1, 4, 4}).filled("cls", {1, 1, 4}, 1.0f);
  token.node("Reshape", {"x", "target"}, {"patches"}).node("Concat", {"cls", "patches"}, {"all"}).set("axis", int64_t{1});
  token.ints("at", {}, {0}).node("Gather", {"all", "at"}, {"y"}).set("axis", int64_t{1}).output("y");
  EXPECT_EQ(output_shape(token, 0), (Shape{1, 4}));
  EXPECT_EQ(output_shape(token, 3), (Shape{3, 4}));

  ModelMaker slice;  // [0:1] of a batch of one is the whole batch
  slice.input("x", {1, 3, 4, 4}).ints("from", {0, 1}).ints("to", {1, 3}).ints("axes", {0, 2});
  slice.node("Slice", {"x", "from", "to", "axes"}, {"y"}).output("y");
  EXPECT_EQ(output_shape(slice, 3), (Shape{3, 3, 2, 4}));

  ModelMaker resize;
  resize.input("x", {1, 3, 4, 4})
      .ints("sizes", {1, 3, 8, 8})
      .node("Resize", {"x", "", "", "sizes"}, {"y"})
      .set("mode", "linear")
      .output("y");
  EXPECT_EQ(output_shape(resize, 3), (Shape{3, 3, 8, 8}));
}

// The batch ends up inside an axis and the file goes on as if there were one image: the next layers would mix the images.
TEST(Rebatch, RefusesWhatItCannotFollow) {
  ModelMaker m;
  m.input("x", {1, 3, 2, 2}).ints("flat", {3, 4}).ints("back", {1, 3, 2, 2});
  m.node("Transpose", {"x"}, {"t"}).set("perm", std::vector<int64_t>{1, 0, 2, 3});
  m.node("Reshape", {"t", "flat"}, {"r"}).node("Reshape", {"r", "back"}, {"y"}).output("y");
  EXPECT_EQ(error_text([&] { m.build(); }), "");
  std::string text = error_text([&] { m.build({.batch = 2}); });
  EXPECT_NE(text.find("'y' has the shape 1x3x4x2 in place of 2x3x2x2"), std::string::npos) << text;
  EXPECT_NE(text.find("dynamic batch"), std::string::npos) << text;

  ModelMaker squeezed;  // a node that has no meaning for two images
  squeezed.input("x", {1, 3, 2, 2}).ints("axes", {0}).node("Squeeze", {"x", "axes"}, {"y"}, "sq").output("y");
  text = error_text([&] { squeezed.build({.batch = 2}); });
  EXPECT_NE(text.find("'sq'"), std::string::npos) << text;
  EXPECT_NE(text.find("for the input shape 2x3x2x2 (it can for the declared one)"), std::string::npos) << text;
}

TEST(Rebatch, OnlyImagesChange) {
  ModelMaker m;
  m.input("x", {1, 3, 4, 4}).input("scale", {1, 3}).ints("axes", {2, 3});
  m.node("Unsqueeze", {"scale", "axes"}, {"s"}).node("Mul", {"x", "s"}, {"y"}).output("y");
  const Graph graph = m.build({.batch = 2});
  EXPECT_EQ(graph.value(graph.inputs()[0]).shape, (Shape{2, 3, 4, 4}));
  EXPECT_EQ(graph.value(graph.inputs()[1]).shape, (Shape{1, 3}));
}

}  // namespace
}  // namespace actmatch::onnx_import
