#include "engine/backend/cuda/cudnn/plan.h"

#include <utility>
#include <vector>

#include "engine/backend/cuda/check.h"
#include "engine/backend/cuda/conv_tensors.h"
#include "engine/backend/cuda/cudnn/device_impl.h"
#include "engine/backend/cuda/cudnn/plan_parts.h"

namespace actmatch::cuda {

Handle::Handle() {
  cudnnHandle_t handle = nullptr;
  try {
    check(cudnnCreate(&handle), "cudnnCreate");
  } catch (const CudnnError& error) {
    if (error.code() == ErrorCode::kOutOfMemory) throw;
    throw Error(ErrorCode::kUnsupported, std::string("cuDNN cannot be used on this machine: ") + error.what());
  }
  handle_ = handle;
}
Handle::~Handle() { cudnnDestroy(static_cast<cudnnHandle_t>(handle_)); }
void Handle::set_stream(void* stream) {
  check(cudnnSetStream(static_cast<cudnnHandle_t>(handle_), static_cast<cudaStream_t>(stream)), "cudnnSetStream");
}

struct Plan::Impl {
  ConvGraph graph;
  std::vector<Descriptor> parts;  // what the plan was made of
  Descriptor plan;
};

Plan::Plan(const PlanKey& key, const EngineChoice& choice, const DeviceDescription& device) : key_(key) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kUnsupported, "cuDNN cannot run '" + describe(key) + "' on " + describe(choice) + ": " + why);
  };
  ConvGraph graph = make_graph(key);
  try {
    std::vector<Descriptor> parts;
    std::vector<cudnnBackendDescriptor_t> knobs;
    for (const auto& [type, value] : choice.knobs) {
      const auto knob_type = static_cast<cudnnBackendKnobType_t>(type);
      Descriptor knob(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, "knob choice");
      knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &knob_type);
      knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
      knob.finalize();
      knobs.push_back(parts.emplace_back(std::move(knob)).get());
    }
    Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine");
    engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph.graph());
    engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine);
    engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, device.impl().properties);
    engine.finalize();
    const NumericalNotes notes = numerical_notes(engine);
    if (has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) refuse("that engine does not give the same bits again");
    if (!fits_precision(key.precision, notes)) refuse("that engine is of another precision");
    Descriptor configuration(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "engine configuration");
    configuration.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (!knobs.empty()) configuration.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, std::span<const cudnnBackendDescriptor_t>(knobs));
    configuration.finalize();
    Descriptor plan = build_plan(configuration, device);
    workspace_bytes_ = static_cast<size_t>(plan.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
    parts.push_back(std::move(engine));
    parts.push_back(std::move(configuration));
    impl_ = std::make_unique<Impl>(Impl{std::move(graph), std::move(parts), std::move(plan)});
  } catch (const CudnnError& error) {
    if (error.code() == ErrorCode::kOutOfMemory) throw;
    refuse(error.what());
  }
}
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

struct Plan::Arguments::Impl {
  Descriptor pack{CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variant pack"};
};
Plan::Arguments::Arguments(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Plan::Arguments::~Arguments() = default;
Plan::Arguments::Arguments(Arguments&&) noexcept = default;
Plan::Arguments& Plan::Arguments::operator=(Arguments&&) noexcept = default;

Plan::Arguments Plan::bind(const ConvTensors& tensors, void* workspace) const {
  require_tensors(key_, tensors);
  ACTMATCH_CHECK(workspace || workspace_bytes_ == 0, "a plan was given no workspace: " + describe(key_));
  std::vector<int64_t> ids;
  std::vector<void*> addresses;
  const auto add = [&](TensorId id, const void* address) {
    if (!address) return;
    ids.push_back(static_cast<int64_t>(id));
    addresses.push_back(const_cast<void*>(address));  // cuDNN's attribute knows no const
  };
  add(TensorId::kX, tensors.x);
  add(TensorId::kW, tensors.w);
  add(TensorId::kY, tensors.y);
  add(TensorId::kBias, tensors.bias);
  add(TensorId::kAddend, tensors.addend);
  add(TensorId::kSaved, tensors.saved);
  auto impl = std::make_unique<Arguments::Impl>();
  impl->pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const int64_t>(ids));
  impl->pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(addresses.size()), addresses.data());
  impl->pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  impl->pack.finalize();
  return Arguments(std::move(impl));
}

// A plain launch, which the backend captures with everything else of a step. cudnnBackendPopulateCudaGraph would give a graph of this one
// plan without capturing, but only runtime-compiled engines offer it (those with CUDNN_BEHAVIOR_NOTE_SUPPORTS_CUDA_GRAPH_NATIVE_API), so
// most plans would still have to be captured, and own kernels stand between them anyway.
void Plan::run(const Handle& handle, const Arguments& arguments) const {
  try {
    check(cudnnBackendExecute(static_cast<cudnnHandle_t>(handle.get()), impl_->plan.get(), arguments.impl_->pack.get()),
          "cudnnBackendExecute of '" + describe(key_) + "'");
  } catch (const CudnnError& error) {
    cudaStream_t stream = nullptr;
    check(cudnnGetStream(static_cast<cudnnHandle_t>(handle.get()), &stream), "cudnnGetStream");
    expect_device(stream, error.what());
    throw;
  }
}

}  // namespace actmatch::cuda
