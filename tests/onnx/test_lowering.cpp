// Values of lowered operators: with constant inputs, import computes them. The expected numbers are worked out by hand or by the plain
// formula beside them; small integers make them exact.
#include <gtest/gtest.h>

#include <cmath>

#include "model_maker.h"

namespace actmatch::onnx_import {
namespace {

using Floats = std::vector<float>;
using Ints = std::vector<int64_t>;

// 0, 1, 2, ... in the given shape.
ModelMaker counting(const Shape& shape, int64_t opset = 13) {
  Floats values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  ModelMaker m(opset);
  m.floats("x", shape, values).output("y");
  return m;
}

Floats result(const ModelMaker& m) { return elements<float>(computed(m)); }

TEST(Lowering, SliceFollowsPythonInBothForms) {
  ModelMaker attributes = counting({2, 4}, 9);
  attributes.node("Slice", {"x"}, {"y"}).set("starts", Ints{0, -3}).set("ends", Ints{1, 1000});
  EXPECT_EQ(result(attributes), (Floats{1, 2, 3}));
  ModelMaker reversed = counting({5});
  reversed.ints("from", {-1}).ints("to", {std::numeric_limits<int64_t>::min()}).ints("axes", {0}).ints("by", {-2});
  reversed.node("Slice", {"x", "from", "to", "axes", "by"}, {"y"});
  EXPECT_EQ(result(reversed), (Floats{4, 2, 0}));
  ModelMaker empty = counting({5});
  empty.ints("from", {3}).ints("to", {1}).node("Slice", {"x", "from", "to"}, {"y"});
  EXPECT_EQ(computed(empty).shape(), (Shape{0}));
  ModelMaker far = counting({5});
  far.ints("from", {1})
      .ints("to", {std::numeric_limits<int64_t>::max()})
      .ints("axes", {-1})
      .ints("by", {std::numeric_limits<int64_t>::max()});
  far.node("Slice", {"x", "from", "to", "axes", "by"}, {"y"});
  EXPECT_EQ(result(far), (Floats{1}));
}

TEST(Lowering, PadInAllForms) {
  ModelMaker attributes = counting({2, 2}, 10);
  attributes.node("Pad", {"x"}, {"y"}).set("pads", Ints{0, 1, 0, 0}).set("value", 9.0f);
  EXPECT_EQ(result(attributes), (Floats{9, 0, 1, 9, 2, 3}));
  ModelMaker reflect = counting({3});
  reflect.ints("pads", {2, 1}).node("Pad", {"x", "pads"}, {"y"}).set("mode", "reflect");
  EXPECT_EQ(result(reflect), (Floats{2, 1, 0, 1, 2, 1}));
  ModelMaker axes = counting({2, 2}, 18);
  axes.ints("pads", {1, -1}).floats("v", {}, {7}).ints("axes", {-1}).node("Pad", {"x", "pads", "v", "axes"}, {"y"});
  EXPECT_EQ(result(axes), (Floats{7, 0, 7, 2}));
  ModelMaker wrap = counting({2}, 19);
  wrap.ints("pads", {1, 3}).node("Pad", {"x", "pads"}, {"y"}, "p").set("mode", "wrap");
  EXPECT_EQ(result(wrap), (Floats{1, 0, 1, 0, 1, 0}));
  ModelMaker mirror = counting({2}, 19);
  mirror.ints("pads", {1, 1}).node("Pad", {"x", "pads"}, {"y"}, "p").set("mode", "mirror");
  EXPECT_NE(error_text([&] { mirror.output("y").build(); }).find("'mirror'"), std::string::npos);
}

// Broadcasting was asked for by an attribute, and evaluation said by one.
TEST(Lowering, OperatorsOfOldOpsets) {
  ModelMaker along = counting({2, 2, 2}, 6);
  along.floats("b", {2}, {10, 20}).node("Add", {"x", "b"}, {"y"}).set("broadcast", int64_t{1}).set("axis", int64_t{1});
  EXPECT_EQ(result(along), (Floats{10, 11, 22, 23, 14, 15, 26, 27}));
  ModelMaker last = counting({2, 2}, 6);
  last.floats("b", {2}, {10, 20}).node("Mul", {"x", "b"}, {"y"}).set("broadcast", int64_t{1});
  EXPECT_EQ(result(last), (Floats{0, 20, 20, 60}));
  ModelMaker unequal = counting({2, 2}, 6);
  unequal.floats("b", {2}, {10, 20}).node("Sub", {"x", "b"}, {"y"}, "s").output("y");
  EXPECT_NE(error_text([&] { unequal.build(); }).find("does not broadcast"), std::string::npos);
  ModelMaker joined = counting({1, 2}, 3);
  joined.node("Concat", {"x", "x"}, {"y"});
  EXPECT_EQ(computed(joined.output("y")).shape(), (Shape{1, 4}));
  ModelMaker turned = counting({1, 2}, 3);
  turned.node("Reshape", {"x"}, {"y"}).set("shape", Ints{-1, 1}).node("Relu", {"y"}, {"z"}).set("consumed_inputs", Ints{0});
  EXPECT_EQ(computed(turned.output("z")).shape(), (Shape{2, 1}));
  ModelMaker training = counting({1, 2}, 6);
  training.node("Dropout", {"x"}, {"y"}, "d").output("y");
  EXPECT_NE(error_text([&] { training.build(); }).find("is_test=0"), std::string::npos);
}

TEST(Lowering, SoftmaxBeforeAndSinceOpset13) {
  const Shape shape{2, 1, 2};
  ModelMaker old = counting(shape, 11), current = counting(shape, 13);
  old.node("Softmax", {"x"}, {"y"});                              // over the last two axes together
  current.node("Softmax", {"x"}, {"y"}).set("axis", int64_t{0});  // over the first
  const float e1 = static_cast<float>(1 / (1 + std::exp(1.0))), e2 = static_cast<float>(1 / (1 + std::exp(2.0)));
  const Floats a = result(old), b = result(current);
  const Floats expected_a{e1, 1 - e1, e1, 1 - e1}, expected_b{e2, e2, 1 - e2, 1 - e2};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(a[i], expected_a[i]);  // rounding of one division
    EXPECT_FLOAT_EQ(b[i], expected_b[i]);
  }
  ModelMaker wide = counting({1, 2, 2}, 11);  // several axes of more than one element become one
  wide.node("Softmax", {"x"}, {"y"});
  double sum = 0;
  for (float v : result(wide)) sum += v;
  EXPECT_NEAR(sum, 1.0, 1e-6);  // four roundings of at most 6e-8
  EXPECT_EQ(computed(wide).shape(), (Shape{1, 2, 2}));
}

TEST(Lowering, GemmWithAllItsOptions) {
  ModelMaker m = counting({2, 3});
  m.floats("b", {2, 2}, {1, 2, 3, 4}).floats("c", {3, 1}, {10, 20, 30});
  m.node("Gemm", {"x", "b", "c"}, {"y"}).set("transA", int64_t{1}).set("transB", int64_t{1}).set("alpha", 2.0f).set("beta", 0.5f);
  // A' = [0 3; 1 4; 2 5], B' = [1 3; 2 4]
  EXPECT_EQ(result(m), (Floats{12 + 5, 24 + 5, 18 + 10, 38 + 10, 24 + 15, 52 + 15}));
  for (const Shape& row : {Shape{}, Shape{1}, Shape{2}, Shape{1, 2}}) {
    ModelMaker biased = counting({2, 2});
    biased.floats("b", {2, 2}, {1, 0, 0, 1}).filled("c", row, 3).node("Gemm", {"x", "b", "c"}, {"y"});
    EXPECT_EQ(result(biased), (Floats{3, 4, 5, 6})) << to_string(row);
    EXPECT_EQ(computed(biased).shape(), (Shape{2, 2}));
  }
}

TEST(Lowering, MatMulOfVectors) {
  ModelMaker row = counting({2}), column = counting({2, 2}), both = counting({2});
  row.floats("b", {2, 2}, {1, 2, 3, 4}).node("MatMul", {"x", "b"}, {"y"});
  column.floats("b", {2}, {1, 2}).node("MatMul", {"x", "b"}, {"y"});
  both.floats("b", {2}, {5, 7}).node("MatMul", {"x", "b"}, {"y"});
  EXPECT_EQ(result(row), (Floats{3, 4}));
  EXPECT_EQ(computed(row).shape(), (Shape{2}));
  EXPECT_EQ(result(column), (Floats{2, 8}));
  EXPECT_EQ(computed(column).shape(), (Shape{2}));
  EXPECT_EQ(result(both), (Floats{7}));
  EXPECT_EQ(computed(both).shape(), Shape{});
}

TEST(Lowering, ReductionsInBothForms) {
  ModelMaker mean = counting({2, 2, 2});
  mean.node("ReduceMean", {"x"}, {"y"}).set("axes", Ints{-1, 0}).set("keepdims", int64_t{0});
  EXPECT_EQ(result(mean), (Floats{2.5f, 4.5f}));
  ModelMaker sum = counting({2, 2}, 13);
  sum.ints("axes", {1}).node("ReduceSum", {"x", "axes"}, {"y"});
  EXPECT_EQ(result(sum), (Floats{1, 5}));
  EXPECT_EQ(computed(sum).shape(), (Shape{2, 1}));
  ModelMaker all = counting({2, 2}, 18), none = counting({2, 2}, 18);
  all.node("ReduceMax", {"x"}, {"y"});
  none.node("ReduceMax", {"x"}, {"y"}).set("noop_with_empty_axes", int64_t{1});
  EXPECT_EQ(result(all), (Floats{3}));
  EXPECT_EQ(result(none), (Floats{0, 1, 2, 3}));
  ModelMaker l2;
  l2.floats("x", {2}, {3, -4}).node("ReduceL2", {"x"}, {"y"}).output("y");
  EXPECT_EQ(result(l2), (Floats{5}));
}

TEST(Lowering, SplitsSqueezesTilesAndBlocks) {
  ModelMaker split = counting({5}, 18);
  split.node("Split", {"x"}, {"a", "b", "y"}).set("num_outputs", int64_t{3});
  EXPECT_EQ(result(split), (Floats{4}));
  ModelMaker listed = counting({4}, 13);
  listed.ints("parts", {1, 3}).node("Split", {"x", "parts"}, {"a", "y"});
  EXPECT_EQ(result(listed), (Floats{1, 2, 3}));
  ModelMaker squeeze = counting({1, 2, 1, 1}, 12);
  squeeze.node("Squeeze", {"x"}, {"a"}).set("axes", Ints{-1}).node("Unsqueeze", {"a"}, {"y"}).set("axes", Ints{0, 4});
  EXPECT_EQ(computed(squeeze).shape(), (Shape{1, 1, 2, 1, 1}));
  ModelMaker tile = counting({2, 2});
  tile.ints("times", {2, 1}).node("Tile", {"x", "times"}, {"y"});
  EXPECT_EQ(result(tile), (Floats{0, 1, 2, 3, 0, 1, 2, 3}));
  ModelMaker dcr = counting({1, 8, 1, 1}), crd = counting({1, 8, 1, 1});
  dcr.node("DepthToSpace", {"x"}, {"y"}).set("blocksize", int64_t{2});
  crd.node("DepthToSpace", {"x"}, {"y"}).set("blocksize", int64_t{2}).set("mode", "CRD");
  EXPECT_EQ(result(dcr), (Floats{0, 2, 4, 6, 1, 3, 5, 7}));
  EXPECT_EQ(result(crd), (Floats{0, 1, 2, 3, 4, 5, 6, 7}));
  ModelMaker back = counting({1, 1, 2, 2});
  back.node("SpaceToDepth", {"x"}, {"y"}).set("blocksize", int64_t{2});
  EXPECT_EQ(computed(back).shape(), (Shape{1, 4, 1, 1}));
}

TEST(Lowering, ActivationsMadeOfSeveralNodes) {
  const auto one = [](const char* op, float x, int64_t opset = 20) {
    ModelMaker m(opset);
    m.floats("x", {1}, {x}).node(op, {"x"}, {"y"}).output("y");
    return m;
  };
  const double x = -0.75;
  EXPECT_NEAR(result(one("Gelu", -0.75f))[0], x / 2 * (1 + std::erf(x / std::sqrt(2.0))), 1e-7);  // rounding at magnitude 0.2
  ModelMaker tanh_gelu = one("Gelu", -0.75f);
  tanh_gelu.set("approximate", "tanh");
  EXPECT_NEAR(result(tanh_gelu)[0], x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))), 1e-7);
  EXPECT_NEAR(result(one("Mish", -0.75f))[0], x * std::tanh(std::log1p(std::exp(x))), 1e-7);
  EXPECT_NEAR(result(one("Selu", -0.75f))[0], 1.0507009873554805 * 1.6732632423543772 * std::expm1(x), 2e-7);  // two roundings near 1
  ModelMaker prelu;
  prelu.floats("x", {1, 2, 1, 2}, {-1, 2, -3, 4}).floats("s", {2, 1, 1}, {0.5f, 10}).node("PRelu", {"x", "s"}, {"y"}).output("y");
  EXPECT_EQ(result(prelu), (Floats{-0.5f, 2, -30, 4}));
}

