#include "host.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

using Work = std::function<void()>;

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUstream_st {
  std::deque<Work> queue;
  bool capturing = false, invalid = false;
  std::unique_ptr<CUgraph_st> graph;
};
struct CUevent_st {
  bool recorded = false, done = true;
  cudaStream_t stream = nullptr;
};

namespace {

struct Failure {
  cudaError_t error;
  int skip;
};
struct State {
  std::multimap<std::string, Failure> failures;
  std::map<void*, size_t> memory;
  size_t limit = SIZE_MAX, used = 0, objects = 0;
  std::set<cudaStream_t> streams;
  int delay = 0;
  cudaError_t last = cudaSuccess;
  cudaError_t lost = cudaSuccess;
  int64_t calls = 0, last_call = 0;  // those that were made, and the last one before the device is lost
};
State& state() {
  static State* s = new State;  // never destroyed: tests' static objects come here at the end
  return *s;
}

cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) state().last = error;
  return error;
}

// What a call does before anything else.
cudaError_t begin(const char* call) {
  State& s = state();
  if (++s.calls > s.last_call && s.lost != cudaSuccess) {
    for (cudaStream_t stream : s.streams) stream->queue.clear();  // it will not be done any more
    return answer(s.lost);
  }
  auto& failures = state().failures;
  const auto range = failures.equal_range(call);
  for (auto it = range.first; it != range.second; ++it) {
    if (it->second.skip-- > 0) continue;
    const cudaError_t error = it->second.error;
    failures.erase(it);
    return answer(error);
  }
  return cudaSuccess;
}

void run_all(cudaStream_t stream) {
  while (!stream->queue.empty()) {
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    work();
  }
}
void run_everything() {
  for (cudaStream_t stream : state().streams) run_all(stream);
}

// Calls that a capture forbids end it.
cudaError_t forbidden_in_capture() {
  for (cudaStream_t stream : state().streams)
    if (stream->capturing) {
      stream->invalid = true;
      return answer(cudaErrorStreamCaptureUnsupported);
    }
  return cudaSuccess;
}

#define SIMT_BEGIN(call) \
  if (const cudaError_t early = begin(call); early != cudaSuccess) return early
#define SIMT_NOT_CAPTURED() \
  if (const cudaError_t early = forbidden_in_capture(); early != cudaSuccess) return early

}  // namespace

cudaError_t cudaMalloc(void** p, size_t bytes) {
  *p = nullptr;
  SIMT_BEGIN("cudaMalloc");
  SIMT_NOT_CAPTURED();
  State& s = state();
  if (bytes > s.limit || s.used > s.limit - bytes) return answer(cudaErrorMemoryAllocation);
  // Exactly this long, so that the sanitizer sees the end; malloc's alignment of 16 is what float4 needs.
  *p = std::malloc(bytes);
  if (*p == nullptr) return bytes > 0 ? answer(cudaErrorMemoryAllocation) : cudaSuccess;
  if (bytes > 0) std::memset(*p, 0xff, bytes);
  s.memory[*p] = bytes;
  s.used += bytes;
  return cudaSuccess;
}

