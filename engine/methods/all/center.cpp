// A control that knows nothing: squares about the centre, whatever the picture. map = 1 - max(|dy| / (H/2), |dx| / (W/2)).
#include <algorithm>
#include <cmath>

#include "engine/methods/one_by_one.h"
#include "engine/methods/registry.h"

namespace actmatch {

namespace {

class Center : public OneByOne {
 public:
  explicit Center(Classifier& classifier) : OneByOne(classifier) {}

 protected:
  SoftMap map(const Problem&, uint64_t, const Steps& steps) override {
    const int64_t H = classifier_.shape().height, W = classifier_.shape().width;
    const auto off = [](int64_t i, int64_t n) {
      return std::abs(2.0 * static_cast<double>(i) + 1.0 - static_cast<double>(n)) / static_cast<double>(n);
    };
    SoftMap found;
    for (int64_t y = 0; y < H; ++y)
      for (int64_t x = 0; x < W; ++x) found.logits.push_back(static_cast<float>(1.0 - std::max(off(y, H), off(x, W))));
    steps(1, 1);
    return found;
  }
};

}  // namespace

MethodInfo center_method() {
  return {"center", "control: squares about the centre, whatever the picture", true,
          [](Classifier& classifier, JsonReader&, bool) -> std::unique_ptr<Method> { return std::make_unique<Center>(classifier); }};
}

}  // namespace actmatch
