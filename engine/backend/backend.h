// What a device can do: hold memory, run graphs forward and backward, run the kernels of the explanation loop.
// The shared part of the engine talks to devices only through this header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/graph/gradient.h"
#include "engine/graph/graph.h"
#include "kernels/channel_order.h"

namespace actmatch {

// How a device computes the networks. Masks, losses and optimiser state are fp32 in all of them.
enum class Precision : uint8_t {
  kF32,   // the reference: fp32 throughout
  kTf32,  // fp32 in memory, products on tensor cores with 10 bits of mantissa
  kBf16,  // activations and weights in bf16, sums in fp32
};
const char* name_of(Precision precision);         // "fp32", "tf32", "bf16"
Precision precision_of(const std::string& name);  // throws kInvalidArgument

struct MemoryReport {
  size_t arena_bytes = 0;    // activations, gradients and scratch, shared by lifetime
  size_t weight_bytes = 0;   // constants and parameters in the device's format
  size_t exposed_bytes = 0;  // inputs, outputs, taps and their gradients
};

// What the engine holds of a device's memory, in bytes that it has asked for: programs, buffers, weights and scratch. What NVIDIA's
// libraries, the runtime and recorded graphs take is not among them.
struct HeldMemory {
  size_t now = 0;
  size_t peak = 0;  // the most since restart_peak()
};

struct CompileOptions {
  // Values the caller reads or writes: always present in plain layout at a fixed address. Graph inputs, graph outputs, parameters and
  // everything in `gradients` are exposed without being named.
  std::vector<ValueId> exposed;
  // Of the exposed values those that the caller takes where the program itself has them, which saves a copy of each and of its gradient. In
  // which order the channels of such a feature map lie is told by Program::order(). The gradient of a seed among them is no longer what
  // the caller wrote once backward() has run: it is to be written before every run.
  std::vector<ValueId> in_place;
  GradientRequest gradients;  // empty: forward only
  // The leading extents hold this many pictures' rows: whatever a backend chooses by the size of a batch it chooses by the share of one
  // picture, so that a picture gets the numbers that it gets alone, where the device can promise that.
  int64_t pictures = 1;
};

// A graph made ready for one device. All memory is taken when it is compiled: forward and backward allocate nothing, but for integers.
// Not thread-safe; several programs may run in several threads.
class Program {
 public:
  virtual ~Program() = default;
  // Device addresses of exposed values and of seeded or wanted gradients; fp32, row-major in the graph's shape (NCHW) but for what order()
  // says, valid for the program's lifetime. Reading one is allowed after forward() (values) or backward() (gradients).
  virtual float* data(ValueId value) = 0;
  virtual float* gradient(ValueId value) = 0;
  // Of a feature map or of weights, and of their gradients: kFirst is [..., C, H, W], kLast [..., H, W, C], which only values of
  // CompileOptions::in_place may be.
  virtual kernels::ChannelOrder order(ValueId) const { return kernels::ChannelOrder::kFirst; }
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

// Work that was issued once and can be issued again, with the same addresses and sizes: one step of the optimisation.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;                       // returns at once where the device works by itself
  virtual std::string implementation() const = 0;  // "CUDA graph of 143 nodes", "plain calls: <why>"
};

// A copy of device memory that travels to the host without anybody waiting: progress of a running optimisation.
class Readback {
 public:
  virtual ~Readback() = default;
  // Asks for the memory as it will be when all work issued so far is done. Does nothing while an earlier request is under way.
  virtual void request() = 0;
  // What the latest request that has arrived brought; empty before the first. Never waits.
  virtual std::span<const float> latest() = 0;
};

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
  virtual Precision precision() const = 0;
  // Bytes that may still be allocated; 0 where the device does not tell.
  virtual size_t free_memory() const = 0;
  // Zeros where the device does not count.
  virtual HeldMemory held_memory() const { return {}; }
  virtual void restart_peak() {}
  // Images in a forward pass that keep the device busy without filling its memory; a power of two.
  virtual int64_t preferred_batch() const { return 16; }
  // Bytes that an operator may read and write in a pass before memory slows it down, so that fewer images at once are quicker; 0: it
  // does not matter.
  virtual size_t quick_bytes() const { return 0; }
  // Runs `body` once, records what it issues to this backend (programs' forward and backward, kernels) and returns that for replay. `body`
  // must neither allocate, upload, download nor depend on anything that changes from step to step outside device memory.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& body) = 0;
  virtual std::unique_ptr<Readback> make_readback(const float* device, size_t count) = 0;
  virtual void synchronize() = 0;             // waits until everything issued is done; where errors of the device show
  virtual void set_threads(int threads) = 0;  // 0: as many as the environment allows
  // Through TraceRange (trace_range.h). Ranges of a thread nest; any thread may have them. `name` is a literal.
  virtual void begin_range(const char* name) { static_cast<void>(name); }
  virtual void end_range() {}
};

std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace actmatch