TEST(Lowering, LayerNormalisation) {
  ModelMaker m(17);
  m.floats("x", {1, 4}, {1, 3, 5, 7}).floats("g", {4}, {1, 1, 2, 2}).floats("b", {4}, {0, 1, 0, 1});
  m.node("LayerNormalization", {"x", "g", "b"}, {"y"}).set("epsilon", 0.0f).output("y");
  const double s = 1 / std::sqrt(5.0);  // variance 5 around 4
  const Floats y = result(m);
  const double expected[] = {-3 * s, -s + 1, 2 * s, 6 * s + 1};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(y[i], expected[i], 1e-6);  // a few roundings of values up to 4
}

TEST(Lowering, ShapesAndTables) {
  ModelMaker shape = counting({2, 3, 4}, 15);
  shape.node("Shape", {"x"}, {"y"}).set("start", int64_t{-2}).set("end", int64_t{100});
  EXPECT_EQ(elements<int64_t>(computed(shape)), (Ints{3, 4}));
  ModelMaker size = counting({2, 3, 4});
  size.node("Size", {"x"}, {"y"});
  EXPECT_EQ(elements<int64_t>(computed(size)), (Ints{24}));
  ModelMaker range;
  range.ints("a", {}, {5}).ints("b", {}, {-2}).ints("c", {}, {-3}).node("Range", {"a", "b", "c"}, {"y"}).output("y");
  EXPECT_EQ(elements<int64_t>(computed(range)), (Ints{5, 2, -1}));
  ModelMaker non_zero;
  non_zero.floats("x", {2, 2}, {0, 1, 2, 3}).node("NonZero", {"x"}, {"y"}).output("y");
  EXPECT_EQ(elements<int64_t>(computed(non_zero)), (Ints{0, 1, 1, 1, 0, 1}));
  ModelMaker filled;
  filled.ints("s", {2}).node("ConstantOfShape", {"s"}, {"y"}).output("y");
  auto* value = filled.attribute("value", onnx::AttributeProto::TENSOR)->mutable_t();
  value->set_data_type(onnx::TensorProto::INT32);
  value->add_dims(1);
  value->add_int32_data(-4);
  EXPECT_EQ(elements<int64_t>(computed(filled)), (Ints{-4, -4}));
  ModelMaker constant;
  constant.node("Constant", {}, {"y"}).set("value_ints", Ints{4, 5}).output("y");
  EXPECT_EQ(elements<int64_t>(computed(constant)), (Ints{4, 5}));
}

