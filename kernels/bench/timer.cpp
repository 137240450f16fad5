#include "kernels/bench/timer.h"

#include <algorithm>
#include <cmath>

namespace actmatch::kernels::bench {

class Timer::Graph {
 public:
  Graph(cudaStream_t stream, const Launch& launch, int launches) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    cudaError_t launched = cudaSuccess;
    for (int i = 0; i < launches && launched == cudaSuccess; ++i) launched = launch(stream);
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
    cudaError_t made = cudaSuccess;
    if (launched == cudaSuccess && ended == cudaSuccess) made = cudaGraphInstantiate(&executable_, graph, 0);
    if (graph != nullptr) cudaGraphDestroy(graph);
    check(launched, "the launch");
    check(ended, "cudaStreamEndCapture");
    check(made, "cudaGraphInstantiate");
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  }
  void launch(cudaStream_t stream) const { check(cudaGraphLaunch(executable_, stream), "cudaGraphLaunch"); }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

Timer::Timer() {
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  check(cudaEventCreate(&begin_), "cudaEventCreate");
  check(cudaEventCreate(&end_), "cudaEventCreate");
}

Timer::~Timer() {
  cudaEventDestroy(end_);
  cudaEventDestroy(begin_);
  cudaStreamDestroy(stream_);
}

double Timer::replay(const Graph& graph) {
  check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
  graph.launch(stream_);
  check(cudaEventRecord(end_, stream_), "cudaEventRecord");
  check(cudaEventSynchronize(end_), "cudaEventSynchronize");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
  return static_cast<double>(milliseconds);
}

Timing Timer::time(const Launch& launch, int replays, double milliseconds, int most_launches) {
  check(launch(stream_), "the launch");  // uncaptured, so that the kernel's module is loaded
  check(cudaStreamSynchronize(stream_), "the kernel");
  Timing timing;
  {
    const Graph few(stream_, launch, 4);
    replay(few);
    const double one = std::max(replay(few) / 4, 1e-4);
    timing.launches = static_cast<int>(std::clamp(std::ceil(milliseconds / one), 1.0, static_cast<double>(most_launches)));
  }
  const Graph graph(stream_, launch, timing.launches);
  replay(graph);
  replay(graph);
  std::vector<double> times;
  for (int i = 0; i < replays; ++i) times.push_back(1e3 * replay(graph) / timing.launches);
  std::sort(times.begin(), times.end());
  timing.median = times[times.size() / 2];
  timing.least = times.front();
  timing.most = times.back();
  timing.replays = replays;
  return timing;
}

}  // namespace actmatch::kernels::bench
