// Work recorded as a CUDA graph, and memory that travels to the host by itself.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <string>

#include "engine/backend/backend.h"

namespace actmatch::cuda {

// Told when a recording begins (true) and ends (false): what would allocate must not in between.
using CaptureNotice = std::function<void(bool capturing)>;

// Runs `body` once, then once more while the stream is captured, which executes nothing. Where the capture or the graph fails the recording
// replays by calling `body`, and says why in its implementation() and to `notice`; a lost device is an error. With $ACTMATCH_PLAIN_CALLS
// set nothing is captured: profilers then show the parts of every step, not one launch.
std::unique_ptr<Recording> record(cudaStream_t stream, const std::function<void()>& body, const CaptureNotice& capturing,
                                  const std::function<void(const std::string&)>& notice);

std::unique_ptr<Readback> make_readback(cudaStream_t stream, const float* device, size_t count);

}  // namespace actmatch::cuda
