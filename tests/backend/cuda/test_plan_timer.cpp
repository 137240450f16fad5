// Timing plans, on a CUDA runtime of the test's: what is called in which order, what comes out, and that nothing is left behind.
#include "engine/backend/cuda/cudnn/plan_timer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "engine/backend/cuda/conv_tensors.h"
#include "engine/core/error.h"
#include "kernels/bfloat16.h"
#include "tests/backend/cuda/fake_runtime.h"
#include "tests/support/expect_error.h"

namespace actmatch::cuda {
namespace {

using test::expect_error;

constexpr double kNone = std::numeric_limits<double>::infinity();
const auto kStream = reinterpret_cast<cudaStream_t>(0x10);
const ConvRest kNoRest = [](const PlanKey& key, const ConvTensors&) { ADD_FAILURE() << "nobody asked for the rest of " << describe(key); };

PlanKey key_of(ConvPrecision precision) {
  PlanKey key;
  key.precision = precision;
  key.shape = {3, 64, 57, 31, 48, 3, 3, {1, 1}, {1, 1, 1, 1}};
  key.bias = true;
  key.residual = true;
  return key;
}

struct TestPlan : BuiltPlan {
  explicit TestPlan(double the_microseconds, size_t the_workspace = 0) : microseconds(the_microseconds), workspace(the_workspace) {}
  size_t workspace_bytes() const override { return workspace; }
  void run(const ConvTensors& the_tensors, void* the_scratch) override {
    ++runs;
    tensors = the_tensors;
    scratch = the_scratch;
    if (on_run) on_run(runs);
    fake_runtime().launch(microseconds);
  }
  double microseconds;
  size_t workspace;
  int runs = 0;
  ConvTensors tensors;
  void* scratch = nullptr;
  std::function<void(int)> on_run;
};

class PlanTiming : public ::testing::Test {
 protected:
  void SetUp() override { fake_runtime() = FakeRuntime(); }
  void TearDown() override {
    EXPECT_TRUE(fake_runtime().memory.empty());
    EXPECT_EQ(fake_runtime().graphs, 0);
    EXPECT_EQ(fake_runtime().executables, 0);
    EXPECT_EQ(fake_runtime().events, 0);
    EXPECT_FALSE(fake_runtime().capturing);
  }
  static int count(const std::string& call) {
    return static_cast<int>(std::count(fake_runtime().calls.begin(), fake_runtime().calls.end(), call));
  }
};

TEST_F(PlanTiming, IsThatOfOneRunFromAGraph) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  fake_runtime().calls.clear();
  TestPlan plan(7.5);
  EXPECT_NEAR(bench->microseconds(plan, kNone), 7.5, 1e-3);
  EXPECT_EQ(plan.runs, 12) << "two outside a graph, ten inside";
  // Nothing waits between the start of the clock and the replay.
  const std::vector<std::string> tail(fake_runtime().calls.end() - 4, fake_runtime().calls.end());
  EXPECT_EQ(tail, (std::vector<std::string>{"record", "replay", "record", "wait"}));
  EXPECT_EQ(count("replay"), 4) << "one to upload the graph, three that are timed";
  EXPECT_EQ(count("malloc"), 0);
}

// A replay may have met something else on the device.
TEST_F(PlanTiming, IsTheLeastOfSeveral) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  fake_runtime().disturbances = {0.0, 30.0, 10.0, 50.0};  // of the upload and the three that count
  TestPlan plan(4.0);
  EXPECT_NEAR(bench->microseconds(plan, kNone), 5.0, 1e-3);
}

TEST_F(PlanTiming, HopelessPlansAreNotTimedExactly) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  TestPlan slow(1000.0), hardly(49.0);
  EXPECT_NEAR(bench->microseconds(slow, 10.0), 1000.0, 0.1);
  EXPECT_EQ(slow.runs, 2);
  bench->microseconds(hardly, 10.0);
  EXPECT_EQ(hardly.runs, 12) << "what a launch takes on the host is not held against it";
}

TEST_F(PlanTiming, TensorsAreApartAndHoldSmallNumbers) {
  for (ConvPrecision precision : {ConvPrecision::kF32, ConvPrecision::kBf16}) {
    CudaPlanTimer timer(kStream, kNoRest);
    const PlanKey key = key_of(precision);
    const auto bench = timer.prepare(key);
    TestPlan plan(1.0);
    bench->microseconds(plan, kNone);
    require_tensors(key, plan.tensors);
    const ConvBytes sizes = bytes_of(key);
    std::vector<std::pair<const char*, size_t>> ranges;
    for (const auto& [address, bytes] : {std::pair<const void*, size_t>{plan.tensors.x, sizes.x},
                                         {plan.tensors.w, sizes.w},
                                         {plan.tensors.y, sizes.y},
                                         {plan.tensors.bias, sizes.bias},
                                         {plan.tensors.addend, sizes.addend}})
      ranges.emplace_back(static_cast<const char*>(address), bytes);
    std::sort(ranges.begin(), ranges.end());
    for (size_t i = 0; i + 1 < ranges.size(); ++i) EXPECT_LE(ranges[i].first + ranges[i].second, ranges[i + 1].first);
    float least = 0, most = 0;
    size_t zeros = 0, elements = 0;
    for (const auto& [address, bytes] : ranges) {
      for (size_t at = 0; at < bytes; at += precision == ConvPrecision::kBf16 ? 2 : 4) {
        float value = 0;
        if (precision == ConvPrecision::kBf16) {
          kernels::bfloat16 half;
          std::memcpy(&half, address + at, sizeof(half));
          value = kernels::to_float(half);
        } else {
          std::memcpy(&value, address + at, sizeof(value));
        }
        least = std::min(least, value), most = std::max(most, value);
        zeros += value == 0.0f, ++elements;
      }
    }
    EXPECT_EQ(least, -1.0f);
    EXPECT_EQ(most, 63.0f / 64.0f);
    EXPECT_LT(zeros, elements / 64);
  }
}

