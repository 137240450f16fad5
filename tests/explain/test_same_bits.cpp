// On the CPU a picture gets the same numbers in a batch of any size, bit for bit: whatever would be done otherwise for more pictures is
// decided by the share of one.
#include "engine/backend/cpu/ops/winograd.h"
#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

struct Numbers {
  std::vector<float> logits, tap, gradient;  // [pictures, ...] each
};

// Forward and back from seeds that differ from class to class and from picture to picture.
Numbers run(Classifier& classifier, const std::string& tap, const std::vector<float>& images, int64_t first, int64_t count, bool shares) {
  Backend& backend = classifier.backend();
  auto net = classifier.compile_training(count, {tap}, shares ? count : 1);
  const auto size = static_cast<size_t>(classifier.image_floats());
  const auto classes = static_cast<size_t>(classifier.shape().classes), n = static_cast<size_t>(count), from = static_cast<size_t>(first);
  backend.upload(net.program->data(net.ends.input), images.data() + from * size, n * size);
  net.program->forward();
  std::vector<float> seed(n * classes);
  for (size_t i = 0; i < n; ++i)
    for (size_t k = 0; k < classes; ++k) seed[i * classes + k] = static_cast<float>((31 * (from + i) + 17 * k) % 13) * 0.01f - 0.06f;
  backend.upload(net.program->gradient(net.ends.logits), seed.data(), seed.size());
  Numbers out{std::vector<float>(n * classes), {}, std::vector<float>(n * size)};
  backend.download(out.logits.data(), net.program->data(net.ends.logits), out.logits.size());
  out.tap.resize(static_cast<size_t>(element_count(net.graph.value(net.taps[0]).shape)));
  backend.download(out.tap.data(), net.program->data(net.taps[0]), out.tap.size());
  const std::vector<float> zero(out.tap.size());
  backend.upload(net.program->gradient(net.taps[0]), zero.data(), zero.size());
  net.program->backward();
  backend.download(out.gradient.data(), net.program->gradient(net.ends.input), out.gradient.size());
  return out;
}

std::vector<float> part(const std::vector<float>& all, size_t which, size_t of) {
  const auto size = static_cast<std::ptrdiff_t>(all.size() / of), at = static_cast<std::ptrdiff_t>(which) * size;
  return {all.begin() + at, all.begin() + at + size};
}

void expect_same_bits(const GraphSource& source, const std::string& tap, const std::vector<int64_t>& batches) {
  Classifier classifier(cpu(), source);
  const int64_t most = *std::max_element(batches.begin(), batches.end());
  const ClassifierShape& shape = classifier.shape();
  const auto images = list<float>(noise({most, shape.channels, shape.height, shape.width}, 5));
  std::vector<Numbers> alone;
  for (int64_t i = 0; i < most; ++i) alone.push_back(run(classifier, tap, images, i, 1, true));
  for (const int64_t batch : batches) {
    const Numbers together = run(classifier, tap, images, 0, batch, true);
    const auto n = static_cast<size_t>(batch);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(part(together.logits, i, n), alone[i].logits) << "picture " << i << " of " << batch;
      EXPECT_EQ(part(together.tap, i, n), alone[i].tap) << "picture " << i << " of " << batch;
      EXPECT_EQ(part(together.gradient, i, n), alone[i].gradient) << "picture " << i << " of " << batch;
    }
  }
}

TEST(SameBits, TheShippedClassifier) {
  Classifier classifier(cpu(), Shapes96::source());
  expect_same_bits(Shapes96::source(), classifier.automatic_taps(1).back(), {2, 5});
}

// A linear layer with its weights either way, in all numbers of rows that the library treats on their own.
TEST(SameBits, RowsOfALinearLayer) {
  for (const bool turned : {false, true}) {
    SCOPED_TRACE(turned);
    const GraphSource source = [turned](int64_t batch, const std::vector<std::string>&) {
      Graph g;
      const ValueId x = g.add_input("image", DType::kF32, {batch, 1, 8, 24});
      const ValueId bent = g.add_node("bent", UnaryAttrs{UnaryKind::kSoftplus, 0, 0}, {x}, "tap");
      const ValueId flat = g.add_node("flat", ReshapeAttrs{{batch, 192}}, {bent});
      const ValueId w = g.add_constant("w", scaled_noise(turned ? Shape{10, 192} : Shape{192, 10}, 31, 1.0f));
      g.mark_output(g.add_node("linear", MatMulAttrs{false, turned}, {flat, w, g.add_constant("b", scaled_noise({10}, 32, 0.2f))}));
      return g;
    };
    expect_same_bits(source, "tap", {2, 3, 8, 12, 13, 14, 15, 16, 17, 25, 33});
  }
}

// A convolution that takes the quick way from eight tiles on: two pictures have them, one has not.
TEST(SameBits, ConvolutionsThatAreQuickerForMore) {
  const GraphSource source = [](int64_t batch, const std::vector<std::string>&) {
    Graph g;
    ValueId x = g.add_input("image", DType::kF32, {batch, 3, 8, 8});
    for (const auto& [name, from] : {std::pair<const char*, int64_t>{"first", 3}, {"second", 32}}) {
      const ValueId w = g.add_constant(std::string(name) + ".w", scaled_noise({32, from, 3, 3}, 40, 0.2f));
      x = g.add_node(std::string(name) + ".conv", ConvAttrs{{1, 1}, {1, 1, 1, 1}, {1, 1}, 1}, {x, w}, name);
    }
    x = g.add_node("pool", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {x});
    g.mark_output(g.add_node("linear", MatMulAttrs{}, {x, g.add_constant("l.w", scaled_noise({32, 4}, 31, 1.0f))}));
    return g;
  };
  expect_same_bits(source, "second", {2, 4});
  if (!cpu::Winograd::pays({2, 32, 32, 8, 8, 8, 8, 1, 1})) GTEST_SKIP() << "this processor has no quick way";
  // Without being told of the shares it is another way, which shows that there was something to decide.
  Classifier classifier(cpu(), source);
  const auto images = list<float>(noise({2, 3, 8, 8}, 5));
  EXPECT_NE(run(classifier, "second", images, 0, 2, false).tap, run(classifier, "second", images, 0, 2, true).tap);
}

}  // namespace
}  // namespace actmatch::test
