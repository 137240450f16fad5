// The cuDNN operation graph of one convolution with what is fused to it; for the .cpp files of this folder.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "engine/backend/cuda/conv_key.h"
#include "engine/backend/cuda/cudnn/descriptor.h"

namespace actmatch::cuda {

// By which number a graph knows its tensors in memory (ConvTensors in libraries.h). Gradients stand at the place of their tensor.
enum class TensorId : int64_t {
  kX = 1,       // x, or dx
  kW = 2,       // w, or dw
  kY = 3,       // y, or dy
  kBias = 4,    // [K]
  kAddend = 5,  // the residual, or the skip connection's gradient
  kSaved = 6,   // backward data: output of the activation whose derivative is taken
};

// A finalized operation graph. cuDNN keeps references between descriptors, so those that it was made of live as long as it does.
class ConvGraph {
 public:
  // Throws CudnnError when cuDNN finds the shapes or their combination wrong.
  explicit ConvGraph(const PlanKey& key);
  const Descriptor& graph() const { return parts_.back(); }

 private:
  using Handle = cudnnBackendDescriptor_t;

  Handle keep(Descriptor descriptor);
  Handle tensor(int64_t id, const char* name, std::array<int64_t, 4> nchw, cudnnDataType_t type, bool is_virtual);
  Handle convolution(const PlanKey& key);
  // The tensor between two fused operations, in fp32, or the last one's result in memory.
  Handle link(bool last, int64_t result_id, const char* result_name, std::array<int64_t, 4> nchw, cudnnDataType_t type);
  using Argument = std::pair<cudnnBackendAttributeName_t, Handle>;
  void add_operation(Descriptor operation, std::initializer_list<Argument> arguments);
  void add_pointwise(Descriptor mode, const char* name, std::initializer_list<Argument> arguments);
  // a + b; the sum is `result` in memory when it is the last operation.
  Handle add_addend(Handle a, Handle b, bool last, TensorId result, const char* result_name, std::array<int64_t, 4> nchw,
                    cudnnDataType_t type);

  void build_forward(const PlanKey& key);
  void build_backward_data(const PlanKey& key);
  void build_backward_filter(const PlanKey& key);

  std::vector<Descriptor> parts_;
  std::vector<Handle> operations_;
  int64_t next_virtual_id_ = 1000;  // above those of TensorId
};

}  // namespace actmatch::cuda
