// The whole loop on the CUDA backend, recorded as a CUDA graph and replayed, beside the same on the CPU. In the emulator and on a GPU.
#include "tests/explain/busy_recipe.h"
#include "tests/support/tested_backend.h"

namespace actmatch::test {
namespace {

class DeviceExplain : public ::testing::Test {
 protected:
  GraphSource source_ = conv_classifier(kSize);
  Classifier classifier_{tested_backend(), source_}, reference_{cpu(), source_};

  // The nets of generators are large for an emulator. The U-Net is made of the same operators.
  static Recipe shortened(const std::string& generator) {
    Recipe r = busy(generator);
    if (generator != "grid") r.steps = 2;
    return r;
  }
  std::vector<Problem> problems(Classifier& classifier, size_t count) {
    std::vector<Problem> list;
    for (size_t i = 0; i < count; ++i) {
      auto x = telling_picture(source_, 0.1f * static_cast<float>(i));
      for (float& v : x) v *= 1.0f - 0.2f * static_cast<float>(i);
      list.push_back(problem_for(classifier, x, 0.1f * static_cast<float>(i), {}, i == 1 ? 2 : -1));
    }
    return list;
  }
};

// fp32: rounding of 1e-7 in another order, made larger by nine steps of Adam. TF32 and bf16 give the networks three digits, and what
// follows is another path to about the same place.
TEST_F(DeviceExplain, TheLoopIsTheCpus) {
  const bool rough = tested_backend().precision() != Precision::kF32;
  for (const std::string generator : {"grid", "csae"}) {
    SCOPED_TRACE(generator);
    const Problem here = problems(classifier_, 1)[0], there = problems(reference_, 1)[0];
    const Recipe r = shortened(generator);
    Optimiser optimiser(classifier_, r), expected(reference_, r);
    const OptimisedMask got = optimiser.run(here, kSeed, {}), want = expected.run(there, kSeed, {});
    expect_close(got, want, "picture", rough ? 0.25 : 1e-3);
    expect_same(optimiser.run(here, kSeed, {}), got, "again, replayed from the start");
    EXPECT_TRUE(optimiser.implementation().starts_with("CUDA graph of ")) << optimiser.implementation();
    EXPECT_EQ(optimiser.implementation().find("plain calls"), std::string::npos) << optimiser.implementation();
  }
}

// Every distance, at taps that a GPU has with the channels last, and at one in front of all convolutions.
TEST_F(DeviceExplain, EveryDistanceIsTheCpus) {
  const bool rough = tested_backend().precision() != Precision::kF32;
  const GraphSource source = [plain = source_](int64_t batch, const std::vector<std::string>& keep) {
    Graph g = plain(batch, keep);
    std::vector<Node> nodes = g.nodes();
    const ValueId half = g.add_constant("half", floats({1}, {0.5f}));
    const ValueId scaled = g.add_node("scale", BinaryAttrs{BinaryKind::kMul}, {g.inputs()[0], half}, "scaled");
    nodes[0].inputs[0] = scaled;
    nodes.insert(nodes.begin(), g.node(g.value(scaled).producer));
    g.replace_nodes(nodes);
    return g;
  };
  Classifier classifier(tested_backend(), source), reference(cpu(), source);
  const Problem here = problem_for(classifier, noise_image(classifier.shape(), 91), 0.1f);
  const Problem there = problem_for(reference, noise_image(classifier.shape(), 91), 0.1f);
  for (const TapDistance d :
       {TapDistance::kKlChannels, TapDistance::kKlPositions, TapDistance::kCosine, TapDistance::kMse, TapDistance::kStandardisedMse}) {
    SCOPED_TRACE(name_of(d));
    Recipe r = busy();
    r.steps = 3;
    r.soft_until = 1;  // Adam's first step moves all logits by the same: which of them is on top would be rounding's choice
    r.taps.names = {"scaled", "early", "late"};
    r.taps.distances = {d};
    r.taps.weights = {1};
    expect_close(Optimiser(classifier, r).run(here, kSeed, {}), Optimiser(reference, r).run(there, kSeed, {}), "picture",
                 rough ? 0.25 : 1e-3);
  }
}

// The same bits with kernels of our own. A library may choose another plan for another batch.
TEST_F(DeviceExplain, PicturesGetWhatTheyGetAlone) {
  const auto list = problems(classifier_, 3);
  const bool rough = tested_backend().precision() != Precision::kF32;
  for (const std::string generator : {"grid", "csae"}) {
    SCOPED_TRACE(generator);
    const auto together = Optimiser(classifier_, shortened(generator), 3).run(list, kSeed, {});
    Optimiser alone(classifier_, shortened(generator));
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string what = "picture " + std::to_string(i);
      if (same_bits_in_batches())
        expect_same(together[i], alone.run(list[i], kSeed, {}), what);
      else
        expect_close(together[i], alone.run(list[i], kSeed, {}), what, rough ? 0.25 : 1e-3);
    }
  }
}

// What is claimed of the mask holds on the CPU too.
TEST_F(DeviceExplain, ClaimsHoldOnTheCpu) {
  for (const bool robust : {false, true}) {
    ExplainSettings settings;
    settings.criterion = {robust, 0.3, 0.7, 8};
    settings.prune.tile = 2;
    const Problem p = problems(classifier_, 1)[0];
    const ExplainInput input{p.x, p.colour, p.backgrounds, -1, p.image_index};
    const auto outcome = Explainer(classifier_, busy()).explain(input, settings, {});
    ASSERT_EQ(outcome.instances.size(), 1u);
    const Explanation& e = outcome.instances[0];
    EXPECT_TRUE(e.feasible);
    EXPECT_GT(e.area, 0);
    EXPECT_LT(e.area, 1);
    Probe probe(source_);
    const auto scores = softmax_of(probe.logits(blend(p.x, e.mask, colour_image(input))));
    const double close = tested_backend().precision() != Precision::kF32 ? 0.03 : 1e-4;
    EXPECT_NEAR(e.p_e, scores[static_cast<size_t>(outcome.label)], close);
    EXPECT_EQ(std::max_element(scores.begin(), scores.end()) - scores.begin(), outcome.label);
    EXPECT_EQ(e.memory_bytes, tested_backend().held_memory().peak) << "the only picture: its share is all of it";
    EXPECT_GT(e.memory_bytes, 0u);
  }
}

}  // namespace
}  // namespace actmatch::test
