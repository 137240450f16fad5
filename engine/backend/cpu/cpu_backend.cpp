#include <omp.h>

#include <map>
#include <new>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_kernels.h"
#include "engine/backend/cpu/cpu_program.h"
#include "engine/backend/cpu/loops.h"
#include "engine/core/error.h"

namespace actmatch {

namespace {

class PlainRecording : public Recording {
 public:
  explicit PlainRecording(std::function<void()> body) : body_(std::move(body)) {}
  void replay() override { body_(); }
  std::string implementation() const override { return "plain calls: there is nothing to wait for on a CPU"; }

 private:
  std::function<void()> body_;
};

class PlainReadback : public Readback {
 public:
  PlainReadback(const float* memory, size_t count) : memory_(memory), count_(count) {}
  void request() override { latest_.assign(memory_, memory_ + count_); }
  std::span<const float> latest() override { return latest_; }

 private:
  const float* memory_;
  size_t count_;
  std::vector<float> latest_;
};

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(int threads) : engine_(dnnl::engine::kind::cpu, 0), threads_(threads) {}

  std::string name() const override { return "cpu"; }
  std::string description() const override {
    return "CPU, " + cpu::dnnl_version_text() + ", " + std::to_string(threads_ > 0 ? threads_ : omp_get_max_threads()) + " threads";
  }
  // What stays in the caches of a core. Measured on a Zen 4 core with 1 MB of second level and a share of 32 MB: SqueezeNet 1.1, whose
  // largest operator takes 4 MB an image, runs 7.5 ms an image one by one, 10 in batches of eight; DenseNet-121 48 and 76 in sixteens;
  // no network was quicker in large batches than in pairs.
  size_t quick_bytes() const override { return (size_t{8} << 20) * static_cast<size_t>(threads_ > 0 ? threads_ : omp_get_max_threads()); }
  std::string why_unsupported(const Graph& graph, const Node& node) const override {
    return cpu::cpu_op(node.op()).why_unsupported(graph, node);
  }

  std::unique_ptr<Program> compile(const Graph& graph, const CompileOptions& options) override {
    std::string problems;
    for (const Node& node : graph.nodes())
      if (const std::string reason = why_unsupported(graph, node); !reason.empty())
        problems += (problems.empty() ? "" : "; ") + ("node '" + node.name + "' (" + name_of(node.op()) + "): " + reason);
    if (!problems.empty()) throw Error(ErrorCode::kUnsupported, "the CPU backend cannot run this model: " + problems);
    const cpu::ThreadLimit limit(threads_);
    try {
      return std::make_unique<cpu::CpuProgram>(graph, options, engine_, weights_, &threads_);
    } catch (const dnnl::error& e) {
      throw Error(ErrorCode::kInternal, std::string("oneDNN refused a primitive: ") + e.what() + " (" + cpu::dnnl_version_text() + ")");
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::kOutOfMemory, "not enough memory for the activations of this model; a smaller batch needs less");
    }
  }

  float* allocate(size_t count) override {
    try {
      Tensor memory(DType::kF32, Shape{static_cast<int64_t>(count)});
      float* address = memory.data<float>();
      memory_.emplace(address, std::move(memory));
      return address;
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::kOutOfMemory, "not enough memory for " + std::to_string(count * sizeof(float)) + " bytes");
    }
  }
  void release(float* memory) override { memory_.erase(memory); }
  void upload(float* device, const float* host, size_t count) override { std::copy_n(host, count, device); }
  void download(float* host, const float* device, size_t count) override { std::copy_n(device, count, host); }
  Kernels& kernels() override { return *kernels_; }
  Precision precision() const override { return Precision::kF32; }
  size_t free_memory() const override { return 0; }
  std::unique_ptr<Recording> record(const std::function<void()>& body) override {
    body();
    return std::make_unique<PlainRecording>(body);
  }
  std::unique_ptr<Readback> make_readback(const float* device, size_t count) override {
    return std::make_unique<PlainReadback>(device, count);
  }
  void synchronize() override {}
  void set_threads(int threads) override { threads_ = threads; }

 private:
  dnnl::engine engine_;
  int threads_;
  cpu::WeightCache weights_;
  std::unique_ptr<Kernels> kernels_ = cpu::make_cpu_kernels();
  std::map<float*, Tensor> memory_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace actmatch
