#include "engine/backend/cuda/cudnn/plans.h"

#include <dlfcn.h>

#include <algorithm>
#include <set>

#include "engine/backend/cuda/cudnn/conv_graph.h"
#include "engine/backend/cuda/cudnn/device_impl.h"

namespace actmatch::cuda {
namespace {

const char* name_of(cudnnBackendNumericalNote_t note) {
  switch (note) {
    case CUDNN_NUMERICAL_NOTE_TENSOR_CORE: return "tensor core";
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: return "down-converts inputs";
    case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION: return "reduced precision reduction";
    case CUDNN_NUMERICAL_NOTE_FFT: return "fft";
    case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC: return "nondeterministic";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD: return "winograd";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4: return "winograd 4x4";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6: return "winograd 6x6";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: return "winograd 13x13";
    case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP: return "strict NaN propagation";
    default: return "unknown note";
  }
}

bool has(const std::vector<cudnnBackendNumericalNote_t>& notes, cudnnBackendNumericalNote_t note) {
  return std::find(notes.begin(), notes.end(), note) != notes.end();
}

// fp32 leaves out everything that rounds products; Winograd and FFT stay out there too, because their transforms lose digits where the
// reference should not. "Down-converts inputs" is what TF32 means; for bf16 it would mean less than bf16.
bool fits_precision(ConvPrecision precision, const std::vector<cudnnBackendNumericalNote_t>& notes) {
  if (has(notes, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return false;
  if (precision == ConvPrecision::kBf16) return !has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
  if (precision == ConvPrecision::kTf32) return true;
  return !has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) && !has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) &&
         !has(notes, CUDNN_NUMERICAL_NOTE_WINOGRAD) && !has(notes, CUDNN_NUMERICAL_NOTE_FFT);
}

Descriptor only(std::vector<Descriptor> one, const char* what) {
  ACTMATCH_CHECK(one.size() == 1, std::string("cuDNN gave no ") + what);
  return std::move(one.front());
}

EngineChoice choice_of(const Descriptor& engine, const Descriptor& configuration) {
  EngineChoice choice;
  choice.engine = engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  for (const Descriptor& knob : configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                                                              "knob choice", CUDNN_KNOB_TYPE_COUNTS)) {
    const auto type = knob.get_all<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE);
    ACTMATCH_CHECK(type.size() == 1, "a knob of cuDNN has no type");
    choice.knobs[static_cast<int64_t>(type.front())] = knob.get_int64(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
  }
  return choice;
}

Descriptor build(const Descriptor& configuration, const DeviceDescription& device) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "execution plan");
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device.impl().properties);
  plan.finalize();
  return plan;
}

// cuDNN opens and closes NVRTC for every runtime-compiled engine that it considers; held open, asking for a fused backward pass takes half
// the time, and does not lose 72 kB at each opening. Where it is not found under this name, nothing but that changes.
void hold_nvrtc_open() {
  static void* const library = ::dlopen(("libnvrtc.so." + std::to_string(cudnnGetCudartVersion() / 1000)).c_str(), RTLD_LAZY | RTLD_LOCAL);
  (void)library;
}

ConvGraph make_graph(const PlanKey& key) {
  try {
    return ConvGraph(key);
  } catch (const CudnnError& error) {
    throw Error(ErrorCode::kInvalidArgument, "there is no convolution '" + describe(key) + "': " + error.what());
  }
}

// What one heuristic names; empty, with the reason in `refusal`, when it knows nothing for this graph (some say so by a status, some by an
// empty list).
std::vector<Descriptor> ask_heuristic(cudnnBackendHeurMode_t mode, const ConvGraph& graph, const DeviceDescription& device,
                                      std::string& refusal) {
  try {
    Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "engine heuristic");
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.graph());
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device.impl().properties);
    heuristic.finalize();
    std::vector<Descriptor> configurations =
        heuristic.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "engine configuration",
                                  heuristic.count(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR));
    if (configurations.empty() && refusal.empty()) refusal = "its heuristics name no engine for it";
    return configurations;
  } catch (const CudnnError& error) {
    if (!error.not_supported()) throw;
    refusal = error.what();
    return {};
  }
}