// The memory is gone whatever the answer is.
cudaError_t cudaFree(void* p) {
  run_everything();
  State& s = state();
  if (const auto it = s.memory.find(p); it != s.memory.end()) {
    s.used -= it->second;
    s.memory.erase(it);
  }
  std::free(p);
  return begin("cudaFree");
}

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = nullptr;
  SIMT_BEGIN("cudaMallocHost");
  SIMT_NOT_CAPTURED();
  *p = std::malloc(std::max<size_t>(bytes, 1));
  ++state().objects;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  if (p != nullptr) --state().objects;
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  SIMT_BEGIN("cudaMemGetInfo");
  const State& s = state();
  *total = s.limit == SIZE_MAX ? size_t{64} << 30 : s.limit;
  *free = *total - std::min(*total, s.used);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  SIMT_BEGIN("cudaMemcpy");
  SIMT_NOT_CAPTURED();
  run_everything();
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return simt::issue(
      stream,
      [=] {
        if (bytes > 0) std::memcpy(to, from, bytes);
      },
      "cudaMemcpyAsync");
}
cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  SIMT_BEGIN("cudaMemset");
  if (bytes > 0) std::memset(p, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  return simt::issue(
      stream,
      [=] {
        if (bytes > 0) std::memset(p, value, bytes);
      },
      "cudaMemsetAsync");
}
cudaError_t cudaDeviceSynchronize() {
  SIMT_BEGIN("cudaDeviceSynchronize");
  SIMT_NOT_CAPTURED();
  run_everything();
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  SIMT_BEGIN("cudaSetDevice");
  return device == 0 ? cudaSuccess : answer(cudaErrorInvalidValue);
}
cudaError_t cudaGetLastError() {
  if (state().lost != cudaSuccess && state().calls > state().last_call) return state().lost;  // which stays
  return std::exchange(state().last, cudaSuccess);
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "error";
  }
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  SIMT_BEGIN("cudaStreamCreateWithFlags");
  *stream = new CUstream_st;
  state().streams.insert(*stream);
  ++state().objects;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  run_all(stream);
  state().streams.erase(stream);
  --state().objects;
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  SIMT_BEGIN("cudaStreamSynchronize");
  SIMT_NOT_CAPTURED();
  if (stream != nullptr) run_all(stream);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  SIMT_BEGIN("cudaEventCreateWithFlags");
  *event = new CUevent_st;
  ++state().objects;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event->stream != nullptr && state().streams.count(event->stream) != 0) run_all(event->stream);
  --state().objects;
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  SIMT_BEGIN("cudaEventRecord");
  event->done = false;
  event->stream = stream;
  return simt::issue(
      stream, [event] { event->done = true; }, "event");
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  SIMT_BEGIN("cudaEventQuery");
  if (event->done) return cudaSuccess;
  if (state().delay > 0) {
    --state().delay;
    return cudaErrorNotReady;
  }
  run_all(event->stream);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  SIMT_BEGIN("cudaEventSynchronize");
  if (!event->done) run_all(event->stream);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  SIMT_BEGIN("cudaStreamBeginCapture");
  if (stream == nullptr || stream->capturing) return answer(cudaErrorStreamCaptureUnsupported);
  stream->capturing = true;
  stream->invalid = false;
  stream->graph = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->capturing) return answer(cudaErrorStreamCaptureUnmatched);
  stream->capturing = false;
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->graph);
  SIMT_BEGIN("cudaStreamEndCapture");
  if (stream->invalid) return answer(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st(*captured);
  ++state().objects;
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  SIMT_BEGIN("cudaGraphGetNodes");
  *count = graph->work.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = nullptr;
  SIMT_BEGIN("cudaGraphInstantiate");
  *executable = new CUgraphExec_st{graph->work};
  ++state().objects;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  SIMT_BEGIN("cudaGraphLaunch");
  for (const Work& work : executable->work)
    if (const cudaError_t error = simt::issue(stream, work, "graph node"); error != cudaSuccess) return error;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  run_everything();
  --state().objects;
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  --state().objects;
  delete graph;
  return cudaSuccess;
}

namespace simt {

cudaError_t issue(cudaStream_t stream, std::function<void()> work, const char* call) {
  SIMT_BEGIN(call);
  if (stream == nullptr) {
    work();
  } else if (stream->capturing) {
    if (stream->invalid) return answer(cudaErrorStreamCaptureInvalidated);
    stream->graph->work.push_back(std::move(work));
  } else {
    stream->queue.push_back(std::move(work));
  }
  return cudaSuccess;
}

void fail_next(const char* call, cudaError_t error, int skip) { state().failures.emplace(call, Failure{error, skip}); }
void lose_device(cudaError_t error, int64_t calls) {
  state().lost = error;
  state().last_call = state().calls + calls;
}
int64_t calls_made() { return state().calls; }
void limit_memory(size_t bytes) { state().limit = bytes; }
size_t allocated_bytes() { return state().used; }
size_t live_objects() { return state().objects; }
void delay_events(int n) { state().delay = n; }

}  // namespace simt
