// The CUDA backend as programs load it, kernels and all, on a runtime, a cuDNN and a cuBLASLt of the tests: what a machine that lacks
// something is told, and that no call can fail unnoticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <tuple>

#include "engine/backend/kernels.h"
#include "engine/backend/module.h"
#include "engine/core/lost_device.h"
#include "tests/backend/cuda/fake_cublaslt.h"
#include "tests/backend/cuda/fake_cudnn.h"
#include "tests/backend/cuda/fake_runtime.h"
#include "tests/support/expect_error.h"
#include "tests/unit/graph_test_util.h"

extern "C" const actmatch::ModuleTable* actmatch_backend_module();

namespace actmatch::cuda {
namespace {

using test::expect_error;

// As BackendModule asks a module, without the file's name.
void ask(const std::function<bool(ModuleFailure&)>& call) {
  ModuleFailure failure;
  if (!call(failure)) throw Error(failure.code, failure.message);
}
std::vector<ModuleDevice> devices() {
  std::vector<ModuleDevice> list;
  ask([&](ModuleFailure& failure) { return actmatch_backend_module()->list_devices(list, failure); });
  return list;
}
std::unique_ptr<Backend> make_backend(const ModuleOptions& options = {}) {
  std::unique_ptr<Backend> backend;
  ask([&](ModuleFailure& failure) { return actmatch_backend_module()->make_backend(backend, options, failure); });
  return backend;
}

class FailingCalls : public ::testing::Test {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override { expect_nothing_left(); }
  static void reset() {
    fake_runtime() = FakeRuntime();
    fake_cudnn() = FakeCudnn();
    fake_cublaslt() = FakeCublasLt();
  }
  static void expect_nothing_left() {
    const FakeRuntime& runtime = fake_runtime();
    EXPECT_TRUE(runtime.memory.empty());
    EXPECT_EQ(runtime.graphs, 0);
    EXPECT_EQ(runtime.executables, 0);
    EXPECT_EQ(runtime.events, 0);
    EXPECT_EQ(runtime.streams, 0);
    EXPECT_EQ(runtime.pinned, 0);
    EXPECT_FALSE(runtime.capturing);
    EXPECT_EQ(fake_cudnn().alive, 0);
    EXPECT_EQ(fake_cublaslt().alive, 0);
  }
  // Listing and opening say the same.
  static void expect_refused(ErrorCode code, const std::vector<std::string>& parts) {
    expect_error(code, parts, [] { devices(); });
    expect_error(code, parts, [] { make_backend(); });
  }
};

TEST_F(FailingCalls, AGpuIsDescribedWithItsVersions) {
  const auto list = devices();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, "Fake GPU");
  for (const std::string& words : {std::string("Fake GPU, compute capability 9.0, 132 SMs, 1.0 GiB; driver for CUDA "),
                                   "runtime " + std::to_string(CUDART_VERSION / 1000) + ".", std::string("cuDNN 9.21.0, cuBLASLt ")})
    EXPECT_NE(list[0].description.find(words), std::string::npos) << list[0].description;
  EXPECT_EQ(make_backend()->name(), "cuda:0 (Fake GPU)");
}

TEST_F(FailingCalls, NoDriver) {
  fake_runtime().driver = 0;
  expect_refused(ErrorCode::kUnsupported, {"there is no NVIDIA driver", "install one"});
}

TEST_F(FailingCalls, ADriverThatIsTooOld) {
  fake_runtime().driver = 11040;
  fake_runtime().counting = cudaErrorInsufficientDriver;
  expect_refused(ErrorCode::kUnsupported, {"driver is for CUDA 11.4", "too old for this build", "install a newer driver"});
}

TEST_F(FailingCalls, NoDevice) {
  fake_runtime().counting = cudaErrorNoDevice;
  expect_refused(ErrorCode::kUnsupported, {"no GPU that it may use", "nvidia-smi", "CUDA_VISIBLE_DEVICES"});
  fake_runtime().counting = cudaSuccess;
  fake_runtime().devices.clear();
  expect_refused(ErrorCode::kUnsupported, {"no GPU that it may use"});
}

TEST_F(FailingCalls, ADriverThatDoesNotWork) {
  for (const cudaError_t status : {cudaErrorInitializationError, cudaErrorSystemDriverMismatch, cudaErrorUnknown}) {
    fake_runtime().counting = status;
    expect_refused(ErrorCode::kUnsupported,
                   {"CUDA failed: cudaGetDeviceCount: a fake error", "nvidia-smi", "(engine/backend/cuda/cuda_backend.cpp:"});
  }
}

TEST_F(FailingCalls, DevicesThatTheBuildHasNoKernelsFor) {
  fake_runtime().devices = {{"Old GPU", 3, 5}, {"Fake GPU", 9, 0}};
  const auto list = devices();
  ASSERT_EQ(list.size(), 1u) << "only the other one is offered";
  EXPECT_EQ(list[0].index, 1);
  expect_error(ErrorCode::kUnsupported, {"Old GPU has compute capability 3.5", "and newer: build for it (ACTMATCH_CUDA_ARCHITECTURES)"},
               [] { make_backend(); });
  fake_runtime().devices.pop_back();
  expect_error(ErrorCode::kUnsupported, {"no GPU of this machine has compute capability", "this build has kernels for"}, [] { devices(); });
  // What the numbers do not tell shows at the first launch.
  reset();
  const auto backend = make_backend();
  fake_runtime().failing_call = static_cast<int64_t>(fake_runtime().calls.size());
  fake_runtime().failing_with = cudaErrorNoKernelImageForDevice;
  expect_error(ErrorCode::kUnsupported,
               {"fill", "build for this GPU (ACTMATCH_CUDA_ARCHITECTURES)", "(engine/backend/cuda/cuda_kernels.cpp:"},
               [&] { backend->kernels().fill(nullptr, 0, 1); });
}

TEST_F(FailingCalls, NumbersThatNoDeviceHas) {
  for (const int device : {-1, 1})
    expect_error(ErrorCode::kInvalidArgument, {"there is no GPU " + std::to_string(device), "has 1, counted from 0"}, [&] {
      make_backend({device, Precision::kF32, {}});
    });
}

TEST_F(FailingCalls, LibrariesOfAnotherVersion) {
  fake_cudnn().version = 90701;
  expect_refused(ErrorCode::kUnsupported, {"cuDNN that was found is 9.7.1", "9.8.0 or newer is needed", "LD_LIBRARY_PATH"});
  fake_cudnn().version = 90800;
  EXPECT_NO_THROW(make_backend());
  fake_cublaslt().version = 110100;
  expect_refused(ErrorCode::kUnsupported,
                 {"cuBLASLt that was found is 11", "this build is for " + std::to_string(CUBLAS_VER_MAJOR), "LD_LIBRARY_PATH"});
}

TEST_F(FailingCalls, LibrariesThatCannotBeUsed) {
  fake_cudnn().failing = "cudnnCreate";
  expect_error(ErrorCode::kUnsupported, {"cuDNN cannot be used on this machine", "A_CUDNN_STATUS from cudnnCreate", "engine/backend/cuda/"},
               [] { make_backend(); });
  fake_cudnn().failing = "cudnnBackendFinalize";
  expect_error(ErrorCode::kUnsupported,
               {"cuDNN cannot use CUDA device 0", "cudnnBackendFinalize of device properties", "engine/backend/cuda/"},
               [] { make_backend(); });
  fake_cudnn().failing.clear();
  fake_cublaslt().failing = "cublasLtCreate";
  fake_cublaslt().failing_with = CUBLAS_STATUS_NOT_INITIALIZED;
  expect_error(ErrorCode::kUnsupported, {"cuBLAS cannot be used on this machine", "cublasLtCreate", "engine/backend/cuda/cublas/"},
               [] { make_backend(); });
}

TEST_F(FailingCalls, AGpuThatSomebodyElseHas) {
  fake_runtime().lost = true;
  fake_runtime().lost_with = cudaErrorDevicesUnavailable;
  expect_refused(ErrorCode::kIo, {"cudaGetDeviceCount", "busy or unavailable", "nvidia-smi", "(engine/backend/cuda/cuda_backend.cpp:"});
}

// All that a backend does, kept alive to the end.
struct Work {
  Graph graph;
  std::vector<std::string> notices;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Program> program;
  std::unique_ptr<Recording> recording;
  std::unique_ptr<Readback> readback;