// Sorts one configuration into the list's plans or into one of its counts.
void judge(PlanList& list, const Descriptor& configuration, Heuristic found_by, std::set<EngineChoice>& seen,
           const DeviceDescription& device, const PlanLimits& limits) {
  PlanCandidate candidate;
  candidate.found_by = found_by;
  const Descriptor engine =
      only(configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine", 1), "engine");
  candidate.choice = choice_of(engine, configuration);
  if (!seen.insert(candidate.choice).second) return;
  ++list.candidates;
  const auto notes = engine.get_all<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
  const auto behaviour = engine.get_all<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE);
  for (cudnnBackendNumericalNote_t note : notes) candidate.numerical_notes.push_back(name_of(note));
  candidate.tensor_cores = has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
  candidate.runtime_compiled = std::find(behaviour.begin(), behaviour.end(), CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != behaviour.end();
  if (has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) {
    ++list.nondeterministic;
    return;
  }
  if (!fits_precision(list.key.precision, notes)) {
    ++list.wrong_precision;
    return;
  }
  try {
    if (candidate.runtime_compiled && !limits.build_runtime_compiled) {
      candidate.workspace_bytes = static_cast<size_t>(configuration.get_int64(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE));
    } else {
      candidate.workspace_bytes = static_cast<size_t>(build(configuration, device).get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
    }
  } catch (const CudnnError& error) {  // of any kind: what an engine cannot build is not offered, for whatever reason
    ++list.refused;
    list.last_refusal = error.what();
    return;
  }
  if (candidate.workspace_bytes > limits.workspace_bytes) {
    ++list.too_much_workspace;
    return;
  }
  list.plans.push_back(std::move(candidate));
}

}  // namespace

std::string PlanList::summary() const {
  std::string text = std::to_string(plans.size()) + " plans of cuDNN for '" + describe(key) + "' among " + std::to_string(candidates) +
                     " candidates (" + std::to_string(nondeterministic) + " not deterministic, " + std::to_string(wrong_precision) +
                     " of another precision, " + std::to_string(too_much_workspace) + " over the workspace limit, " +
                     std::to_string(refused) + " refused)";
  if (!last_refusal.empty() && (plans.empty() || refused > 0)) text += "; cuDNN: " + last_refusal;
  return text;
}

void PlanList::require_any() const {
  if (plans.empty()) throw Error(ErrorCode::kUnsupported, summary());
}

PlanList list_plans(const PlanKey& key, const DeviceDescription& device, const PlanLimits& limits) {
  hold_nvrtc_open();
  PlanList list;
  list.key = key;
  const ConvGraph graph = make_graph(key);
  std::set<EngineChoice> seen;
  constexpr std::pair<Heuristic, cudnnBackendHeurMode_t> kModes[] = {
      {Heuristic::kA, CUDNN_HEUR_MODE_A}, {Heuristic::kB, CUDNN_HEUR_MODE_B}, {Heuristic::kFallback, CUDNN_HEUR_MODE_FALLBACK}};
  for (const auto& [heuristic, mode] : kModes) {
    for (const Descriptor& configuration : ask_heuristic(mode, graph, device, list.last_refusal))
      judge(list, configuration, heuristic, seen, device, limits);
  }
  return list;
}

Handle::Handle() {
  cudnnHandle_t handle = nullptr;
  try {
    check(cudnnCreate(&handle), "cudnnCreate");
  } catch (const CudnnError& error) {
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

Plan::Plan(const PlanKey& key, const EngineChoice& choice, const DeviceDescription& device) {
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
    Descriptor configuration(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "engine configuration");
    configuration.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (!knobs.empty()) configuration.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, std::span<const cudnnBackendDescriptor_t>(knobs));
    configuration.finalize();
    Descriptor plan = build(configuration, device);
    parts.push_back(std::move(engine));
    parts.push_back(std::move(configuration));
    impl_ = std::make_unique<Impl>(Impl{std::move(graph), std::move(parts), std::move(plan)});
  } catch (const CudnnError& error) {
    throw Error(ErrorCode::kUnsupported, "cuDNN cannot run '" + describe(key) + "' on " + describe(choice) + ": " + error.what());
  }
}
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

size_t Plan::workspace_bytes() const { return static_cast<size_t>(impl_->plan.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)); }

void Plan::run(const Handle& handle, const std::vector<std::pair<ConvTensor, void*>>& tensors, void* workspace) const {
  std::vector<int64_t> ids;
  std::vector<void*> addresses;
  for (const auto& [tensor, address] : tensors) {
    ids.push_back(static_cast<int64_t>(tensor));
    addresses.push_back(address);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variant pack");
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const int64_t>(ids));
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(addresses.size()), addresses.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  pack.finalize();
  check(cudnnBackendExecute(static_cast<cudnnHandle_t>(handle.get()), impl_->plan.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace actmatch::cuda
