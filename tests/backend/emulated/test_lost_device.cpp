// A device that is lost in the middle of the work, at any of its calls: the work ends with one error that says so, nothing is tried again,
// and everything can be let go.
#include <gtest/gtest.h>

#include "engine/backend/cuda/cuda_device_backend.h"
#include "engine/core/lost_device.h"
#include "tests/explain/busy_recipe.h"
#include "tests/simt/host.h"

namespace actmatch::test {
namespace {

class LosingTheDevice : public ::testing::Test {
 protected:
  void TearDown() override { simt::lose_device(cudaSuccess); }

  // Two pictures at once, from the classifier to the masks; the device is lost after so many calls, -1: it is not.
  void optimise(int64_t calls) {
    cuda::DeviceBackendParts parts;
    parts.stream = std::make_unique<cuda::Stream>();
    parts.notice = [this](const std::string& line) { notices_.push_back(line); };
    cuda::DeviceBackend backend(std::move(parts));
    if (calls >= 0) simt::lose_device(cudaErrorLaunchFailure, calls);
    Classifier classifier(backend, source_);
    const Problem problems[] = {problem_for(classifier, first_, 0.1f), problem_for(classifier, second_, 0.2f)};
    Optimiser optimiser(classifier, busy("grid"));
    optimiser.run(problems, kSeed, {});
  }
  const GraphSource source_ = conv_classifier(kSize);
  const std::vector<float> first_ = telling_picture(source_, 0.1f), second_ = telling_picture(source_, 0.2f);
  std::vector<std::string> notices_;
};

TEST_F(LosingTheDevice, EndsTheWorkWithOneError) {
  const size_t objects = simt::live_objects(), bytes = simt::allocated_bytes();
  int64_t before = simt::calls_made();
  optimise(-1);
  const int64_t all = simt::calls_made() - before;
  ASSERT_GT(all, 500);
  // Early ones densely, for that is where things are made; then here and there.
  for (int64_t calls = 0; calls < all - 200; calls += calls < 100 ? 7 : all / 24 + 1) {
    SCOPED_TRACE("after call " + std::to_string(calls) + " of about " + std::to_string(all));
    notices_.clear();
    try {
      optimise(calls);
      ADD_FAILURE() << "nothing was said";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_NE(dynamic_cast<const LostDevice*>(&error), nullptr) << message;
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::kIo)) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
      EXPECT_EQ(message.rfind("the GPU is lost to this program: ", 0), 0u) << message;
      EXPECT_NE(message.find("unspecified launch failure; start the program again"), std::string::npos) << message;
    }
    EXPECT_TRUE(notices_.empty()) << notices_[0];
    simt::lose_device(cudaSuccess);
    EXPECT_EQ(simt::live_objects(), objects);
    EXPECT_EQ(simt::allocated_bytes(), bytes);
  }
  EXPECT_NO_THROW(optimise(-1)) << "and a device that is there again is as good as before";
}

}  // namespace
}  // namespace actmatch::test
