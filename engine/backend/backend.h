// What a device can do: hold memory, run graphs forward and backward, run the kernels of the explanation loop.
// The shared part of the engine talks to devices only through this header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/graph/gradient.h"
#include "engine/graph/graph.h"

namespace actmatch {

struct MemoryReport {
  size_t arena_bytes = 0;    // activations, gradients and scratch, shared by lifetime
  size_t weight_bytes = 0;   // constants and parameters in the device's format
  size_t exposed_bytes = 0;  // inputs, outputs, taps and their gradients in plain layout
};

struct CompileOptions {
  // Values the caller reads or writes: always present in plain layout at a fixed address. Graph inputs, graph outputs, parameters and
  // everything in `gradients` are exposed without being named.
  std::vector<ValueId> exposed;
  GradientRequest gradients;  // empty: forward only
};

// A graph made ready for one device. All memory is taken when it is compiled; forward and backward allocate nothing.
// Not thread-safe; several programs may run in several threads.
class Program {
 public:
  virtual ~Program() = default;
  // Device addresses of exposed values and of seeded or wanted gradients; row-major fp32 in the graph's shape (NCHW), valid for the
  // program's lifetime. Reading one is allowed after forward() (values) or backward() (gradients).
  virtual float* data(ValueId value) = 0;
  virtual float* gradient(ValueId value) = 0;
  virtual void forward() = 0;
  // Reads the seeds' gradients (all of them must have been written) and writes the wanted ones.
  virtual void backward() = 0;
  virtual MemoryReport memory() const = 0;
  // Time spent in library calls of each node since the last call, for profiling; empty when the backend does not measure.
  struct NodeTime {
    NodeId node;
    std::string implementation;
    double forward_seconds, backward_seconds;
  };
  virtual void enable_profiling(bool) {}
  virtual std::vector<NodeTime> profile() const { return {}; }
};

class Kernels;  // engine/backend/kernels.h

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;         // "cpu"
  virtual std::string description() const = 0;  // for people: library, version, threads
  // Empty when the node can run here, otherwise the reason.
  virtual std::string why_unsupported(const Graph& graph, const Node& node) const = 0;
  // Throws kUnsupported with every node that cannot run.
  virtual std::unique_ptr<Program> compile(const Graph& graph, const CompileOptions& options) = 0;

  virtual float* allocate(size_t count) = 0;  // zero-filled fp32 device memory; throws kOutOfMemory
  virtual void release(float* memory) = 0;
  virtual void upload(float* device, const float* host, size_t count) = 0;
  virtual void download(float* host, const float* device, size_t count) = 0;
  virtual Kernels& kernels() = 0;
  virtual void set_threads(int threads) = 0;  // 0: as many as the environment allows
};

std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace actmatch