TEST(Lowering, CastsBetweenFloatsVanish) {
  ModelMaker m;
  m.input("x", {1, 4}, onnx::TensorProto::FLOAT16).node("Cast", {"x"}, {"a"}).set("to", int64_t{onnx::TensorProto::FLOAT});
  m.node("Relu", {"a"}, {"b"}).node("Cast", {"b"}, {"y"}).set("to", int64_t{onnx::TensorProto::FLOAT16}).output("y");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 1u) << graph.dump();
  EXPECT_EQ(graph.value(graph.outputs()[0]).name, "y");
  EXPECT_TRUE(m.model().inputs()[0].stored_as_half);
  ModelMaker truncate;
  truncate.floats("x", {2}, {-1.5f, 2.9f}).node("Cast", {"x"}, {"y"}).set("to", int64_t{onnx::TensorProto::INT32}).output("y");
  EXPECT_EQ(elements<int64_t>(computed(truncate)), (Ints{-1, 2}));
}

// Padding as TensorFlow computes it: for an even total both sides get half, otherwise one side more.
TEST(Lowering, AutoPad) {
  const auto pads = [](const char* mode, int64_t extent) {
    ModelMaker m;
    m.input("x", {1, 1, extent, extent})
        .filled("w", {1, 1, 3, 3}, 1)
        .node("Conv", {"x", "w"}, {"y"})
        .set("auto_pad", mode)
        .set("strides", Ints{2, 2});
    const Graph graph = m.output("y").build();
    return std::get<ConvAttrs>(graph.nodes().at(0).attrs).pads;
  };
  using Pads = std::array<int64_t, 4>;
  EXPECT_EQ(pads("SAME_UPPER", 224), (Pads{0, 0, 1, 1}));
  EXPECT_EQ(pads("SAME_LOWER", 224), (Pads{1, 1, 0, 0}));
  EXPECT_EQ(pads("SAME_UPPER", 225), (Pads{1, 1, 1, 1}));
  EXPECT_EQ(pads("VALID", 224), (Pads{0, 0, 0, 0}));
}

