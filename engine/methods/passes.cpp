#include "engine/methods/passes.h"

#include <algorithm>
#include <cmath>

#include "engine/backend/kernels.h"
#include "engine/core/error.h"

namespace actmatch {

void score_gradient(std::span<float> row, int32_t label, Score score) {
  const auto y = static_cast<size_t>(label);
  if (score == Score::kLogit) {
    std::fill(row.begin(), row.end(), 0.0f);
    row[y] = 1.0f;
    return;
  }
  const std::vector<float> p = softmax(row);
  for (size_t k = 0; k < row.size(); ++k) row[k] = p[y] * ((k == y ? 1.0f : 0.0f) - p[k]);
}

std::vector<double> summed_gradients(Classifier& classifier, const Problem& problem, Score score, int64_t n,
                                     const std::function<void(float*, int64_t)>& make, const std::function<double(int64_t)>& weight,
                                     const std::function<void(int64_t)>& done) {
  Backend& backend = classifier.backend();
  const size_t size = problem.x.size();
  std::vector<double> sum(size, 0.0);
  std::vector<float> host;
  classifier.back_to_images(
      n,
      [&](float* input, int64_t first, int64_t count) {
        host.resize(static_cast<size_t>(count) * size);
        for (int64_t i = 0; i < count; ++i) make(host.data() + static_cast<size_t>(i) * size, first + i);
        backend.upload(input, host.data(), host.size());
      },
      [&](std::span<float> row, int64_t) { score_gradient(row, problem.label, score); },
      [&](const float* gradient, int64_t first, int64_t count) {
        host.resize(static_cast<size_t>(count) * size);
        backend.download(host.data(), gradient, host.size());
        for (int64_t i = 0; i < count; ++i) {
          const double w = weight(first + i);
          const float* one = host.data() + static_cast<size_t>(i) * size;
          for (size_t k = 0; k < size; ++k) sum[k] += w * one[k];
        }
        done(first + count);
      });
  return sum;
}

std::vector<float> masked_logits(Classifier& classifier, const std::vector<float>& x, const std::vector<float>& background, int64_t n,
                                 const std::function<void(float*, int64_t, int64_t)>& masks) {
  const ClassifierShape& shape = classifier.shape();
  Backend& backend = classifier.backend();
  const int64_t pixels = shape.height * shape.width, most = classifier.max_batch();
  const DeviceBuffer dx(backend, x), colour(backend, background), mask(backend, most * pixels);
  std::vector<float> host(static_cast<size_t>(most * pixels)), logits(static_cast<size_t>(n * shape.classes));
  classifier.logits_of(logits.data(), n, [&](float* input, int64_t first, int64_t count) {
    masks(host.data(), first, count);
    backend.upload(mask.data(), host.data(), static_cast<size_t>(count * pixels));
    std::vector<Kernels::Pass> passes;
    for (int64_t i = 0; i < count; ++i)
      passes.push_back({false, kernels::BackgroundLayout::kColour, mask.data() + i * pixels, colour.data()});
    backend.kernels().compose(input, dx.data(), passes, kernels::ChannelOrder::kFirst, 1, shape.channels, pixels);
  });
  return logits;
}

namespace {

struct Plane {
  int64_t height = 0, width = 0, skipped = 0;  // the first `skipped` tokens stand for no place
};

// How T tokens cover a picture of H x W: as a grid of its proportions, behind at most a few that stand for no place (class, distillation,
// registers). {0, 0} when they do not.
Plane plane_of(int64_t T, int64_t H, int64_t W) {
  for (int64_t skipped = 0; skipped <= 8 && skipped < T; ++skipped) {
    const auto n = static_cast<double>(T - skipped);
    const auto h = static_cast<int64_t>(std::llround(std::sqrt(n * static_cast<double>(H) / static_cast<double>(W))));
    if (h < 2 || (T - skipped) % h != 0) continue;
    const int64_t w = (T - skipped) / h;
    if (w >= 2 && h * W == w * H) return {h, w, skipped};
  }
  return {};
}

}  // namespace

Layer find_layer(Classifier& classifier, const Problem& problem, const std::string& name) {
  const ClassifierShape& shape = classifier.shape();
  Backend& backend = classifier.backend();
  std::vector<std::string> names{name};
  if (name.empty()) {
    names = classifier.automatic_taps(64);
    constexpr size_t kLatest = 6;
    if (names.size() > kLatest) names.erase(names.begin(), names.end() - kLatest);
  }
  if (names.empty())
    throw Error(ErrorCode::kUnsupported, "the model has no feature map or tokens inside; this method needs a layer laid out in the plane");
  Classifier::Training& net = classifier.layer_program(names);
  backend.upload(net.program->data(net.ends.input), problem.x.data(), problem.x.size());
  net.forward(backend);
  std::vector<float> seed(static_cast<size_t>(shape.classes), 0.0f);
  seed[static_cast<size_t>(problem.label)] = 1.0f;
  backend.upload(net.program->gradient(net.ends.logits), seed.data(), seed.size());
  net.backward(backend);
  classifier.count_images(1);
  classifier.count_gradients(1);

  for (size_t i = names.size(); i-- > 0;) {
    const Shape& s = net.graph.value(net.taps[i]).shape;
    Layer layer;
    layer.name = names[i];
    std::vector<float> a(static_cast<size_t>(element_count(s))), g(a.size());
    backend.download(a.data(), net.program->data(net.taps[i]), a.size());
    backend.download(g.data(), net.program->gradient(net.taps[i]), g.size());
    if (s.size() == 4) {
      layer.channels = s[1], layer.height = s[2], layer.width = s[3];
      layer.activation = std::move(a), layer.gradient = std::move(g);
      return layer;
    }
    const Plane plane = s.size() == 3 ? plane_of(s[1], shape.height, shape.width) : Plane{};
    if (plane.height == 0) {
      if (name.empty()) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  "layer '" + name + "' " + to_string(s) +
                      " is not laid out in the plane: a feature map N,C,H,W or tokens N,T,D that cover the picture");
    }
    layer.channels = s[2], layer.height = plane.height, layer.width = plane.width;
    const int64_t places = plane.height * plane.width;
    const auto turned = [&](const std::vector<float>& tokens) {
      std::vector<float> map(static_cast<size_t>(places * s[2]));
      for (int64_t p = 0; p < places; ++p)
        for (int64_t d = 0; d < s[2]; ++d)
          map[static_cast<size_t>(d * places + p)] = tokens[static_cast<size_t>((p + plane.skipped) * s[2] + d)];
      return map;
    };
    layer.activation = turned(a), layer.gradient = turned(g);
    // Behind the last attention a class that is read from one token no longer looks at the others.
    const bool seen = std::any_of(layer.gradient.begin(), layer.gradient.end(), [](float v) { return v != 0.0f; });
    if (seen || !name.empty()) return layer;
  }
  throw Error(ErrorCode::kUnsupported,
              "none of the model's last layers is laid out in the plane and seen by the class; name one as 'layer'");
}

std::vector<float> over_channels(const std::vector<float>& image, int64_t pixels, Reduce how) {
  std::vector<float> map(static_cast<size_t>(pixels), 0.0f);
  for (size_t i = 0; i < image.size(); ++i) {
    float& m = map[i % map.size()];
    switch (how) {
      case Reduce::kSum: m += image[i]; break;
      case Reduce::kSumAbs: m += std::abs(image[i]); break;
      case Reduce::kMaxAbs: m = std::max(m, std::abs(image[i])); break;
    }
  }
  return map;
}

}  // namespace actmatch
