// Operators that import composes of others: their gradients at random shapes, with axes of one element and empty ones, against central
// differences in double. That the compositions are right forward is what the node cases show.
#include "tests/onnx/gradient_cases.h"

namespace actmatch::onnx_import {

void check_gradients(const std::vector<Case>& cases) {
  const auto backend = make_cpu_backend(1);
  for (const Case& c : cases) {
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

namespace {

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

TEST(OperatorGradients, OfOneInputAndOfWindows) {
  check_gradients({
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
  });
}

}  // namespace
}  // namespace actmatch::onnx_import
