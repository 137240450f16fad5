// One of cuDNN's plans, made ready to run, and the context it runs in.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/backend/cuda/conv_key.h"
#include "engine/backend/cuda/cudnn/device.h"
#include "engine/backend/cuda/libraries.h"
#include "engine/backend/cuda/plan_choice.h"

namespace actmatch::cuda {

// cuDNN's context of one CUDA device and stream.
class Handle {
 public:
  Handle();  // on the current device; throws kUnsupported when there is none
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  void set_stream(void* stream);  // a cudaStream_t
  void* get() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

// Built from a description of the device; only running it and building runtime-compiled engines need the driver.
class Plan {
 public:
  // Throws kUnsupported, naming the convolution, the choice and cuDNN's status, when the engine does not take it or does not keep what
  // list_plans promises: precision and the same bits again (the choice may come from a file); kOutOfMemory.
  Plan(const PlanKey& key, const EngineChoice& choice, const DeviceDescription& device);
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  size_t workspace_bytes() const { return workspace_bytes_; }

  // Tensors and workspace as cuDNN takes them. Checks that the addresses are those of all tensors of the key and aligned.
  class Arguments {
   public:
    ~Arguments();
    Arguments(Arguments&&) noexcept;
    Arguments& operator=(Arguments&&) noexcept;

   private:
    friend class Plan;
    struct Impl;
    explicit Arguments(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  Arguments bind(const ConvTensors& tensors, void* workspace) const;

  // Launches on the handle's stream; allocates nothing on the device and does not wait. The arguments may go once it has returned, also
  // while the launch is captured: addresses travel by value.
  void run(const Handle& handle, const Arguments& arguments) const;

 private:
  struct Impl;
  PlanKey key_;
  std::unique_ptr<Impl> impl_;
  size_t workspace_bytes_ = 0;
};

}  // namespace actmatch::cuda