  void run() {
    CompileOptions options;
    const ValueId x = graph.add_input("x", DType::kF32, {2, 3, 8, 8});
    const ValueId w = graph.add_constant("w", test::noise({5, 3, 3, 3}, 1)), b = graph.add_constant("b", test::noise({5}, 2));
    ValueId y = graph.add_node("conv", ConvAttrs{{1, 1}, {1, 1, 1, 1}, {1, 1}, 1}, {x, w, b});
    y = graph.add_node("relu", UnaryAttrs{UnaryKind::kRelu, 0, 0}, {y});
    y = graph.add_node("mean", ReduceAttrs{ReduceKind::kMean, {2, 3}, false}, {y});
    y = graph.add_node("linear", MatMulAttrs{}, {y, graph.add_constant("m", test::noise({5, 4}, 3))});
    graph.mark_output(y);
    options.gradients.wanted = {x};
    options.gradients.seeds = {y};

    backend = make_backend({0, Precision::kF32, [this](const std::string& line) { notices.push_back(line); }});
    backend->free_memory();
    program = backend->compile(graph, options);
    std::vector<float> picture(2 * 3 * 8 * 8, 0.5f), result(2 * 4);
    backend->upload(program->data(x), picture.data(), picture.size());
    float* buffer = backend->allocate(32 * 32);
    recording = backend->record([&] {
      backend->kernels().fill(buffer, 1.0f, 32);
      program->forward();
      program->backward();
      backend->kernels().mask_regulariser(buffer, nullptr, buffer, buffer, 8, 1, 16, 16, false);  // which has scratch
    });
    recording->replay();
    readback = backend->make_readback(program->data(y), result.size());
    readback->request();
    readback->latest();
    recording->replay();
    backend->download(result.data(), program->data(y), result.size());
    backend->synchronize();
  }
};

bool is_one_of(const std::string& word, std::initializer_list<const char*> list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

class EachCall : public FailingCalls {
 protected:
  // Every call of an undisturbed run fails in turn: `after` gets what the run threw, if anything.
  template <class After>
  void fail_each(cudaError_t status, bool for_good, const After& after) {
    std::vector<std::string> calls;
    reset();
    {
      Work work;
      work.run();
      calls = fake_runtime().calls;
      EXPECT_EQ(work.recording->implementation(), "CUDA graph of 1 nodes");
    }
    ASSERT_GT(calls.size(), 40u);
    EXPECT_GT(std::count(calls.begin(), calls.end(), "launch kernel"), 10);
    for (size_t i = 0; i < calls.size(); ++i) {
      SCOPED_TRACE("call " + std::to_string(i) + ", " + calls[i]);
      reset();
      fake_runtime().failing_call = static_cast<int64_t>(i);
      fake_runtime().failing_with = status;
      fake_runtime().lost_then = for_good;
      {
        Work work;
        std::unique_ptr<Error> thrown;
        bool lost = false;
        try {
          work.run();
        } catch (const Error& error) {
          lost = dynamic_cast<const LostDevice*>(&error) != nullptr;
          thrown = std::make_unique<Error>(error);
          EXPECT_EQ(thrown->what(), std::string(thrown->what()).substr(0, std::string(thrown->what()).find('\n'))) << "one line";
        }
        after(calls[i], work, thrown.get(), lost);
      }
      expect_nothing_left();
    }
  }
};

// An error with call and place; only what is done to let go of something may fail without a word, and a recording falls back to plain
// calls.
TEST_F(EachCall, ThatFailsIsAnErrorWithCallAndPlace) {
  fail_each(cudaErrorInvalidValue, false, [](const std::string& call, const Work& work, const Error* thrown, bool lost) {
    EXPECT_FALSE(lost);
    if (!thrown) {
      const bool fell_back = work.recording->implementation().rfind("plain calls: CUDA failed: ", 0) == 0;
      EXPECT_TRUE(fell_back || is_one_of(call, {"free", "get last error"}));
      EXPECT_EQ(fell_back, std::any_of(work.notices.begin(), work.notices.end(), [](const std::string& line) {
                  return line.find("could not be recorded as a CUDA graph") != std::string::npos;
                }));
      return;
    }
    const std::string message = thrown->what();
    EXPECT_EQ(static_cast<int>(thrown->code()), static_cast<int>(ErrorCode::kUnsupported)) << message;
    for (const char* part : {"CUDA failed: ", ": a fake error", " (engine/backend/cuda/"})
      EXPECT_NE(message.find(part), std::string::npos) << message;
  });
}

TEST_F(EachCall, ThatLosesTheDeviceEndsEverything) {
  for (const auto& [status, reason, cure] : std::vector<std::tuple<cudaError_t, std::string, std::string>>{
           {cudaErrorLaunchFailure, "unspecified launch failure", "start the program again"},
           {cudaErrorECCUncorrectable, "uncorrectable ECC error", "may have to be reset"},
           {cudaErrorDevicesUnavailable, "busy or unavailable", "nvidia-smi"}}) {
    fail_each(status, true, [&](const std::string&, const Work& work, const Error* thrown, bool lost) {
      ASSERT_NE(thrown, nullptr);
      const std::string message = thrown->what();
      EXPECT_EQ(static_cast<int>(thrown->code()), static_cast<int>(ErrorCode::kIo)) << message;
      for (const std::string& part :
           {std::string("the GPU is lost to this program: "), reason, cure, std::string(" (engine/backend/cuda/")})
        EXPECT_NE(message.find(part), std::string::npos) << message;
      EXPECT_TRUE(lost || !work.backend) << "what a backend throws says by its type that a smaller batch will not do, either";
      for (const std::string& line : work.notices)
        EXPECT_EQ(line.find("CUDA graph"), std::string::npos) << "no attempt without a graph: " << line;
      // The call after one whose answer does not matter is the first to tell; nothing is launched after that.
      const auto& calls = fake_runtime().calls;
      EXPECT_LE(std::count(calls.begin() + fake_runtime().failing_call + 1, calls.end(), "launch kernel"), 1);
    });
  }
}

// Destructors do it, so that it must not throw: the program would be ended in the middle of its message.
TEST_F(FailingCalls, MemoryOfALostDeviceIsReleasedWithoutAWord) {
  const auto backend = make_backend();
  float* memory = backend->allocate(7);
  fake_runtime().lost = true;
  EXPECT_NO_THROW(backend->release(memory));
  EXPECT_TRUE(fake_runtime().memory.empty());
}

// However little memory there is.
TEST_F(EachCall, ThatFindsNoMemoryAsksForLess) {
  size_t needed = 0;
  {
    Work work;
    const size_t before = fake_runtime().room;
    work.run();
    needed = before - fake_runtime().room;
  }
  for (size_t part = 0; part < 8; ++part) {
    reset();
    fake_runtime().room = needed * part / 8;
    expect_error(ErrorCode::kOutOfMemory, {"out of memory", "a smaller batch needs less memory", "(engine/backend/cuda/"},
                 [] { Work().run(); });
    expect_nothing_left();
  }
}

TEST_F(FailingCalls, EveryCallOfCublasIsNamed) {
  fake_cublaslt().failing = "cublasLtMatmul";
  expect_error(ErrorCode::kUnsupported, {"cuBLAS failed: cublasLtMatmul(", "(engine/backend/cuda/cublas/cublas_library.cpp:"},
               [] { Work().run(); });
}

TEST_F(FailingCalls, WithoutAPlanOfCudnnOwnKernelsServe) {
  Work work;
  work.run();
  ASSERT_FALSE(work.notices.empty());
  EXPECT_NE(work.notices[0].find("so own kernels do it"), std::string::npos) << work.notices[0];
}

// With an engine of cuDNN for every convolution, and no plans remembered.
class LibraryCalls : public FailingCalls {
 protected:
  void SetUp() override {
    ::setenv("ACTMATCH_PLAN_CACHE", "", 1);
    start();
  }
  void TearDown() override {
    FailingCalls::TearDown();
    ::unsetenv("ACTMATCH_PLAN_CACHE");
  }
  static void start() {
    reset();
    fake_cudnn().knows_an_engine = true;
  }
  // What happens at the call of that number, from 0, of plans and products together.
  static void at_call(int number, const std::function<void()>& happens) {
    fake_cudnn().on_execute = fake_cublaslt().on_product = [happens, number, called = std::make_shared<int>(0)] {
      if ((*called)++ == number) happens();
    };
  }
  static void fail_from_now_on() {
    fake_cudnn().failing = "cudnnBackendExecute";
    fake_cudnn().failing_with = CUDNN_STATUS_EXECUTION_FAILED;
    fake_cublaslt().failing = "cublasLtMatmul";
    fake_cublaslt().failing_with = CUBLAS_STATUS_EXECUTION_FAILED;
  }
  static int count_calls() {
    int calls = 0;
    fake_cudnn().on_execute = fake_cublaslt().on_product = [&calls] { ++calls; };
    Work().run();
    return calls;
  }
};

TEST_F(LibraryCalls, PlansOfCudnnServe) {
  {
    Work work;
    work.run();
    EXPECT_TRUE(work.notices.empty()) << work.notices[0];
  }
  // Forward and backward: timed (twice outside a graph, ten times in one), then run outside the recording and in it. The product likewise,
  // without being timed.
  start();
  EXPECT_GE(count_calls(), 2 * (12 + 2) + 2 * 2);
}

// The library is the first to notice: an error of its own kind, and nothing that a user could do anything about.
TEST_F(LibraryCalls, ThatFailBecauseTheDeviceIsLostSaySo) {
  const int calls = count_calls();
  for (int i = 0; i < calls; ++i) {
    SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(calls));
    start();
    at_call(i, [] {
      fail_from_now_on();
      fake_runtime().lost = true;
    });
    {
      Work work;
      try {
        work.run();
        ADD_FAILURE() << "nothing was said";
      } catch (const Error& error) {
        const std::string message = error.what();
        EXPECT_NE(dynamic_cast<const LostDevice*>(&error), nullptr) << message;
        EXPECT_EQ(message.rfind("the GPU is lost to this program: an illegal memory access; start the program again", 0), 0u) << message;
        EXPECT_NE(message.find("; it showed by this: "), std::string::npos) << message;
      }
      EXPECT_TRUE(work.notices.empty()) << "nothing else was tried: " << work.notices[0];
    }
    expect_nothing_left();
  }
}

// A library that refuses on a device that is as well as ever.
TEST_F(LibraryCalls, ThatFailNameCallAndConvolution) {
  const int timed = 2 * 12;  // a plan that fails while it is timed is not taken
  const int calls = count_calls();
  for (int i = timed; i < calls; ++i) {
    SCOPED_TRACE("call " + std::to_string(i) + " of " + std::to_string(calls));
    start();
    at_call(i, fail_from_now_on);
    try {
      Work().run();
      ADD_FAILURE() << "nothing was said";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(dynamic_cast<const LostDevice*>(&error), nullptr) << message;
      EXPECT_TRUE(message.find("cudnnBackendExecute of '") != std::string::npos || message.find("cublasLtMatmul(") != std::string::npos)
          << message;
      EXPECT_NE(message.find("(engine/backend/cuda/cu"), std::string::npos) << message;
    }
    expect_nothing_left();
  }
}

}  // namespace
}  // namespace actmatch::cuda
