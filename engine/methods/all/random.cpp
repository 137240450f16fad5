// A control that knows nothing: random blobs, whatever the picture. map = an n x n grid of N(0, 1), brought to the picture's size
// bilinearly. Number i of the grid is normal number i of field 0 of the stream kMethod (kernels/philox.h).
#include "engine/methods/one_by_one.h"
#include "engine/methods/registry.h"
#include "kernels/philox.h"
#include "kernels/upsample.h"

namespace actmatch {

namespace {

class Random : public OneByOne {
 public:
  Random(Classifier& classifier, int64_t grid) : OneByOne(classifier), grid_(grid) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t seed, const Steps& steps) override {
    const ClassifierShape& shape = classifier_.shape();
    std::vector<float> cells(static_cast<size_t>(grid_ * grid_));
    for (size_t i = 0; i < cells.size(); ++i) {
      const auto block = kernels::normal_block(
          kernels::random_block(seed, kernels::RandomStream::kMethod, 0, problem.image_index, 0, static_cast<uint32_t>(i / 4)));
      cells[i] = static_cast<float>(block.value[i % 4]);
    }
    SoftMap found;
    found.logits.resize(static_cast<size_t>(problem.pixels(shape)));
    kernels::resize_bilinear_ref(found.logits.data(), cells.data(), 1, grid_, grid_, shape.height, shape.width);
    steps(1, 1);
    return found;
  }

 private:
  int64_t grid_;
};

}  // namespace

MethodInfo random_method() {
  return {"random", "control: random blobs, whatever the picture", true,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            int64_t grid = 7;  // cells a side
            options.number("grid", grid, 1, 1024);
            return std::make_unique<Random>(classifier, grid);
          }};
}

}  // namespace actmatch
