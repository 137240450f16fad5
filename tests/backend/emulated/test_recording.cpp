// Recordings, readbacks and memory of the CUDA backend, on the emulated runtime: what happens when a call fails, and that nothing is left.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/backend/cuda/cuda_device_backend.h"
#include "tests/explain/busy_recipe.h"
#include "tests/ops/graph_maker.h"
#include "tests/simt/host.h"
#include "tests/support/expect_error.h"

namespace actmatch::test {
namespace {

struct Notices {
  std::vector<std::string> lines;
};

std::unique_ptr<cuda::DeviceBackend> make_backend(Notices* notices = nullptr) {
  cuda::DeviceBackendParts parts;
  parts.stream = std::make_unique<cuda::Stream>();
  parts.description = "emulator";
  if (notices) parts.notice = [notices](const std::string& line) { notices->lines.push_back(line); };
  return std::make_unique<cuda::DeviceBackend>(std::move(parts));
}

std::vector<float> read(Backend& backend, const float* device, size_t count) {
  std::vector<float> values(count);
  backend.download(values.data(), device, count);
  return values;
}

// A body that counts on in device memory, so that every run shows.
struct Counter {
  explicit Counter(Backend& b) : backend(b), steps(b.allocate(1)), ones(b.allocate(5)) {}
  ~Counter() {
    backend.release(steps);
    backend.release(ones);
  }
  void body() {
    backend.kernels().advance(reinterpret_cast<uint32_t*>(steps), 1);
    backend.kernels().fill(ones, 1.0f, 5);
  }
  uint32_t count() {
    const float v = read(backend, steps, 1)[0];
    return std::bit_cast<uint32_t>(v);
  }
  Backend& backend;
  float *steps, *ones;
};

TEST(CudaRecording, RunsOnceAndReplaysAsAGraph) {
  Notices notices;
  const auto backend = make_backend(&notices);
  Counter counter(*backend);
  const auto recording = backend->record([&] { counter.body(); });
  EXPECT_EQ(counter.count(), 1u) << "the capture itself executes nothing";
  for (int i = 0; i < 3; ++i) recording->replay();
  EXPECT_EQ(counter.count(), 4u);
  EXPECT_EQ(recording->implementation(), "CUDA graph of 2 nodes");
  EXPECT_TRUE(notices.lines.empty());
}

// For profilers: nobody complains, since it was asked for.
TEST(CudaRecording, PlainCallsOnRequest) {
  Notices notices;
  const auto backend = make_backend(&notices);
  Counter counter(*backend);
  for (const char* value : {"1", ""}) {
    ::setenv("ACTMATCH_PLAIN_CALLS", value, 1);
    int calls = 0;
    const uint32_t before = counter.count();
    const auto recording = backend->record([&] { ++calls, counter.body(); });
    for (int i = 0; i < 3; ++i) recording->replay();
    EXPECT_EQ(counter.count(), before + 4u);
    EXPECT_EQ(calls, *value ? 4 : 2) << "the host's side of each step runs only where it is asked for";
    EXPECT_EQ(recording->implementation(), *value ? "plain calls: ACTMATCH_PLAIN_CALLS is set" : "CUDA graph of 2 nodes");
  }
  ::unsetenv("ACTMATCH_PLAIN_CALLS");
  EXPECT_TRUE(notices.lines.empty());
}

TEST(CudaRecording, NothingIsReadBeforeItIsThere) {
  const auto backend = make_backend();
  Counter counter(*backend);
  const auto recording = backend->record([&] { counter.body(); });
  const auto readback = backend->make_readback(counter.steps, 1);
  EXPECT_TRUE(readback->latest().empty());
  recording->replay();
  readback->request();
  simt::delay_events(2);
  EXPECT_TRUE(readback->latest().empty()) << "under way";
  recording->replay();
  readback->request();  // asks again: the first is still under way
  ASSERT_EQ(readback->latest().size(), 1u);
  EXPECT_EQ(std::bit_cast<uint32_t>(readback->latest()[0]), 2u) << "as it was when the first request was made";
  readback->request();
  backend->synchronize();
  EXPECT_EQ(std::bit_cast<uint32_t>(readback->latest()[0]), 3u);
}

// Every call that a recording makes may fail: then the step is issued call by call, with the same result, and it is said why.
TEST(CudaRecording, FallsBackToPlainCalls) {
  for (const char* call : {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphGetNodes", "cudaGraphInstantiate"}) {
    SCOPED_TRACE(call);
    Notices notices;
    const auto backend = make_backend(&notices);
    Counter counter(*backend);
    simt::fail_next(call, cudaErrorInvalidValue);
    const auto recording = backend->record([&] { counter.body(); });
    ASSERT_EQ(notices.lines.size(), 1u);
    EXPECT_NE(notices.lines[0].find(call), std::string::npos) << notices.lines[0];
    EXPECT_EQ(recording->implementation().rfind("plain calls: ", 0), 0u) << recording->implementation();
    EXPECT_EQ(counter.count(), 1u);
    recording->replay();
    EXPECT_EQ(counter.count(), 2u);
    // The stream is as good as before: the next recording works.
    EXPECT_EQ(backend->record([&] { counter.body(); })->implementation(), "CUDA graph of 2 nodes");
  }
}

TEST(CudaRecording, AllocatingInsideIsNotRecordedButStillRuns) {
  Notices notices;
  const auto backend = make_backend(&notices);
  Counter counter(*backend);
  const auto recording = backend->record([&] {
    float* memory = backend->allocate(3);
    counter.body();
    backend->release(memory);
  });
  EXPECT_EQ(notices.lines.size(), 1u);
  recording->replay();
  EXPECT_EQ(counter.count(), 2u);
}

TEST(CudaRecording, ErrorsOfTheBodyItselfComeOut) {
  const auto backend = make_backend();
  expect_error(ErrorCode::kFormat, {"mine"}, [&] { backend->record([] { throw Error(ErrorCode::kFormat, "mine"); }); });
  Counter counter(*backend);
  EXPECT_NO_THROW(backend->record([&] { counter.body(); }));
}

GraphMaker net() {
  GraphMaker g(300, Leaf::kParameter);
  ValueId v = g.relu(g.conv(g.input(g.random().uniform({2, 3, 12, 12})), 16, 3, 1, 1));
  v = g.relu(g.conv(v, 12, 3, 2, 1));
  g.output(g.linear(g.flat(g.global_mean(v)), 4));
  return g;
}

TEST(CudaRecording, AProgramsStepCanBeRecorded) {
  const auto backend = make_backend();
  GraphMaker g = net();
  ProgramRunner plain(*backend, g.graph, g.options), recorded(*backend, g.graph, g.options);
  const ProgramRun want = plain.run(g.inputs, g.seeds);
  const auto recording = backend->record([&] {
    recorded.program().forward();
    recorded.program().backward();
  });
  for (const auto& [id, values] : g.inputs) recorded.write(id, values);
  for (const auto& [id, values] : g.seeds) recorded.write_gradient(id, values);
  recording->replay();
  EXPECT_EQ(recording->implementation().rfind("CUDA graph of ", 0), 0u) << recording->implementation();
  for (const auto& [id, values] : want.values) EXPECT_TRUE(matches(recorded.read(id), values, exact()));
  for (const auto& [id, values] : want.gradients) EXPECT_TRUE(matches(recorded.read_gradient(id), values, exact()));
}

// However little memory there is, compiling either works or says so, and leaves nothing behind.
TEST(CudaMemory, TooLittleIsAnErrorAndNothingIsLeft) {
  const auto backend = make_backend();
  GraphMaker g = net();
  const size_t before = simt::allocated_bytes();
  size_t needed = 0;
  {
    const auto program = backend->compile(g.graph, g.options);
    needed = simt::allocated_bytes() - before;
    const MemoryReport report = program->memory();
    EXPECT_GE(needed, report.arena_bytes + report.weight_bytes + report.exposed_bytes);
  }
  EXPECT_EQ(simt::allocated_bytes(), before) << "weights that nobody uses are gone too";
  for (int part = 0; part < 8; ++part) {
    simt::limit_memory(before + needed * static_cast<size_t>(part) / 8);
    expect_error(ErrorCode::kOutOfMemory, {"smaller batch"}, [&] { backend->compile(g.graph, g.options); });
    EXPECT_EQ(simt::allocated_bytes(), before) << part;
  }
  expect_error(ErrorCode::kOutOfMemory, {"cudaMalloc"}, [&] { backend->allocate(needed); });
  simt::limit_memory(SIZE_MAX);
  EXPECT_NO_THROW(backend->compile(g.graph, g.options));
}

TEST(CudaMemory, FreeMemoryIsWhatIsLeft) {
  const auto backend = make_backend();
  const size_t before = backend->free_memory();
  float* memory = backend->allocate(1 << 20);
  EXPECT_EQ(backend->free_memory(), before - (size_t{4} << 20));
  EXPECT_EQ(read(*backend, memory, 3), std::vector<float>(3, 0.0f));
  backend->release(memory);
  EXPECT_EQ(backend->free_memory(), before);
}

// Buffers, programs with their weights and tables, scratch: all that is allocated is counted, to the byte.
TEST(CudaMemory, WhatIsHeldIsCounted) {
  const size_t before = simt::allocated_bytes();
  const auto backend = make_backend();
  const auto expect_counted = [&] { EXPECT_EQ(backend->held_memory().now, simt::allocated_bytes() - before); };
  float* memory = backend->allocate(2001);
  expect_counted();
  EXPECT_EQ(backend->held_memory().peak, backend->held_memory().now);
  GraphMaker g = net();
  size_t most = 0;
  {
    const auto program = backend->compile(g.graph, g.options);
    expect_counted();
    backend->kernels().mask_regulariser(memory, memory + 1000, memory + 500, memory + 3, 8, 1, 20, 20, false);
    expect_counted();
    most = backend->held_memory().now;
  }
  expect_counted();
  EXPECT_LT(backend->held_memory().now, most);
  EXPECT_EQ(backend->held_memory().peak, most);
  backend->restart_peak();
  EXPECT_EQ(backend->held_memory().peak, backend->held_memory().now);
  backend->release(memory);
  EXPECT_LT(backend->held_memory().now, backend->held_memory().peak);
  expect_counted();
}

TEST(CudaErrors, NameTheCallAndThePlace) {
  const auto backend = make_backend();
  float* memory = backend->allocate(2);
  simt::fail_next("launch", cudaErrorLaunchFailure);
  expect_error(ErrorCode::kIo, {"the GPU is lost", "launch::fill", "unspecified launch failure", "(engine/backend/cuda/cuda_kernels.cpp:"},
               [&] { backend->kernels().fill(memory, 1.0f, 2); });
  simt::fail_next("cudaStreamSynchronize", cudaErrorInvalidResourceHandle);
  expect_error(ErrorCode::kUnsupported, {"CUDA failed: cudaStreamSynchronize", "(engine/backend/cuda/cuda_device_backend.cpp:"},
               [&] { backend->synchronize(); });
  backend->release(memory);
}

TEST(CudaMemory, NothingOutlivesTheBackend) {
  const size_t objects = simt::live_objects(), bytes = simt::allocated_bytes();
  {
    const auto backend = make_backend();
    Counter counter(*backend);
    const auto recording = backend->record([&] { counter.body(); });
    const auto readback = backend->make_readback(counter.steps, 1);
    readback->request();
    simt::fail_next("cudaEventCreateWithFlags", cudaErrorInvalidValue, 1);
    EXPECT_THROW(backend->make_readback(counter.steps, 1), Error);
  }
  EXPECT_EQ(simt::live_objects(), objects);
  EXPECT_EQ(simt::allocated_bytes(), bytes);
}

TEST(CudaMemory, TooLargeABatchLeavesTheOptimiserUsable) {
  const auto backend = make_backend();
  const GraphSource source = conv_classifier(kSize);
  Classifier classifier(*backend, source);
  const Problem problem = problem_for(classifier, telling_picture(source, 0.1f), 0.1f);
  Optimiser optimiser(classifier, busy("grid"));
  const OptimisedMask want = optimiser.run(problem, kSeed, {});
  const size_t one = optimiser.estimate_bytes(1), six = optimiser.estimate_bytes(6);
  EXPECT_GT(six, one);
  simt::limit_memory(simt::allocated_bytes() + (six - one) / 3);
  expect_error(ErrorCode::kOutOfMemory, {"smaller batch"}, [&] { optimiser.prepare(6); });
  expect_same(optimiser.run(problem, kSeed, {}), want, "alone again");
  simt::limit_memory(SIZE_MAX);
}

}  // namespace
}  // namespace actmatch::test
