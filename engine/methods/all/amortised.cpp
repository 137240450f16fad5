// A generator that was trained once over many pictures (actmatch train; METHOD of engine/amortise) says the mask's logits of a picture in
// one forward pass of its own: map = g(x). The classifier is not asked; the class is the one that is the picture's top class, as in
// training.
#include "engine/amortise/explainer_net.h"
#include "engine/methods/one_by_one.h"
#include "engine/methods/registry.h"

namespace actmatch {

namespace {

class Amortised : public OneByOne {
 public:
  Amortised(Classifier& classifier, const TrainedExplainer& explainer) : OneByOne(classifier), net_(classifier, explainer) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t, const Steps& steps) override {
    SoftMap found;
    found.logits = net_.logits(problem.x);
    found.memory_bytes = net_.memory_bytes();
    found.steps = 1;
    steps(1, 1);
    return found;
  }

 private:
  ExplainerNet net_;
};

}  // namespace

MethodInfo amortised_method() {
  MethodInfo info{"amortised", "a generator trained over many pictures ('actmatch train'), in one forward pass", true, nullptr};
  info.make_trained = [](Classifier& classifier, JsonReader& options, const ExplainerOpener& open) -> std::unique_ptr<Method> {
    std::string generator;  // path of the explainer's file
    options.text("generator", generator);
    if (generator.empty()) options.fail("'generator'", "is missing: the file that 'actmatch train' wrote (--generator FILE.onnx)");
    return std::make_unique<Amortised>(classifier, open(generator));
  };
  return info;
}

}  // namespace actmatch
