// RISE (Petsiuk, Das, Saenko 2018): map = sum over n masks of p_y(m x + (1 - m) b0) m / (n * keep). A mask is a grid of s x s cells, each 1
// with probability `keep`, brought to (s + 1) cells' size bilinearly and cut out at a random offset of up to a cell; a cell is ceil(H / s)
// by ceil(W / s) pixels. Draw = the mask's number; field 2 of the stream kMethod: uniform number i < s s decides cell i, the next two the
// offset (dy, dx).
#include <algorithm>
#include <cmath>

#include "engine/methods/one_by_one.h"
#include "engine/methods/passes.h"
#include "engine/methods/registry.h"
#include "engine/methods/score_options.h"
#include "kernels/philox.h"
#include "kernels/upsample.h"

namespace actmatch {

namespace {

struct Options {
  int64_t masks = 4000;
  int64_t grid = 7;
  double keep = 0.5;
};

class Rise : public OneByOne {
 public:
  Rise(Classifier& classifier, const Options& options) : OneByOne(classifier), options_(options) {}

 protected:
  SoftMap map(const Problem& problem, uint64_t seed, const Steps& steps) override {
    const ClassifierShape& shape = classifier_.shape();
    const auto pixels = static_cast<size_t>(problem.pixels(shape));
    // In parts, so that there is something to report and memory stays small.
    const int64_t part = std::max<int64_t>(classifier_.max_batch(), 128);
    std::vector<double> sum(pixels, 0.0);
    for (int64_t done = 0; done < options_.masks; done += part) {
      const int64_t n = std::min(part, options_.masks - done);
      std::vector<float> masks(static_cast<size_t>(n) * pixels);
      for (int64_t i = 0; i < n; ++i) draw(masks.data() + static_cast<size_t>(i) * pixels, problem, seed, done + i);
      const std::vector<float> logits =
          masked_logits(classifier_, problem.x, problem.colour, n, [&](float* out, int64_t first, int64_t count) {
            std::copy_n(masks.data() + static_cast<size_t>(first) * pixels, static_cast<size_t>(count) * pixels, out);
          });
      const auto classes = static_cast<size_t>(shape.classes);
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        const double p = softmax(std::span(logits).subspan(i * classes, classes))[static_cast<size_t>(problem.label)];
        for (size_t k = 0; k < pixels; ++k) sum[k] += p * masks[i * pixels + k];
      }
      steps(done + n, options_.masks);
    }
    SoftMap found;
    for (double v : sum) found.logits.push_back(static_cast<float>(v / (static_cast<double>(options_.masks) * options_.keep)));
    found.steps = options_.masks;
    found.passes_per_step = 1;
    return found;
  }

 private:
  void draw(float* out, const Problem& problem, uint64_t seed, int64_t number) {
    const int64_t H = classifier_.shape().height, W = classifier_.shape().width, s = options_.grid;
    const auto uniform = [&](int64_t i) {
      return kernels::uniform_of(kernels::random_block(seed, kernels::RandomStream::kMethod, 2, problem.image_index,
                                                       static_cast<uint32_t>(number), static_cast<uint32_t>(i / 4))
                                     .word[i % 4]);
    };
    std::vector<float> cells(static_cast<size_t>(s * s));
    for (int64_t i = 0; i < s * s; ++i) cells[static_cast<size_t>(i)] = uniform(i) < options_.keep ? 1.0f : 0.0f;
    const int64_t ch = (H + s - 1) / s, cw = (W + s - 1) / s, h = (s + 1) * ch, w = (s + 1) * cw;
    large_.resize(static_cast<size_t>(h * w));
    kernels::resize_bilinear_ref(large_.data(), cells.data(), 1, s, s, h, w);
    const auto dy = static_cast<int64_t>(uniform(s * s) * static_cast<double>(ch));
    const auto dx = static_cast<int64_t>(uniform(s * s + 1) * static_cast<double>(cw));
    for (int64_t y = 0; y < H; ++y) std::copy_n(large_.data() + (y + dy) * w + dx, W, out + y * W);
  }

  Options options_;
  std::vector<float> large_;
};

}  // namespace

MethodInfo rise_method() {
  return {"rise", "the mean of random masks, weighed by what the class keeps under them (Petsiuk et al. 2018)", true,
          [](Classifier& classifier, JsonReader& options, bool) -> std::unique_ptr<Method> {
            Options o;
            options.number("masks", o.masks, 1, 10000000);
            options.number("grid", o.grid, 1, 1024);
            options.number("keep", o.keep, 1e-6, 1);
            return std::make_unique<Rise>(classifier, o);
          }};
}

}  // namespace actmatch