TEST(Lowering, OneSpatialAxis) {
  ModelMaker m;
  m.input("x", {2, 3, 10}).filled("w", {4, 3, 3}, 1).node("Conv", {"x", "w"}, {"a"}).set("pads", Ints{1, 1}).set("strides", Ints{2});
  m.node("MaxPool", {"a"}, {"y"}).set("kernel_shape", Ints{2}).output("y");
  const Graph graph = m.build();
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{2, 4, 4}));
}

TEST(Lowering, NearestResizingInAllVariants) {
  const auto rows = [](const char* coordinates, const char* rounding, int64_t size) {
    ModelMaker m = counting({1, 1, 5, 1});
    m.ints("sizes", {1, 1, size, 1}).node("Resize", {"x", "", "", "sizes"}, {"y"});
    m.set("coordinate_transformation_mode", coordinates).set("nearest_mode", rounding);
    const Graph graph = m.build();
    const Value& y = graph.value(graph.outputs()[0]);
    return y.constant ? elements<float>(*y.constant) : Floats{};  // the graph's own resize is not computed by import
  };
  EXPECT_EQ(rows("half_pixel", "round_prefer_floor", 2), (Floats{1, 3}));  // 0.75, 3.25
  EXPECT_EQ(rows("half_pixel", "ceil", 3), (Floats{1, 2, 4}));             // 0.33, 2, 3.67
  EXPECT_EQ(rows("align_corners", "floor", 3), (Floats{0, 2, 4}));
  EXPECT_EQ(rows("asymmetric", "floor", 10), Floats{});
}

