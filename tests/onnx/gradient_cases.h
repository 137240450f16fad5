// Samples of single operators for the check of gradients.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "tests/onnx/gradient_check.h"
#include "tests/onnx/model_maker.h"

namespace actmatch::onnx_import {

using test::Doubles;
using Ints = std::vector<int64_t>;

// One model of a single node, its shapes drawn at random.
struct Sample {
  explicit Sample(uint64_t seed, bool may_be_empty) : random(seed), empties(may_be_empty) {}
  test::RandomArrays random;
  bool empties;
  std::vector<std::pair<std::string, Doubles>> fed;
  ModelMaker model{13};

  void opset(int64_t version) { model = ModelMaker(version); }
  int64_t one_of(Ints choices) { return choices[static_cast<size_t>(random.integer(0, static_cast<int64_t>(choices.size()) - 1))]; }
  // Often 1, sometimes nothing.
  Shape dims(size_t rank) {
    Shape shape;
    for (size_t i = 0; i < rank; ++i) shape.push_back(one_of({1, 2, 3, 4, 5}));
    if (empties && rank > 0 && random.chance(0.3)) shape[static_cast<size_t>(random.integer(0, static_cast<int64_t>(rank) - 1))] = 0;
    return shape;
  }
  Shape filled_dims(size_t rank) {
    const bool kept = std::exchange(empties, false);
    const Shape shape = dims(rank);
    empties = kept;
    return shape;
  }
  void input(const std::string& name, const Shape& shape, double low = -2, double high = 2) {
    model.input(name, shape);
    fed.emplace_back(name, random.uniform(shape, low, high));
  }
  void distinct(const std::string& name, const Shape& shape) {
    model.input(name, shape);
    fed.emplace_back(name, random.distinct(shape));
  }
  ModelMaker& node(const std::string& op, const std::vector<std::string>& inputs) { return model.node(op, inputs, {"y"}, "node"); }
};

struct Case {
  std::string name;
  std::function<void(Sample&)> make;
  bool empties = true;  // empty axes are allowed
};

// Each at twelve random shapes.
void check_gradients(const std::vector<Case>& cases);

}  // namespace actmatch::onnx_import
