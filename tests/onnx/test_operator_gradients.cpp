// Operators that import composes of others: their gradients at random shapes, with axes of one element and empty ones, against central
// differences in double. That the compositions are right forward is what the node cases show.
#include <gtest/gtest.h>

#include <functional>

#include "tests/onnx/gradient_check.h"
#include "tests/onnx/model_maker.h"

namespace actmatch::onnx_import {
namespace {

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

// One input and attributes that hold for any shape.
Case plain(const std::string& op, int64_t opset, std::function<void(ModelMaker&)> attributes = {}, double low = -2, double high = 2) {
  return {op, [=](Sample& s) {
            s.opset(opset);
            s.input("x", s.dims(static_cast<size_t>(s.random.integer(1, 4))), low, high);
            s.node(op, {"x"});
            if (attributes) attributes(s.model);
          }};
}

Case reduction(const std::string& op, double low = -2) {
  return {op, [=](Sample& s) {
            s.opset(18);
            const Shape shape = op == "ReduceMean" ? s.filled_dims(3) : s.dims(3);
            if (op == "ReduceMax" || op == "ReduceMin")
              s.distinct("x", shape);
            else
              s.input("x", shape, low, 2);
            const Ints choices[] = {{0}, {-1}, {0, 2}, {1}, {0, 1, 2}};
            s.model.ints("axes", choices[s.random.integer(0, 4)]);
            s.node(op, {"x", "axes"}).set("keepdims", s.random.integer(0, 1));
          }};
}

Case einsum(const std::string& equation, std::vector<std::string> terms) {
  return {"Einsum " + equation, [=](Sample& s) {
            s.opset(12);
            std::map<char, int64_t> extents;
            std::vector<std::string> names;
            for (const std::string& term : terms) {
              Shape shape;
              for (char label : term)
                shape.push_back(extents.try_emplace(label, s.random.chance(0.1) ? 0 : s.filled_dims(1)[0]).first->second);
              names.push_back("x" + std::to_string(names.size()));
              s.input(names.back(), shape);
            }
            s.node("Einsum", names).set("equation", equation.c_str());
          }};
}

Case resize(const std::string& mode, const std::string& coordinates, bool antialias, std::vector<float> scales) {
  return {"Resize " + mode + " " + coordinates,
          [=](Sample& s) {
            s.opset(19);
            Shape shape = s.filled_dims(scales.size());
            for (int64_t& extent : shape) extent += 2;
            s.input("x", shape);
            s.model.floats("roi", {2 * static_cast<int64_t>(scales.size())}, [&] {
              std::vector<float> region(scales.size(), 0.125f);
              region.resize(2 * scales.size(), 0.875f);
              return region;
            }());
            s.model.floats("scales", {static_cast<int64_t>(scales.size())}, scales);
            s.node("Resize", {"x", "roi", "scales"}).set("mode", mode.c_str()).set("coordinate_transformation_mode", coordinates.c_str());
            if (antialias) s.model.set("antialias", int64_t{1});
            if (mode == "cubic" && !antialias) s.model.set("exclude_outside", int64_t{1});
          },
          false};
}

Case grid_sample(const std::string& mode, const std::string& padding, size_t spatial) {
  return {"GridSample " + mode + " " + padding,
          [=](Sample& s) {
            s.opset(20);
            Shape x = s.filled_dims(spatial + 2), grid = s.filled_dims(spatial + 2);
            grid[0] = x[0];
            grid.back() = static_cast<int64_t>(spatial);
            s.input("x", x);
            s.input("grid", grid, -1.3, 1.3);
            s.node("GridSample", {"x", "grid"}).set("mode", mode.c_str()).set("padding_mode", padding.c_str());
            s.model.set("align_corners", s.random.integer(0, 1));
          },
          false};
}

// Windows over one to three axes.
Case window(const std::string& op, bool distinct, std::function<void(ModelMaker&)> attributes = {}) {
  return {op,
          [=](Sample& s) {
            s.opset(22);
            const auto spatial = static_cast<size_t>(s.random.integer(1, 3));
            Shape shape = s.filled_dims(spatial + 2);
            for (size_t i = 2; i < shape.size(); ++i) shape[i] += 2;
            if (distinct)
              s.distinct("x", shape);
            else
              s.input("x", shape, 0.25, 2);
            Ints kernel, strides;
            for (size_t i = 0; i < spatial; ++i) {
              kernel.push_back(s.random.integer(1, 3));
              strides.push_back(s.random.integer(1, 2));
            }
            s.node(op, {"x"}).set("kernel_shape", kernel).set("strides", strides);
            if (s.random.chance(0.5)) s.model.set("auto_pad", "SAME_UPPER");
            if (attributes) attributes(s.model);
          },
          false};
}

Case convolution(const std::string& op) {
  return {op + " with computed weights",
          [=](Sample& s) {
            s.opset(22);
            const auto spatial = static_cast<size_t>(s.random.integer(1, 3));
            const int64_t groups = s.random.integer(1, 2), inner = s.random.integer(1, 2), filters = s.random.integer(1, 2);
            Shape x = s.filled_dims(spatial + 2), w{op == "Conv" ? filters * groups : inner * groups, op == "Conv" ? inner : filters};
            x[1] = inner * groups;
            Ints strides, dilations, pads(2 * spatial);
            for (size_t i = 0; i < spatial; ++i) {
              x[i + 2] += 2;
              w.push_back(s.random.integer(1, 3));
              strides.push_back(s.random.integer(1, 2));
              dilations.push_back(w.back() == 2 ? 2 : 1);
              pads[i] = s.random.integer(0, 1) * (w.back() > 1);
            }
            s.input("x", x);
            s.input("w", w);
            s.input("b", {filters * groups});
            s.node(op, {"x", "w", "b"}).set("group", groups).set("strides", strides).set("dilations", dilations).set("pads", pads);
          },
          false};
}

std::vector<Case> cases() {
  std::vector<Case> all{
      plain("Celu", 12, [](ModelMaker& m) { m.set("alpha", 0.5f); }),
      plain("ThresholdedRelu", 10, [](ModelMaker& m) { m.set("alpha", 0.5f); }),
      plain("Softsign", 22),
      plain("Shrink", 9, [](ModelMaker& m) { m.set("lambd", 0.75f).set("bias", 0.25f); }),
      plain("Swish", 24, [](ModelMaker& m) { m.set("alpha", 1.5f); }),
      plain("Mish", 18),
      plain("Gelu", 20),
      plain("Gelu", 20, [](ModelMaker& m) { m.set("approximate", "tanh"); }),
      plain("Selu", 22),
      plain("Acosh", 22, {}, 1.25, 3),
      plain("Atanh", 22, {}, -0.75, 0.75),
      plain("LpNormalization", 22, [](ModelMaker& m) { m.set("p", int64_t{1}); }),
      plain("LpNormalization", 22),
      reduction("ReduceProd"),
      reduction("ReduceLogSum", 0.25),
      reduction("ReduceLogSumExp"),
      reduction("ReduceL1"),
      reduction("ReduceL2"),
      reduction("ReduceSumSquare"),
      reduction("ReduceMean"),
      reduction("ReduceMax"),
      reduction("ReduceMin"),
      einsum("ij,jk->ik", {"ij", "jk"}),
      einsum("bij,bjk", {"bij", "bjk"}),
      einsum("ii->i", {"ii"}),
      einsum("bhid,bhjd->bhij", {"bhid", "bhjd"}),
      einsum("i,j,k->kj", {"i", "j", "k"}),
      einsum("abc->ca", {"abc"}),
      resize("cubic", "half_pixel", false, {1, 1, 1.5f, 0.6f}),
      resize("cubic", "align_corners", true, {1, 1, 0.5f, 2}),
      resize("linear", "asymmetric", false, {1, 1, 2, 2}),
      resize("linear", "half_pixel", true, {1, 1, 0.5f, 0.4f}),
      resize("linear", "half_pixel", false, {1, 1, 2, 2, 0.5f}),
      resize("linear", "tf_crop_and_resize", false, {1, 1, 2, 2}),
      resize("nearest", "align_corners", false, {2, 1, 1.5f}),
      grid_sample("linear", "zeros", 2),
      grid_sample("linear", "reflection", 3),
      grid_sample("cubic", "border", 2),
      grid_sample("nearest", "zeros", 1),
      window("LpPool", false),
      window("LpPool", false, [](ModelMaker& m) { m.set("p", int64_t{3}); }),
      window("MaxPool", true),
      window("AveragePool", false, [](ModelMaker& m) { m.set("count_include_pad", int64_t{1}); }),
      window("AveragePool", false, [](ModelMaker& m) { m.set("ceil_mode", int64_t{1}); }),
      convolution("Conv"),
      convolution("ConvTranspose"),
  };
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
  return all;
}

TEST(OperatorGradients, AgreeWithCentralDifferences) {
  const auto backend = make_cpu_backend(1);
  for (const Case& c : cases()) {
    int compared = 0;
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      SCOPED_TRACE(c.name + ", seed " + std::to_string(seed));
      Sample s(seed * 977, c.empties);
      c.make(s);
      s.model.output("y");
      BuildOptions options;
      std::map<std::string, Tensor> fed;
      for (const auto& [name, values] : s.fed) {
        options.input_shapes[name] = values.shape;
        fed.emplace(name, test::to_tensor(values));
      }
      try {
        const Graph graph = s.model.build(options);
        const auto program = backend->compile(graph, {});
        for (ValueId id : graph.inputs()) {
          const Tensor& tensor = fed.at(graph.value(id).name);
          if (tensor.bytes() > 0) std::memcpy(program->data(id), tensor.raw(), tensor.bytes());
        }
        program->forward();
        bool done = false;
        EXPECT_EQ(test::GradientCheck(*backend, graph, fed).run(done), "");
        compared += done;
      } catch (const Error& error) {
        const bool image =
            std::any_of(s.fed.begin(), s.fed.end(), [](const auto& f) { return f.second.rank() == 4 && f.second.count() == 0; });
        EXPECT_TRUE(image && std::string(error.what()).find("at least 1") != std::string::npos) << error.what();
      }
    }
    EXPECT_GE(compared, 4) << c.name;
  }
}

}  // namespace
}  // namespace actmatch::onnx_import