TEST(Lowering, ResizesThatTheGraphHas) {
  const auto attrs = [](ModelMaker m) {
    const Graph graph = m.build();
    return std::get<ResizeAttrs>(graph.nodes().at(0).attrs);
  };
  ModelMaker linear;
  linear.input("x", {1, 2, 4, 4})
      .floats("scales", {4}, {1, 1, 2, 0.5f})
      .node("Resize", {"x", "", "scales"}, {"y"})
      .set("mode", "linear")
      .output("y");
  EXPECT_EQ(attrs(linear).mode, ResizeMode::kLinear);
  EXPECT_EQ(attrs(linear).height, 8);
  EXPECT_EQ(attrs(linear).width, 2);
  ModelMaker upsample(9);
  upsample.input("x", {1, 2, 4, 4}).floats("scales", {4}, {1, 1, 2, 2}).node("Upsample", {"x", "scales"}, {"y"}).output("y");
  EXPECT_EQ(attrs(upsample).mode, ResizeMode::kNearest);
  ModelMaker corners = linear;
  corners.last = corners.proto.mutable_graph()->mutable_node(0);
  corners.set("coordinate_transformation_mode", "align_corners");
  const Graph by_matrices = corners.build();  // one for each axis
  EXPECT_TRUE(
      std::none_of(by_matrices.nodes().begin(), by_matrices.nodes().end(), [](const Node& n) { return n.op() == OpKind::kResize; }));
  EXPECT_EQ(std::count_if(by_matrices.nodes().begin(), by_matrices.nodes().end(), [](const Node& n) { return n.op() == OpKind::kMatMul; }),
            2);
}

// One index, or indices in steps, are a slice; others stay a gather. Import computes the slice, so the values are those of a gather.
TEST(Lowering, GatherBecomesASliceWhereItCan) {
  const auto build = [](const Ints& indices, const Shape& shape) {
    ModelMaker m;
    m.input("x", {4, 5}).ints("at", shape, indices).node("Gather", {"x", "at"}, {"y"}).set("axis", int64_t{1}).output("y");
    return m.build();
  };
  const Graph scalar = build({-1}, {});
  EXPECT_EQ(scalar.value(scalar.outputs()[0]).shape, (Shape{4}));
  const auto& slice = std::get<SliceAttrs>(scalar.nodes().at(0).attrs);
  EXPECT_EQ(slice.starts, (Ints{0, 4}));
  const Graph flip = build({2, 1, 0}, {3});
  EXPECT_EQ(std::get<SliceAttrs>(flip.nodes().at(0).attrs).steps, (Ints{1, -1}));
  EXPECT_EQ(build({0, 1, 4}, {3}).nodes().at(0).op(), OpKind::kGather);
  EXPECT_EQ(build({1, 1}, {2}).nodes().at(0).op(), OpKind::kGather);
  EXPECT_NE(error_text([&] { build({5}, {}); }).find("axis"), std::string::npos);
}

