// Gradients as in test_operator_gradients.cpp, of operators with several inputs: arithmetic, normalisations, gathering and scattering,
// attention, recurrent nets.
#include "tests/onnx/gradient_cases.h"

namespace actmatch::onnx_import {
namespace {

TEST(OperatorGradients, OfSeveralInputs) {
  std::vector<Case> all;
  const auto more = [&](const std::string& name, std::function<void(Sample&)> make, bool empties = true) {
    all.push_back({name, std::move(make), empties});
  };
  more("SwiGLU", [](Sample& s) {
    s.opset(28);
    const Shape shape = s.dims(2);
    s.input("a", shape);
    s.input("b", shape);
    s.node("SwiGLU", {"a", "b"});
  });
  for (const char* op : {"CumSum", "CumProd"})
    more(op, [op](Sample& s) {
      s.opset(26);
      s.input("x", s.dims(3));
      s.model.ints("axis", {}, {s.random.integer(-3, 2)});
      s.node(op, {"x", "axis"}).set("exclusive", s.random.integer(0, 1)).set("reverse", s.random.integer(0, 1));
    });
  more("Mod", [](Sample& s) {
    const Shape shape = s.dims(3);
    s.input("a", shape);
    s.input("b", {shape[2]}, 0.3, 0.7);
    s.node("Mod", {"a", "b"}).set("fmod", int64_t{1});
  });
  more("Clip by computed bounds", [](Sample& s) {
    s.input("x", s.dims(3));
    s.input("low", {}, -1, -0.5);
    s.input("high", {}, 0.5, 1);
    s.node("Clip", {"x", "low", "high"});
  });
  for (const char* mode : {"constant", "reflect", "edge", "wrap"})
    more(std::string("Pad ") + mode, [mode](Sample& s) {
      s.opset(19);
      Shape shape = s.filled_dims(3);
      for (int64_t& extent : shape) ++extent;
      s.input("x", shape);
      s.input("value", {});
      s.model.ints("pads", {1, 0, s.random.integer(-1, 1), 0, 1, 1});
      s.node("Pad", {"x", "pads", "value"}).set("mode", mode);
    });
  more("PRelu", [](Sample& s) {
    const Shape shape = s.dims(4);
    s.input("x", shape);
    s.input("slope", {shape[1], 1, 1});
    s.node("PRelu", {"x", "slope"});
  });
  more("BatchNormalization of computed statistics", [](Sample& s) {
    const Shape shape = s.dims(4);
    s.input("x", shape);
    for (const char* name : {"scale", "bias", "mean"}) s.input(name, {shape[1]});
    s.input("variance", {shape[1]}, 0.5, 2);
    s.node("BatchNormalization", {"x", "scale", "bias", "mean", "variance"});
  });
  for (const int64_t opset : {18, 21})
    more("GroupNormalization " + std::to_string(opset), [opset](Sample& s) {
      s.opset(opset);
      Shape shape = s.filled_dims(4);
      const int64_t groups = s.random.integer(1, 3);
      shape[1] *= groups;
      shape[2] += 1;
      s.input("x", shape);
      s.input("scale", {opset == 18 ? groups : shape[1]});
      s.input("bias", {opset == 18 ? groups : shape[1]});
      s.node("GroupNormalization", {"x", "scale", "bias"}).set("num_groups", groups).set("epsilon", 0.1f);
    });
  for (const char* op : {"LayerNormalization", "RMSNormalization"})
    more(op, [op](Sample& s) {
      s.opset(23);
      const Shape shape = s.filled_dims(3);
      s.input("x", shape);
      s.input("scale", {shape[1], shape[2]});
      s.node(op, {"x", "scale"}).set("axis", int64_t{1}).set("epsilon", 0.1f);
    });
  more("MeanVarianceNormalization", [](Sample& s) {
    Shape shape = s.filled_dims(4);
    shape[3] += 2;
    s.input("x", shape);
    s.node("MeanVarianceNormalization", {"x"});
  });
  more("InstanceNormalization", [](Sample& s) {
    const Shape shape = s.filled_dims(3);
    s.input("x", shape);
    s.input("scale", {shape[1]});
    s.input("bias", {shape[1]});
    s.node("InstanceNormalization", {"x", "scale", "bias"}).set("epsilon", 0.1f);
  });
  more("LRN", [](Sample& s) {
    s.input("x", s.filled_dims(4));
    s.node("LRN", {"x"}).set("size", int64_t{3}).set("alpha", 0.5f);
  });
  more("GlobalLpPool", [](Sample& s) {
    s.input("x", s.filled_dims(4), 0.25, 2);
    s.node("GlobalLpPool", {"x"}).set("p", s.random.integer(1, 3));
  });
  more("TopK values", [](Sample& s) {
    Shape shape = s.filled_dims(3);
    s.distinct("x", shape);
    s.model.ints("k", {s.random.integer(1, shape[1])});
    s.node("TopK", {"x", "k"}).set("axis", int64_t{1}).set("largest", s.random.integer(0, 1));
    s.model.last->add_output("positions");
  });
  more("GatherElements", [](Sample& s) {
    const Shape shape = s.filled_dims(2);
    s.input("x", shape);
    Ints indices;
    for (int64_t i = 0; i < shape[0] * 3; ++i) indices.push_back(s.random.integer(-shape[1], shape[1] - 1));
    s.model.ints("indices", {shape[0], 3}, indices);
    s.node("GatherElements", {"x", "indices"}).set("axis", int64_t{1});
  });
  more("GatherND", [](Sample& s) {
    const Shape shape = s.filled_dims(3);
    s.input("x", shape);
    Ints indices;
    for (int64_t i = 0; i < 4; ++i)
      for (size_t axis : {0, 1}) indices.push_back(s.random.integer(-shape[axis], shape[axis] - 1));
    s.model.ints("indices", {2, 2, 2}, indices);
    s.node("GatherND", {"x", "indices"});
  });
  for (const char* reduction : {"none", "add", "mul", "max", "min"}) {
    more(std::string("ScatterElements ") + reduction, [reduction](Sample& s) {
      s.opset(18);
      const Shape shape = s.filled_dims(2);
      s.distinct("x", shape);
      s.input("updates", {1, shape[1]});
      Ints indices;
      for (int64_t i = 0; i < shape[1]; ++i) indices.push_back(s.random.integer(-shape[0], shape[0] - 1));
      s.model.ints("indices", {1, shape[1]}, indices);
      s.node("ScatterElements", {"x", "indices", "updates"}).set("reduction", reduction);
    });
    more(std::string("ScatterND ") + reduction, [reduction](Sample& s) {
      s.opset(18);
      const Shape shape = s.filled_dims(2);
      s.distinct("x", shape);
      s.input("updates", {3, shape[1]});
      Ints indices;
      for (int64_t i = 0; i < 3; ++i) indices.push_back(s.random.integer(-shape[0], shape[0] - 1));  // several on one row
      s.model.ints("indices", {3, 1}, indices);
      s.node("ScatterND", {"x", "indices", "updates"}).set("reduction", reduction);
    });
  }
  more("Trilu", [](Sample& s) {
    s.opset(14);
    s.input("x", s.dims(3));
    s.model.ints("k", {}, {s.random.integer(-2, 2)});
    s.node("Trilu", {"x", "k"}).set("upper", s.random.integer(0, 1));
  });
  more("Compress", [](Sample& s) {
    s.input("x", s.dims(2));
    auto* condition = s.model.initializer("condition", {2}, onnx::TensorProto::BOOL);
    condition->add_int32_data(1);
    condition->add_int32_data(0);
    s.node("Compress", {"x", "condition"}).set("axis", int64_t{0});
  });
  more("ReverseSequence", [](Sample& s) {
    const Shape shape = s.filled_dims(3);
    s.input("x", shape);
    s.model.ints("lengths", Ints(static_cast<size_t>(shape[1]), s.random.integer(0, shape[0])));
    s.node("ReverseSequence", {"x", "lengths"});
  });
  more("CenterCropPad", [](Sample& s) {
    s.opset(18);
    s.input("x", s.dims(2));
    s.model.ints("shape", {s.random.integer(1, 5), s.random.integer(1, 5)});
    s.node("CenterCropPad", {"x", "shape"});
  });
  more("Col2Im", [](Sample& s) {
    s.opset(18);
    const int64_t n = s.random.integer(1, 2), channels = s.random.integer(1, 2), height = s.random.integer(2, 5),
                  stride = s.random.integer(1, 2);
    const int64_t rows = (height + 1 - 2) / stride + 1, columns = (4 - 3) / stride + 1;  // one row of padding above
    s.input("x", {n, channels * 6, rows * columns});
    s.model.ints("image", {height, 4}).ints("block", {2, 3});
    s.node("Col2Im", {"x", "image", "block"}).set("strides", Ints{stride, stride}).set("pads", Ints{1, 0, 0, 0});
  });
  more("AffineGrid", [](Sample& s) {
    s.opset(20);
    const int64_t n = s.random.integer(1, 3);
    s.input("theta", {n, 2, 3});
    s.model.ints("size", {n, 1, s.random.integer(1, 4), s.random.integer(1, 4)});
    s.node("AffineGrid", {"theta", "size"}).set("align_corners", s.random.integer(0, 1));
  });
  more("Attention", [](Sample& s) {
    s.opset(24);
    const int64_t n = s.random.integer(1, 2), heads = s.random.integer(1, 2), served = s.random.integer(1, 2), d = s.random.integer(1, 3);
    const int64_t queries = s.random.integer(1, 4), keys = s.random.integer(1, 4);
    s.input("q", {n, heads * served, queries, d});
    s.input("k", {n, heads, keys, d});
    s.input("v", {n, heads, keys, 2});
    s.input("mask", {queries, keys});
    s.node("Attention", {"q", "k", "v", "mask"}).set("is_causal", s.random.integer(0, 1)).set("softcap", 2.0f);
  });
  more("RotaryEmbedding", [](Sample& s) {
    s.opset(23);
    const int64_t n = s.random.integer(1, 2), length = s.random.integer(1, 3), pairs = s.random.integer(1, 2);
    s.input("x", {n, 2, length, 2 * pairs + 1});
    s.input("cos", {n, length, pairs});
    s.input("sin", {n, length, pairs});
    s.node("RotaryEmbedding", {"x", "cos", "sin"}).set("rotary_embedding_dim", 2 * pairs).set("interleaved", s.random.integer(0, 1));
  });
  for (const std::string op : {"RNN", "GRU", "LSTM"})
    more(op, [op](Sample& s) {
      s.opset(14);
      const int64_t gates = op == "RNN" ? 1 : op == "GRU" ? 3 : 4, layout = s.random.integer(0, 1), directions = s.random.integer(1, 2);
      const int64_t steps = s.random.integer(1, 3), n = s.random.integer(1, 2), in = s.random.integer(1, 3), h = s.random.integer(1, 3);
      const auto state = [&] { return layout ? Shape{n, directions, h} : Shape{directions, n, h}; };
      s.input("x", layout ? Shape{n, steps, in} : Shape{steps, n, in});
      s.input("w", {directions, gates * h, in}, -1, 1);
      s.input("r", {directions, gates * h, h}, -1, 1);
      s.input("b", {directions, 2 * gates * h}, -1, 1);
      s.input("h", state());
      std::vector<std::string> inputs{"x", "w", "r", "b", "", "h"};
      if (op == "LSTM") {
        s.input("c", state());
        s.input("p", {directions, 3 * h}, -1, 1);
        inputs.insert(inputs.end(), {"c", "p"});
      }
      s.node(op, inputs).set("hidden_size", h).set("layout", layout).set("direction", directions == 2 ? "bidirectional" : "reverse");
      if (op == "GRU") s.model.set("linear_before_reset", s.random.integer(0, 1));
      if (op == "LSTM") s.model.set("input_forget", s.random.integer(0, 1));
    });
  more("OneHot of values", [](Sample& s) {
    s.input("values", {2});
    s.model.ints("indices", {0, -1, 2}).ints("depth", {}, {3});
    s.node("OneHot", {"indices", "depth", "values"});
  });
  check_gradients(all);
}

}  // namespace
}  // namespace actmatch::onnx_import
