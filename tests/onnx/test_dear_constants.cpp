// Constants that a file asks to be computed at a cost beyond what an import spends: left to the backend, or refused by name.
#include <gtest/gtest.h>

#include "tests/onnx/model_maker.h"

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kMillion = int64_t{1} << 20;

TEST(DearConstants, TablesThatDoNotFitAreMadeWhenTheyAreNeeded) {
  ModelMaker m;
  m.input("x", {1, 2}).ints("shape", {2, kMillion * 512});
  m.node("ConstantOfShape", {"shape"}, {"w"}, "c").node("MatMul", {"x", "w"}, {"y"}, "p").output("y");
  const Graph graph = m.build();
  ASSERT_EQ(graph.nodes().size(), 2u);
  EXPECT_EQ(graph.nodes()[0].op(), OpKind::kExpand);
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{1, kMillion * 512}));
}

TEST(DearConstants, WhatHasToBeKnownIsRefusedWithTheCure) {
  ModelMaker m;
  m.input("x", {1, 2}).ints("shape", {kMillion * 512});
  m.node("ConstantOfShape", {"shape"}, {"table"}, "c");
  m.node("ReduceSum", {"table"}, {"sum"}, "s").node("Cast", {"sum"}, {"extents"}, "k");
  m.set("to", int64_t{onnx::TensorProto::INT64});
  m.node("Reshape", {"x", "extents"}, {"y"}, "r").output("y");
  expect_all(error_text([&] { m.build(); }), {"'r'", "'extents'", "constants", "at a cost", "constant folding"});
}

// One product is affordable, a chain of them is not: each would take seconds.
TEST(DearConstants, AChainOfProducts) {
  ModelMaker m;
  m.input("x", {1, 512}).filled("m0", {512, 512}, 0.001f);
  for (int i = 0; i < 64; ++i) {
    const std::string from = "m" + std::to_string(i), to = "m" + std::to_string(i + 1);
    m.node("MatMul", {from, from}, {to}, "p" + std::to_string(i));
  }
  m.node("MatMul", {"x", "m64"}, {"y"}, "last").output("y");
  const Graph graph = m.build();
  EXPECT_EQ(graph.nodes().size(), 64u) << "2^27 multiply-adds each: of 2^27 operations and 64 for each of 2^18 weights one can be afforded";
}

TEST(DearConstants, NamedTablesAreRefused) {
  ModelMaker m;
  m.ints("from", {}, {0}).ints("to", {}, {kMillion * 16}).ints("by", {}, {1});
  for (char i = '0'; i < '8'; ++i) {
    const std::string name = std::string("y") + i;
    m.node("Range", {"from", "to", "by"}, {name}, std::string("r") + i).output(name);
  }
  expect_all(error_text([&] { m.build(); }), {"'r2'", "too large", "16777216", "constant folding"});
}

}  // namespace
}  // namespace actmatch::onnx_import