// Every element type and both places where a file may keep elements.
TEST(Lowering, ElementTypes) {
  using T = onnx::TensorProto;
  const auto read = [](int type, const std::string& raw, int64_t count) {
    ModelMaker m;
    m.initializer("x", {count}, type)->set_raw_data(raw);
    m.node("Identity", {"x"}, {"y"}).output("y");
    return computed(m);
  };
  const auto bytes = [](auto... values) {
    std::string raw;
    (raw.append(reinterpret_cast<const char*>(&values), sizeof(values)), ...);
    return raw;
  };
  EXPECT_EQ(elements<float>(read(T::DOUBLE, bytes(0.1, -2.0), 2)), (Floats{0.1f, -2}));
  // 1, -2, the smallest subnormal, the largest finite half
  EXPECT_EQ(elements<float>(read(T::FLOAT16, bytes(uint16_t{0x3c00}, uint16_t{0xc000}, uint16_t{1}, uint16_t{0x7bff}), 4)),
            (Floats{1, -2, 0x1p-24f, 65504}));
  EXPECT_EQ(elements<float>(read(T::BFLOAT16, bytes(uint16_t{0x3f80}, uint16_t{0xc000}), 2)), (Floats{1, -2}));
  EXPECT_EQ(elements<int64_t>(read(T::INT8, bytes(int8_t{-3}, int8_t{127}), 2)), (Ints{-3, 127}));
  EXPECT_EQ(elements<int64_t>(read(T::UINT8, bytes(uint8_t{200}), 1)), (Ints{200}));
  EXPECT_EQ(elements<int64_t>(read(T::INT16, bytes(int16_t{-300}), 1)), (Ints{-300}));
  EXPECT_EQ(elements<int64_t>(read(T::INT32, bytes(int32_t{-70000}), 1)), (Ints{-70000}));
  EXPECT_EQ(elements<int64_t>(read(T::UINT32, bytes(uint32_t{4000000000u}), 1)), (Ints{4000000000}));
  EXPECT_EQ(elements<int64_t>(read(T::INT64, bytes(int64_t{1} << 40), 1)), (Ints{int64_t{1} << 40}));
  EXPECT_EQ(elements<uint8_t>(read(T::BOOL, bytes(uint8_t{1}, uint8_t{0}), 2)), (std::vector<uint8_t>{1, 0}));

  ModelMaker typed;
  auto* half = typed.initializer("x", {2}, T::FLOAT16);
  half->add_int32_data(0x3c00);
  half->add_int32_data(0xfbff);
  typed.node("Identity", {"x"}, {"y"}).output("y");
  EXPECT_EQ(result(typed), (Floats{1, -65504}));
}

// Files up to IR version 3 list their weights as inputs as well.
TEST(Lowering, InitializersListedAsInputs) {
  ModelMaker m(7, 3);
  m.input("x", {1, 1, 4, 4}).input("w", {2, 1, 3, 3}).filled("w", {2, 1, 3, 3}, 1).node("Conv", {"x", "w"}, {"y"}).output("y");
  const Model model = m.model();
  ASSERT_EQ(model.inputs().size(), 1u);
  EXPECT_EQ(model.inputs()[0].name, "x");
  EXPECT_EQ(model.build().inputs().size(), 1u);
  EXPECT_EQ(model.parameter_count(), 18);
  EXPECT_EQ(model.operator_counts().at("Conv"), 1);
  EXPECT_EQ(model.producer(), "test");
}

// Outputs and taps keep their names where a file only passes a value on.
TEST(Lowering, NamesOfPassedOnValues) {
  ModelMaker m(13);
  m.input("x", {1, 4})
      .node("Relu", {"x"}, {"a"})
      .node("Dropout", {"a"}, {"b"})
      .node("Neg", {"b"}, {"c"})
      .node("Identity", {"c"}, {"y"})
      .output("y");
  const Graph plain = m.build();
  EXPECT_EQ(plain.nodes().size(), 2u) << plain.dump();
  EXPECT_EQ(plain.value(plain.outputs()[0]).name, "y");
  const Graph tapped = m.build({.keep_values = {"b"}});
  const ValueId tap = tapped.find("b");
  ASSERT_NE(tap, kNoValue);
  EXPECT_GE(tapped.value(tap).producer, 0) << tapped.dump();
}

}  // namespace
}  // namespace actmatch::onnx_import