TEST_F(PlanTiming, TheWorkspaceGrowsWithTheNeed) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  TestPlan none(1.0), large(1.0, 1 << 20), small(1.0, 1 << 10);
  bench->microseconds(none, kNone);
  EXPECT_EQ(none.scratch, nullptr);
  bench->microseconds(large, kNone);
  ASSERT_NE(large.scratch, nullptr);
  std::memset(large.scratch, 0, 1 << 20);
  bench->microseconds(small, kNone);
  EXPECT_EQ(small.scratch, large.scratch);
  EXPECT_EQ(fake_runtime().memory.size(), 2u);
}

TEST_F(PlanTiming, TooLittleMemoryIsThatError) {
  CudaPlanTimer timer(kStream, kNoRest);
  fake_runtime().room = 1000;
  expect_error(ErrorCode::kOutOfMemory, {"cudaMalloc"}, [&] { timer.prepare(key_of(ConvPrecision::kBf16)); });
  fake_runtime().room = size_t{1} << 24;
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  TestPlan plan(1.0, size_t{1} << 25);
  expect_error(ErrorCode::kOutOfMemory, {"cudaMalloc"}, [&] { bench->microseconds(plan, kNone); });
  TestPlan modest(1.0, 1000);
  EXPECT_NEAR(bench->microseconds(modest, kNone), 1.0, 1e-3);
}

TEST_F(PlanTiming, APlanThatFailsLeavesTheStreamUsable) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  for (int failing_run : {1, 2, 3, 12}) {
    TestPlan plan(1.0);
    plan.on_run = [&](int run) {
      if (run == failing_run) throw Error(ErrorCode::kInternal, "execution failed");
    };
    expect_error(ErrorCode::kUnsupported, {"execution failed"}, [&] { bench->microseconds(plan, kNone); });
    EXPECT_FALSE(fake_runtime().capturing);
    TestPlan next(2.0);
    EXPECT_NEAR(bench->microseconds(next, kNone), 2.0, 1e-3);
  }
}

TEST_F(PlanTiming, APlanThatCannotBeCapturedIsRefused) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  TestPlan plan(1.0);
  plan.on_run = [](int) {
    if (cudaStreamSynchronize(kStream) != cudaSuccess) throw Error(ErrorCode::kInternal, "waits");
  };
  expect_error(ErrorCode::kUnsupported, {"waits"}, [&] { bench->microseconds(plan, kNone); });
  fake_runtime().refuse_capture = true;
  TestPlan good(1.0);
  expect_error(ErrorCode::kUnsupported, {"cudaStreamBeginCapture"}, [&] { bench->microseconds(good, kNone); });
}

TEST_F(PlanTiming, ALostDeviceIsToldApart) {
  CudaPlanTimer timer(kStream, kNoRest);
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  TestPlan plan(1.0);
  plan.on_run = [](int run) {
    if (run == 2) fake_runtime().lost = true;
  };
  expect_error(ErrorCode::kIo, {"the GPU is lost", "illegal memory access", "start the program again"},
               [&] { bench->microseconds(plan, kNone); });
}

// The kernel for what a plan leaves is timed as a plan is, on the tensors of the fused one.
TEST_F(PlanTiming, TheRestIsTimedLikewise) {
  PlanKey key = key_of(ConvPrecision::kBf16);
  key.pass = ConvPass::kBackwardData;
  key.bias = false;
  key.activation = ConvActivation::kRelu;
  int runs = 0;
  ConvTensors seen;
  CudaPlanTimer timer(kStream, [&](const PlanKey& the_key, const ConvTensors& tensors) {
    EXPECT_EQ(the_key, key);
    seen = tensors;
    ++runs;
    fake_runtime().launch(3.25);
  });
  const auto bench = timer.prepare(key);
  TestPlan plan(7.5);
  EXPECT_NEAR(bench->microseconds(plan, kNone), 7.5, 1e-3);
  EXPECT_EQ(runs, 0);
  fake_runtime().calls.clear();
  EXPECT_NEAR(bench->rest_microseconds(), 3.25, 1e-3);
  EXPECT_EQ(runs, 12) << "two outside a graph, ten inside";
  EXPECT_EQ(count("replay"), 4);
  EXPECT_EQ(count("malloc"), 0);
  require_tensors(key, seen);
  EXPECT_EQ(seen.x, plan.tensors.x);
  EXPECT_EQ(seen.saved, plan.tensors.saved);
}

TEST_F(PlanTiming, ALostDeviceIsToldApartForTheRestToo) {
  CudaPlanTimer timer(kStream, [](const PlanKey&, const ConvTensors&) {
    fake_runtime().lost = true;
    throw Error(ErrorCode::kUnsupported, "a kernel failed");
  });
  const auto bench = timer.prepare(key_of(ConvPrecision::kBf16));
  expect_error(ErrorCode::kIo, {"the GPU is lost", "a kernel failed"}, [&] { bench->rest_microseconds(); });
}

}  // namespace
}  // namespace actmatch::cuda
