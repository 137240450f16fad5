// Small classifiers built by hand, a way of running them that does not go through the explanation code, and problems to explain.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/explain/explainer.h"
#include "engine/image/decode.h"
#include "onnx_import/importer.h"
#include "tests/unit/graph_test_util.h"

namespace actmatch::test {

inline Backend& cpu() {
  static const auto backend = make_cpu_backend(1);
  return *backend;
}

inline Tensor scaled_noise(Shape shape, uint32_t seed, float scale) {
  Tensor t = noise(std::move(shape), seed);
  for (float& v : std::span(t.data<float>(), static_cast<size_t>(t.count()))) v *= scale;
  return t;
}

// 3 x size x size -> 4 classes: "early" (full size) and "late" (half size) are the ends of its two stages. Softplus instead of ReLU gives a
// net without kinks, for differences.
inline GraphSource conv_classifier(int64_t size = 8, UnaryKind activation = UnaryKind::kRelu) {
  return [size, activation](int64_t batch, const std::vector<std::string>&) {
    Graph g;
    ValueId x = g.add_input("image", DType::kF32, {batch, 3, size, size});
    const auto conv = [&](const std::string& name, ValueId in, int64_t out, int64_t stride, uint32_t seed, float scale) {
      const ValueId w = g.add_constant(name + ".w", scaled_noise({out, g.value(in).shape[1], 3, 3}, seed, scale));
      const ValueId b = g.add_constant(name + ".b", scaled_noise({out}, seed + 1, 0.3f));
      const ValueId y = g.add_node(name + ".conv", ConvAttrs{{stride, stride}, {1, 1, 1, 1}, {1, 1}, 1}, {in, w, b}, name + ".sum");
      return g.add_node(name + ".relu", UnaryAttrs{activation, 0, 0}, {y}, name);
    };
    x = conv("early", x, 6, 1, 11, 0.5f);
    x = conv("late", x, 8, 2, 21, 0.4f);
    x = g.add_node("pool", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {x});
    const ValueId w = g.add_constant("linear.w", scaled_noise({8, 4}, 31, 3.0f));
    const ValueId b = g.add_constant("linear.b", scaled_noise({4}, 32, 0.2f));
    g.mark_output(g.add_node("linear", MatMulAttrs{}, {x, w, b}, "logits"));
    return g;
  };
}

// 1 x height x width -> 3 classes: logit 0 is the sum of weight * pixel, logit 1 is `rival`, logit 2 is `lowest`.
inline GraphSource linear_classifier(int64_t height, int64_t width, std::vector<float> weight, float rival, float lowest) {
  return [=](int64_t batch, const std::vector<std::string>&) {
    Graph g;
    const ValueId x = g.add_input("image", DType::kF32, {batch, 1, height, width});
    Tensor w(DType::kF32, {height * width, 3});
    for (int64_t i = 0; i < height * width; ++i) w.data<float>()[3 * i] = weight[static_cast<size_t>(i)];
    const ValueId flat = g.add_node("flat", ReshapeAttrs{{batch, height * width}}, {x});
    const ValueId matrix = g.add_constant("w", std::move(w)), bias = g.add_constant("b", floats({3}, {0, rival, lowest}));
    g.mark_output(g.add_node("linear", MatMulAttrs{}, {flat, matrix, bias}, "logits"));
    return g;
  };
}

// Runs a classifier's graph as it is, one image at a time.
class Probe {
 public:
  explicit Probe(const GraphSource& source, const std::vector<std::string>& taps = {}) : graph_(source(1, taps)) {
    CompileOptions options;
    for (const std::string& name : taps) options.exposed.push_back(graph_.find(name));
    taps_ = options.exposed;
    program_ = cpu().compile(graph_, options);
  }
  std::vector<double> logits(const std::vector<float>& image) {
    cpu().upload(program_->data(graph_.inputs()[0]), image.data(), image.size());
    program_->forward();
    return read(graph_.outputs()[0]);
  }
  // [C, P] of the latest image, and its C.
  std::vector<double> tap(size_t i) { return read(taps_[i]); }
  int64_t tap_channels(size_t i) const { return graph_.value(taps_[i]).shape[1]; }

