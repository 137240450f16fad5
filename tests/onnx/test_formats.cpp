// What a file may look like apart from its operators: quantised, and with more than a picture at its input.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model_maker.h"

namespace actmatch::onnx_import {
namespace {

TEST(Quantised, PairsBecomeTheClippingTheyDo) {
  ModelMaker m;
  m.floats("a", {4}, {-1, 0.26f, 3, 40}).floats("s", {}, {0.1f});
  m.initializer("z", {}, onnx::TensorProto::UINT8)->add_int32_data(0);  // 0 to 25.5: a ReLU was left to the quantisation
  m.node("QuantizeLinear", {"a", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"y"}).output("y");
  const std::vector<float> y = result_of(m.model());
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], 0.26f) << "not rounded to 0.3";
  EXPECT_EQ(y[2], 3);
  EXPECT_FLOAT_EQ(y[3], 25.5f);
  ASSERT_EQ(m.model().notices().size(), 1u);
  expect_all(m.model().notices()[0], {"quantised", "float form"});
}

TEST(Quantised, WeightsByChannelAndByBlock) {
  ModelMaker m(21);
  auto* w = m.initializer("w", {2, 4}, onnx::TensorProto::INT8);
  for (int v : {1, 2, 3, 4, -1, -2, -3, -4}) w->add_int32_data(v);
  m.floats("by_row", {2}, {0.5f, 2}).floats("by_block", {2, 2}, {1, 10, 100, 1000});
  auto* zero = m.initializer("zero", {2}, onnx::TensorProto::INT8);
  zero->add_int32_data(1);
  zero->add_int32_data(0);
  m.node("DequantizeLinear", {"w", "by_row", "zero"}, {"y"}).set("axis", int64_t{0}).output("y");
  m.node("DequantizeLinear", {"w", "by_block"}, {"b"}).set("axis", int64_t{1}).set("block_size", int64_t{2}).output("b");
  const Graph graph = m.build();
  EXPECT_EQ(elements<float>(*graph.value(graph.outputs()[0]).constant), (std::vector<float>{0, 0.5f, 1, 1.5f, -2, -4, -6, -8}));
  EXPECT_EQ(elements<float>(*graph.value(graph.outputs()[1]).constant), (std::vector<float>{1, 2, 30, 40, -100, -200, -3000, -4000}));
}

// (x - z) * s through an integer product and back: the scales cancel as they should.
TEST(Quantised, DynamicQuantisationIsTheFloatProduct) {
  ModelMaker m;
  m.input("x", {1, 2});
  auto* w = m.initializer("w", {2, 2}, onnx::TensorProto::INT8);
  for (int v : {1, 2, 3, 4}) w->add_int32_data(v);
  m.floats("ws", {}, {0.5f}).node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"}).node("MatMulInteger", {"q", "w", "z"}, {"i"});
  m.node("Cast", {"i"}, {"f"}).set("to", int64_t{onnx::TensorProto::FLOAT}).node("Mul", {"s", "ws"}, {"scale"});
  m.node("Mul", {"f", "scale"}, {"y"}).output("y");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 2u) << graph.dump();
  EXPECT_EQ(graph.nodes()[0].op(), OpKind::kMatMul);
  EXPECT_EQ(elements<float>(*graph.value(graph.nodes()[0].inputs[1]).constant), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(elements<float>(*graph.value(graph.nodes()[1].inputs[1]).constant), (std::vector<float>{0.5f}));
}

TEST(Quantised, ConvolutionsOfIntegersAreConvolutionsOfReals) {
  ModelMaker m;
  m.input("x", {1, 1, 3, 3}).floats("s", {}, {0.1f}).floats("ws", {2}, {0.5f, 2});
  m.initializer("z", {}, onnx::TensorProto::UINT8)->add_int32_data(128);
  auto* wz = m.initializer("wz", {2}, onnx::TensorProto::INT8);
  auto* w = m.initializer("w", {2, 1, 1, 1}, onnx::TensorProto::INT8);
  for (int v : {4, -3}) w->add_int32_data(v), wz->add_int32_data(0);
  auto* b = m.initializer("b", {2}, onnx::TensorProto::INT32);
  for (int v : {20, -10}) b->add_int32_data(v);
  m.node("QuantizeLinear", {"x", "s", "z"}, {"q"}).node("QLinearConv", {"q", "s", "z", "w", "ws", "wz", "s", "z", "b"}, {"r"}, "conv");
  m.set("strides", std::vector<int64_t>{2, 2}).node("DequantizeLinear", {"r", "s", "z"}, {"y"}).output("y");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 3u) << graph.dump();  // clip, convolution, clip
  const Node& conv = graph.nodes()[1];
  ASSERT_EQ(conv.op(), OpKind::kConv);
  EXPECT_EQ(std::get<ConvAttrs>(conv.attrs).strides, (std::array<int64_t, 2>{2, 2}));
  EXPECT_EQ(elements<float>(*graph.value(conv.inputs[1]).constant), (std::vector<float>{2, -6}));
  const auto bias = elements<float>(*graph.value(conv.inputs[2]).constant);
  EXPECT_FLOAT_EQ(bias[0], 1.0f);
  EXPECT_FLOAT_EQ(bias[1], -2.0f);
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{1, 2, 2, 2}));
}

TEST(Choices, PictureWithChannelsLastAndOtherInputsFixed) {
  ModelMaker m;
  m.input("image", {-1, 4, 5, 3}, onnx::TensorProto::UINT8).input("flag", {1}).input("other", {1, 3, 4, 4});
  m.node("Cast", {"image"}, {"f"}).set("to", int64_t{onnx::TensorProto::FLOAT}).node("Mul", {"f", "flag"}, {"g"});
  m.node("Transpose", {"g"}, {"y"}).set("perm", std::vector<int64_t>{0, 3, 1, 2}).output("y").output("f");
  BuildOptions options{
      .batch = 2, .outputs = {"y"}, .fixed_inputs = {{"flag", 2.0}, {"other", 0.0}}, .picture = "image", .picture_channels_last = true};
  const Graph graph = m.build(options);
  ASSERT_EQ(graph.inputs().size(), 1u);
  EXPECT_EQ(graph.value(graph.inputs()[0]).shape, (Shape{2, 3, 4, 5}));
  EXPECT_EQ(graph.value(graph.inputs()[0]).dtype, DType::kF32);
  ASSERT_EQ(graph.outputs().size(), 1u);
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{2, 3, 4, 5}));
  options.outputs = {"nothing"};
  expect_all(error_text([&] { m.build(options); }), {"no value 'nothing'"});
  options.outputs.clear();
  options.fixed_inputs["nothing"] = 1;
  expect_all(error_text([&] { m.build(options); }), {"no input 'nothing'", "'flag'"});
}

}  // namespace
}  // namespace actmatch::onnx_import
