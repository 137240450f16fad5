#include "engine/backend/cuda/cuda_recording.h"

#include <cstdlib>
#include <vector>

#include "engine/backend/cuda/check.h"

namespace actmatch::cuda {

namespace {

class PlainRecording : public Recording {
 public:
  PlainRecording(std::function<void()> body, std::string why) : body_(std::move(body)), why_(std::move(why)) {}
  void replay() override { body_(); }
  std::string implementation() const override { return "plain calls: " + why_; }

 private:
  std::function<void()> body_;
  std::string why_;
};

class GraphRecording : public Recording {
 public:
  // Takes the captured graph over.
  GraphRecording(cudaStream_t stream, cudaGraph_t graph) : stream_(stream), graph_(graph) {
    try {
      ACTMATCH_CUDA(cudaGraphGetNodes(graph_, nullptr, &nodes_));
      ACTMATCH_CUDA(cudaGraphInstantiate(&executable_, graph_, 0));
    } catch (...) {
      cudaGraphDestroy(graph_);
      throw;
    }
  }
  ~GraphRecording() override {
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
  }
  void replay() override { ACTMATCH_CUDA(cudaGraphLaunch(executable_, stream_)); }
  std::string implementation() const override { return "CUDA graph of " + std::to_string(nodes_) + " nodes"; }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_;
  cudaGraphExec_t executable_ = nullptr;
  size_t nodes_ = 0;
};

// The graph of what `body` issues. Throws when it cannot be had; the stream is usable again either way.
cudaGraph_t capture(cudaStream_t stream, const std::function<void()>& body) {
  // Other threads may go on allocating and copying.
  ACTMATCH_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();  // the failure of the capture must not show in a later call
    throw;
  }
  const cudaError_t status = cudaStreamEndCapture(stream, &graph);
  if (status != cudaSuccess) {
    cudaGetLastError();
    check_cuda(status, "cudaStreamEndCapture(stream, &graph)", __FILE__, __LINE__);
  }
  return graph;
}

// Two buffers: one holds what has arrived, the other takes what is under way.
class PinnedReadback : public Readback {
 public:
  PinnedReadback(cudaStream_t stream, const float* device, size_t count) : stream_(stream), device_(device), count_(count) {
    try {
      for (Buffer& b : buffers_) {
        ACTMATCH_CUDA(cudaMallocHost(reinterpret_cast<void**>(&b.data), count * sizeof(float)));
        ACTMATCH_CUDA(cudaEventCreateWithFlags(&b.arrived, cudaEventDisableTiming));
      }
    } catch (...) {
      release();
      throw;
    }
  }
  ~PinnedReadback() override {
    if (under_way_) cudaEventSynchronize(buffers_[next_].arrived);  // the copy must not write to freed memory
    release();
  }
  void request() override {
    take();
    if (under_way_) return;
    Buffer& b = buffers_[next_];
    ACTMATCH_CUDA(cudaMemcpyAsync(b.data, device_, count_ * sizeof(float), cudaMemcpyDeviceToHost, stream_));
    ACTMATCH_CUDA(cudaEventRecord(b.arrived, stream_));
    under_way_ = true;
  }
  std::span<const float> latest() override {
    take();
    return any_ ? std::span<const float>(buffers_[1 - next_].data, count_) : std::span<const float>();
  }

 private:
  struct Buffer {
    float* data = nullptr;
    cudaEvent_t arrived = nullptr;
  };
  void take() {
    if (!under_way_) return;
    const cudaError_t status = cudaEventQuery(buffers_[next_].arrived);
    if (status == cudaErrorNotReady) return;
    ACTMATCH_CUDA(status);
    under_way_ = false;
    any_ = true;
    next_ = 1 - next_;
  }
  void release() {
    for (Buffer& b : buffers_) {
      if (b.arrived) cudaEventDestroy(b.arrived);
      if (b.data) cudaFreeHost(b.data);
    }
  }
  cudaStream_t stream_;
  const float* device_;
  size_t count_;
  Buffer buffers_[2];
  int next_ = 0;
  bool under_way_ = false, any_ = false;
};

}  // namespace

std::unique_ptr<Recording> record(cudaStream_t stream, const std::function<void()>& body, const CaptureNotice& capturing,
                                  const std::function<void(const std::string&)>& notice) {
  // Uncaptured first: kernels are loaded, libraries find their feet and scratch grows to its size.
  body();
  ACTMATCH_CUDA(cudaStreamSynchronize(stream));
  if (const char* plain = std::getenv("ACTMATCH_PLAIN_CALLS"); plain && *plain)
    return std::make_unique<PlainRecording>(body, "ACTMATCH_PLAIN_CALLS is set");
  try {
    struct Mark {
      const CaptureNotice& tell;
      explicit Mark(const CaptureNotice& t) : tell(t) { tell(true); }
      ~Mark() { tell(false); }
    };
    cudaGraph_t graph = nullptr;
    {
      const Mark mark(capturing);
      graph = capture(stream, body);
    }
    return std::make_unique<GraphRecording>(stream, graph);
  } catch (const LostDevice&) {  // plain calls would not get through either
    throw;
  } catch (const Error& e) {
    expect_device(stream, e.what());
    if (notice)
      notice(std::string("a step could not be recorded as a CUDA graph and is issued call by call, which is slower: ") + e.what());
    return std::make_unique<PlainRecording>(body, e.what());
  }
}

std::unique_ptr<Readback> make_readback(cudaStream_t stream, const float* device, size_t count) {
  return std::make_unique<PinnedReadback>(stream, device, count);
}

}  // namespace actmatch::cuda