 private:
  std::vector<double> read(ValueId v) {
    std::vector<float> values(static_cast<size_t>(element_count(graph_.value(v).shape)));
    cpu().download(values.data(), program_->data(v), values.size());
    return {values.begin(), values.end()};
  }
  Graph graph_;
  std::vector<ValueId> taps_;
  std::unique_ptr<Program> program_;
};

inline std::vector<double> softmax_of(const std::vector<double>& z, double temperature = 1.0) {
  const double top = *std::max_element(z.begin(), z.end());
  std::vector<double> p;
  double sum = 0;
  for (double v : z) p.push_back(std::exp((v - top) / temperature)), sum += p.back();
  for (double& v : p) v /= sum;
  return p;
}

inline double kl_of(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] * std::log(p[i] / q[i]);
  return sum;
}

// z_y minus the best other logit.
inline double margin_of(const std::vector<double>& z, int32_t y) {
  double rival = -INFINITY;
  for (size_t k = 0; k < z.size(); ++k)
    if (k != static_cast<size_t>(y)) rival = std::max(rival, z[k]);
  return z[static_cast<size_t>(y)] - rival;
}

inline double log_odds_of(const std::vector<double>& z, int32_t y) {
  double others = 0;
  for (size_t k = 0; k < z.size(); ++k)
    if (k != static_cast<size_t>(y)) others += std::exp(z[k]);
  return z[static_cast<size_t>(y)] - std::log(others);
}

// b0 as an image. `P`: whatever has a picture x and a colour.
template <class P>
std::vector<float> colour_image(const P& p) {
  std::vector<float> image(p.x.size());
  const size_t pixels = p.x.size() / p.colour.size();
  for (size_t i = 0; i < image.size(); ++i) image[i] = p.colour[i / pixels];
  return image;
}

// k*x + (1-k)*background, k shared by the channels.
template <class Mask>
std::vector<float> blend(const std::vector<float>& x, const Mask& k, const std::vector<float>& background) {
  std::vector<float> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const auto share = static_cast<double>(k[i % k.size()]);
    out[i] = static_cast<float>(share * x[i] + (1 - share) * background[i]);
  }
  return out;
}

inline std::vector<float> background_image(const Problem& p, kernels::RandomStream stream, int64_t number) {
  std::vector<float> image(p.x.size());
  kernels::random_background_ref(image.data(), p.backgrounds, stream, p.image_index, static_cast<uint32_t>(number), 1);
  return image;
}

// The criterion, one background at a time and without short cuts. `more`: so many more backgrounds than needed must hold.
inline bool holds(Probe& probe, const Problem& p, const HardMask& mask, const std::vector<kernels::RandomStream>& streams,
                  int64_t more = 0) {
  const auto z = probe.logits(blend(p.x, mask, colour_image(p)));
  if (margin_of(z, p.label) <= 0 || softmax_of(z)[static_cast<size_t>(p.label)] < p.criterion.tau * p.p_x) return false;
  if (!p.criterion.robust) return true;
  for (kernels::RandomStream stream : streams) {
    int64_t held = 0;
    for (int64_t k = 0; k < p.criterion.backgrounds; ++k)
      held += margin_of(probe.logits(blend(p.x, mask, background_image(p, stream, k))), p.label) > 0;
    if (static_cast<double>(held - more) < p.criterion.rho * static_cast<double>(p.criterion.backgrounds) - 1e-9) return false;
  }
  return true;
}

