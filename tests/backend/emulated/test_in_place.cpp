// What a step's program still copies: nothing, where the caller takes its values in place.
#include <gtest/gtest.h>

#include "engine/backend/cuda/cuda_device_backend.h"
#include "tests/explain/explain_test_util.h"

namespace actmatch::test {
namespace {

std::unique_ptr<cuda::DeviceBackend> make_backend(Precision precision = Precision::kF32) {
  cuda::DeviceBackendParts parts;
  parts.stream = std::make_unique<cuda::Stream>();
  parts.precision = precision;
  parts.description = "emulator";
  return std::make_unique<cuda::DeviceBackend>(std::move(parts));
}

// Steps by what they do: "conversion", "seed", "seed in place", "wanted", others.
std::map<std::string, int> steps_of(Classifier::Training& net) {
  std::map<std::string, int> count;
  net.program->enable_profiling(true);
  for (const Program::NodeTime& t : net.program->profile()) ++count[t.implementation];
  return count;
}

struct Net {
  const char* name;
  GraphSource source;
  std::vector<std::string> taps;
};
std::vector<Net> nets() {
  Classifier shapes(cpu(), Shapes96::source());
  return {{"two convolutions", conv_classifier(), {"early", "late"}}, {"shapes96", Shapes96::source(), shapes.automatic_taps()}};
}

TEST(CudaInPlace, NothingIsConverted) {
  const auto backend = make_backend();
  for (const Net& net : nets()) {
    SCOPED_TRACE(net.name);
    Classifier classifier(*backend, net.source);
    auto training = classifier.compile_training(2, net.taps);
    auto steps = steps_of(training);
    for (const char* copy : {"conversion", "seed", "wanted"}) EXPECT_EQ(steps[copy], 0) << copy;
    EXPECT_EQ(steps["seed in place"], static_cast<int>(net.taps.size()) + 1);
    EXPECT_EQ(training.program->order(training.ends.input), kernels::ChannelOrder::kLast);
    for (size_t i = 0; i < net.taps.size(); ++i) EXPECT_EQ(training.tap(i).order, kernels::ChannelOrder::kLast) << net.taps[i];
    // Row-major, as everybody else takes it, the image is converted and the gradient at the logits copied.
    auto plain = steps_of(classifier.gradient_program(2));
    EXPECT_EQ(plain["conversion"], 1);
    EXPECT_EQ(plain["seed"], 1);
    EXPECT_EQ(classifier.gradient_program(2).program->order(classifier.gradient_program(2).ends.input), kernels::ChannelOrder::kFirst);
  }
}

// In bf16 the caller's numbers are fp32, so that types change; the order does not.
TEST(CudaInPlace, InBf16OnlyTheTypeChanges) {
  const auto backend = make_backend(Precision::kBf16);
  Classifier classifier(*backend, conv_classifier());
  auto training = classifier.compile_training(2, {"early", "late"});
  auto steps = steps_of(training);
  EXPECT_EQ(steps["conversion"], 4);  // the image, two taps, the logits
  EXPECT_EQ(steps["seed"], 3);
  EXPECT_EQ(training.program->order(training.ends.input), kernels::ChannelOrder::kLast);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(training.tap(i).order, kernels::ChannelOrder::kLast);
}

}  // namespace
}  // namespace actmatch::test
