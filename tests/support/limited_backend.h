// A backend with so much memory and no more, as GPUs have it: it counts what programs and buffers take, says what is left, and refuses what
// is too much. Everything else is done by another backend.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/core/lost_device.h"

namespace actmatch::test {

class LimitedBackend : public Backend {
 public:
  explicit LimitedBackend(Backend& inner) : inner_(inner) {}
  explicit LimitedBackend(std::unique_ptr<Backend> inner) : owned_(std::move(inner)), inner_(*owned_) {}

  size_t memory = SIZE_MAX;         // bytes
  bool tells = true;                // free_memory() says what is left
  int64_t preferred = 16;           // preferred_batch()
  int64_t most_images = INT64_MAX;  // a graph of more is refused, however much memory there is
  Precision stated = Precision::kF32;
  std::string called = "limited", described = "a CPU with a limited memory";
  std::function<bool()> lost;  // when it says so, nothing gets to the device any more
  size_t used = 0, most_used = 0;
  int64_t refusals = 0;

  std::string name() const override { return called; }
  std::string description() const override { return described; }
  std::string why_unsupported(const Graph& graph, const Node& node) const override { return inner_.why_unsupported(graph, node); }
  std::unique_ptr<Program> compile(const Graph& graph, const CompileOptions& options) override {
    if (!graph.inputs().empty() && graph.value(graph.inputs()[0]).shape[0] > most_images) refuse();
    auto program = inner_.compile(graph, options);
    const MemoryReport report = program->memory();
    const size_t bytes = report.arena_bytes + report.weight_bytes + report.exposed_bytes;
    take(bytes);
    return std::make_unique<Counted>(*this, std::move(program), bytes);
  }
  float* allocate(size_t count) override {
    take(count * sizeof(float));
    float* address = inner_.allocate(count);
    buffers_[address] = count * sizeof(float);
    return address;
  }
  void release(float* address) override {
    used -= buffers_.at(address);
    buffers_.erase(address);
    inner_.release(address);
  }
  void upload(float* device, const float* host, size_t count) override {
    if (lost && lost()) throw LostDevice("the device is lost; start the program again");
    inner_.upload(device, host, count);
  }
  void download(float* host, const float* device, size_t count) override { inner_.download(host, device, count); }
  Kernels& kernels() override { return inner_.kernels(); }
  Precision precision() const override { return stated; }
  size_t free_memory() const override { return tells ? memory - used : 0; }
  int64_t preferred_batch() const override { return preferred; }
  std::unique_ptr<Recording> record(const std::function<void()>& body) override { return inner_.record(body); }
  std::unique_ptr<Readback> make_readback(const float* device, size_t count) override { return inner_.make_readback(device, count); }
  void synchronize() override { inner_.synchronize(); }
  void set_threads(int threads) override { inner_.set_threads(threads); }

 private:
  [[noreturn]] void refuse() {
    ++refusals;
    throw Error(ErrorCode::kOutOfMemory, "not enough memory of the device; a smaller batch needs less");
  }
  void take(size_t bytes) {
    if (bytes > memory - used) refuse();
    used += bytes;
    most_used = std::max(most_used, used);
  }

  class Counted : public Program {
   public:
    Counted(LimitedBackend& backend, std::unique_ptr<Program> inner, size_t bytes)
        : backend_(backend), inner_(std::move(inner)), bytes_(bytes) {}
    ~Counted() override { backend_.used -= bytes_; }
    float* data(ValueId value) override { return inner_->data(value); }
    float* gradient(ValueId value) override { return inner_->gradient(value); }
    void forward() override { inner_->forward(); }
    void backward() override { inner_->backward(); }
    kernels::ChannelOrder order(ValueId value) const override { return inner_->order(value); }
    MemoryReport memory() const override { return inner_->memory(); }

   private:
    LimitedBackend& backend_;
    std::unique_ptr<Program> inner_;
    size_t bytes_;
  };

  std::unique_ptr<Backend> owned_;
  Backend& inner_;
  std::map<float*, size_t> buffers_;
};

}  // namespace actmatch::test