// A problem on a picture of noise (values -1..1), or on one that is given.
inline Problem problem_for(Classifier& classifier, std::vector<float> x, float colour, const Criterion& criterion = {},
                           int32_t label = -1) {
  const ClassifierShape& shape = classifier.shape();
  ExplainInput input;
  input.x = std::move(x);
  input.colour.assign(static_cast<size_t>(shape.channels), colour);
  input.backgrounds.channels = shape.channels;
  input.backgrounds.height = shape.height;
  input.backgrounds.width = shape.width;
  for (int c = 0; c < 3; ++c) input.backgrounds.scale[c] = 1.0 / 100, input.backgrounds.offset[c] = -1.2;
  input.label = label;
  input.image_index = 5;
  ExplainSettings settings;
  settings.criterion = criterion;
  settings.seed = 77;
  return make_problem(classifier, input, settings);
}

inline std::vector<float> noise_image(const ClassifierShape& shape, uint32_t seed, float scale = 1.0f) {
  return list<float>(scaled_noise({shape.channels, shape.height, shape.width}, seed, scale));
}

// A picture of which conv_classifier says something else than of the plain colour, so that masks matter: noise on a colour of its own.
inline std::vector<float> telling_picture(const GraphSource& source, float colour, int64_t size = 8) {
  Probe probe(source);
  const auto top = [&](const std::vector<float>& image) {
    const auto z = probe.logits(image);
    return std::max_element(z.begin(), z.end()) - z.begin();
  };
  const auto plain = top(std::vector<float>(static_cast<size_t>(3 * size * size), colour));
  for (uint32_t seed = 90; seed < 300; ++seed) {
    auto image = list<float>(noise({3, size, size}, seed));
    const auto tint = list<float>(noise({3}, seed + 1000));
    for (size_t i = 0; i < image.size(); ++i) image[i] += 1.5f * tint[i / static_cast<size_t>(size * size)];
    if (top(image) != plain) return image;
  }
  ADD_FAILURE() << "no picture differs from the plain colour";
  return std::vector<float>(static_cast<size_t>(3 * size * size));
}

// Each pixel with probability `share`.
inline HardMask random_mask(int64_t height, int64_t width, uint32_t seed, double share) {
  const Tensor values = noise({height * width}, seed);
  HardMask mask;
  for (float v : values.view<float>()) mask.push_back(0.5 * (v + 1.0) < share);
  return mask;
}

// The shipped classifier and its pictures.
class Shapes96 {
 public:
  Shapes96() : classifier(cpu(), source()) {}
  static GraphSource source() {
    static const auto model = onnx_import::Model::from_file(std::string(ACTMATCH_SOURCE_DIR) + "/examples/shapes96.onnx");
    return [](int64_t batch, const std::vector<std::string>& keep) {
      onnx_import::BuildOptions options;
      options.batch = batch;
      options.keep_values = keep;
      return model.build(options);
    };
  }
  // The picture's name without ".png"; the baseline is the one the program uses.
  static ExplainInput input(const std::string& name) {
    const Image image = read_image(std::string(ACTMATCH_SOURCE_DIR) + "/examples/images/" + name + ".png");
    ExplainInput in;
    in.x.resize(image.rgb.size());
    const size_t pixels = image.rgb.size() / 3;
    for (size_t i = 0; i < pixels; ++i)
      for (size_t c = 0; c < 3; ++c) in.x[c * pixels + i] = static_cast<float>(image.rgb[3 * i + c] / 63.75 - 2.0);
    for (double mean : {123.7, 116.3, 103.5}) in.colour.push_back(static_cast<float>(mean / 63.75 - 2));
    in.backgrounds.height = image.height;
    in.backgrounds.width = image.width;
    for (int c = 0; c < 3; ++c) in.backgrounds.scale[c] = 1 / 63.75, in.backgrounds.offset[c] = -2;
    return in;
  }
  static HardMask object(const std::string& name) {
    const Image image = read_image(std::string(ACTMATCH_SOURCE_DIR) + "/examples/masks/" + name + ".png");
    HardMask mask;
    for (size_t i = 0; i < image.rgb.size(); i += 3) mask.push_back(image.rgb[i] > 127);
    return mask;
  }
  Classifier classifier;
};

}  // namespace actmatch::test
