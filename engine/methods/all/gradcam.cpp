// Grad-CAM (Selvaraju et al. 2017): with A [K, h, w] a layer's activations and g = d z_y / d A,
//   map = relu(sum over k of mean(g_k) A_k), brought to the picture's size bilinearly.
#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "kernels/upsample.h"

namespace actmatch {

namespace {

class GradCam : public OneByOne {
 public:
  GradCam(Classifier& classifier, std::string layer) : OneByOne(classifier), layer_(std::move(layer)) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t, const Steps& steps) override {
    const ClassifierShape& shape = classifier_.shape();
    const Layer layer = find_layer(classifier_, problem, layer_);
    const auto places = static_cast<size_t>(layer.height * layer.width);
    std::vector<double> cam(places, 0.0);
    for (size_t k = 0; k < static_cast<size_t>(layer.channels); ++k) {
      double weight = 0;
      for (size_t i = 0; i < places; ++i) weight += layer.gradient[k * places + i];
      weight /= static_cast<double>(places);
      for (size_t i = 0; i < places; ++i) cam[i] += weight * layer.activation[k * places + i];
    }
    std::vector<float> positive(places);
    for (size_t i = 0; i < places; ++i) positive[i] = static_cast<float>(std::max(0.0, cam[i]));
    SoftMap found;
    found.logits.resize(static_cast<size_t>(problem.pixels(shape)));
    kernels::resize_bilinear_ref(found.logits.data(), positive.data(), 1, layer.height, layer.width, shape.height, shape.width);
    found.steps = found.passes_per_step = 1;
    steps(1, 1);
    return found;
  }

 private:
  std::string layer_;
};

}  // namespace

MethodInfo gradcam_method() {
  return {"gradcam", "the last layer's channels, weighed by the class's gradient (Selvaraju et al. 2017)", true,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            std::string layer;  // empty: the last one that tells places apart
            options.text("layer", layer);
            return std::make_unique<GradCam>(classifier, layer);
          }};
}

}  // namespace actmatch
