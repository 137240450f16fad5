#include "engine/backend/cuda/cudnn/plan_timer.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/conv_tensors.h"
#include "kernels/bfloat16.h"

// What is timed. Ten runs captured into one CUDA graph, the best of three replays: plans run from a graph in a step too, and launched one
// by one the small ones would all take what a launch takes on the host. A plan that cannot be captured is found out here. The kernels that
// could do a part of a plan's work are timed the same way, on the same memory.
//
// The L2 cache is not flushed between the runs. In a step a convolution finds its input there as far as it fits, for the kernel before has
// just written it; likewise the weights, which small batches leave there from step to step. Of large batches neither fits, here as little
// as there.
namespace actmatch::cuda {
namespace {

constexpr int kRuns = 10;
constexpr int kReplays = 3;
// One run that takes this much longer than the best so far is not looked at more closely.
constexpr double kHopeless = 3.0, kSlackMicroseconds = 20.0;  // the slack: what a launch may take on the host

class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(size_t bytes) {
    if (bytes) ACTMATCH_CUDA(cudaMalloc(&address_, bytes));
  }
  ~DeviceMemory() { cudaFree(address_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(address_, other.address_);
    return *this;
  }
  char* get() const { return static_cast<char*>(address_); }

 private:
  void* address_ = nullptr;
};

// What is issued to the stream while this lives becomes a graph.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    ACTMATCH_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  ~Capture() {
    if (capturing_) cudaStreamEndCapture(stream_, &graph_);  // given up: the stream must not stay in capture
    if (executable_) cudaGraphExecDestroy(executable_);
    if (graph_) cudaGraphDestroy(graph_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  cudaGraphExec_t finish() {
    capturing_ = false;
    ACTMATCH_CUDA(cudaStreamEndCapture(stream_, &graph_));
    ACTMATCH_CUDA(cudaGraphInstantiate(&executable_, graph_, 0));
    return executable_;
  }

 private:
  cudaStream_t stream_;
  bool capturing_ = true;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

// Numbers between -1 and 1 that bf16 holds exactly. Not zeros: with those a chip draws less power and may clock higher than it will in use.
template <class T>
std::vector<T> small_numbers(size_t count) {
  std::vector<T> numbers(count);
  uint32_t state = 1;
  for (T& number : numbers) {
    state = state * 1664525u + 1013904223u;
    number = kernels::from_float<T>(static_cast<float>(static_cast<int>(state >> 25) - 64) / 64.0f);
  }
  return numbers;
}

class CudaBench : public PlanTimer::Bench {
 public:
  CudaBench(const PlanKey& key, cudaStream_t stream, const ConvRest& rest, cudaEvent_t begin, cudaEvent_t end)
      : key_(key), stream_(stream), rest_(rest), begin_(begin), end_(end) {
    const ConvBytes sizes = bytes_of(key);
    size_t total = 0;
    const auto place = [&total](size_t bytes) {
      constexpr size_t kAlignment = 256;
      const size_t offset = total;
      total += (bytes + kAlignment - 1) / kAlignment * kAlignment;
      return offset;
    };
    const size_t x = place(sizes.x), w = place(sizes.w), y = place(sizes.y), bias = place(sizes.bias), addend = place(sizes.addend),
                 saved = place(sizes.saved);
    memory_ = DeviceMemory(total);
    const auto at = [this](size_t offset, size_t bytes) -> void* { return bytes ? memory_.get() + offset : nullptr; };
    tensors_ = {at(x, sizes.x), at(w, sizes.w), at(y, sizes.y), at(bias, sizes.bias), at(addend, sizes.addend), at(saved, sizes.saved)};
    if (key.precision == ConvPrecision::kBf16) {
      fill<kernels::bfloat16>(total);
    } else {
      fill<float>(total);
    }
  }

  double microseconds(BuiltPlan& plan, double best) override {
    return guarded([&] {
      void* workspace = workspace_of(plan.workspace_bytes());
      return time([&] { plan.run(tensors_, workspace); }, best);
    });
  }
  double rest_microseconds() override {
    return guarded([this] { return time([this] { rest_(key_, tensors_); }, std::numeric_limits<double>::infinity()); });
  }

 private:
  template <class T>
  void fill(size_t total) {
    const std::vector<T> numbers = small_numbers<T>(size_t{1} << 16);
    size_t filled = std::min(total, numbers.size() * sizeof(T));
    ACTMATCH_CUDA(cudaMemcpyAsync(memory_.get(), numbers.data(), filled, cudaMemcpyHostToDevice, stream_));
    for (size_t chunk; filled < total; filled += chunk) {
      chunk = std::min(filled, total - filled);
      ACTMATCH_CUDA(cudaMemcpyAsync(memory_.get() + filled, memory_.get(), chunk, cudaMemcpyDeviceToDevice, stream_));
    }
    ACTMATCH_CUDA(cudaStreamSynchronize(stream_));  // before the numbers on the host go
  }

  // Whatever goes wrong, the next one can be timed, unless the device is lost.
  template <class Work>
  double guarded(const Work& work) {
    try {
      return work();
    } catch (const LostDevice&) {
      throw;
    } catch (const Error& error) {
      cudaGetLastError();
      expect_device(stream_, error.what());
      throw Error(error.code() == ErrorCode::kOutOfMemory ? ErrorCode::kOutOfMemory : ErrorCode::kUnsupported, error.what());
    }
  }

  template <class Run>
  double time(const Run& run, double best) {
    run();  // the first run loads code, which must not happen in a capture
    ACTMATCH_CUDA(cudaEventRecord(begin_, stream_));
    run();
    const double once = until_end();
    if (once > kHopeless * best + kSlackMicroseconds) return once;
    Capture capture(stream_);
    for (int i = 0; i < kRuns; ++i) run();
    cudaGraphExec_t graph = capture.finish();
    ACTMATCH_CUDA(cudaGraphLaunch(graph, stream_));  // the first launch uploads the graph
    double least = 0;
    for (int replay = 0; replay < kReplays; ++replay) {
      ACTMATCH_CUDA(cudaEventRecord(begin_, stream_));
      ACTMATCH_CUDA(cudaGraphLaunch(graph, stream_));
      const double taken = until_end();
      least = replay == 0 ? taken : std::min(least, taken);
    }
    return least / kRuns;
  }

  double until_end() {
    ACTMATCH_CUDA(cudaEventRecord(end_, stream_));
    ACTMATCH_CUDA(cudaEventSynchronize(end_));
    float milliseconds = 0;
    ACTMATCH_CUDA(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return 1000.0 * milliseconds;
  }

  void* workspace_of(size_t bytes) {
    if (bytes > workspace_bytes_) {
      workspace_ = DeviceMemory();
      workspace_bytes_ = 0;
      workspace_ = DeviceMemory(bytes);
      workspace_bytes_ = bytes;
    }
    return bytes ? workspace_.get() : nullptr;
  }

  PlanKey key_;
  cudaStream_t stream_;
  const ConvRest& rest_;
  cudaEvent_t begin_, end_;
  DeviceMemory memory_, workspace_;
  size_t workspace_bytes_ = 0;
  ConvTensors tensors_;
};

}  // namespace

CudaPlanTimer::CudaPlanTimer(cudaStream_t stream, ConvRest rest) : stream_(stream), rest_(std::move(rest)) {
  ACTMATCH_CUDA(cudaEventCreate(&begin_));
  if (const cudaError_t status = cudaEventCreate(&end_); status != cudaSuccess) {
    cudaEventDestroy(begin_);
    check_cuda(status, "cudaEventCreate(&end_)", __FILE__, __LINE__);
  }
}

CudaPlanTimer::~CudaPlanTimer() {
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
}

std::unique_ptr<PlanTimer::Bench> CudaPlanTimer::prepare(const PlanKey& key) {
  try {
    return std::make_unique<CudaBench>(key, stream_, rest_, begin_, end_);
  } catch (const CudaError& error) {
    if (error.status() == cudaErrorMemoryAllocation) cudaGetLastError();  // it is dealt with
    throw;
  }
}

}  // namespace actmatch::cuda
