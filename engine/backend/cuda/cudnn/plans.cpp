#include "engine/backend/cuda/cudnn/plans.h"

#include <dlfcn.h>

#include <algorithm>
#include <set>

#include "engine/backend/cuda/cudnn/device_impl.h"
#include "engine/backend/cuda/cudnn/plan_parts.h"

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

// cuDNN opens and closes NVRTC for every runtime-compiled engine that it considers; held open, asking for a fused backward pass takes half
// the time, and does not lose 72 kB at each opening. Where it is not found under this name, nothing but that changes.
void hold_nvrtc_open() {
  static void* const library = ::dlopen(("libnvrtc.so." + std::to_string(cudnnGetCudartVersion() / 1000)).c_str(), RTLD_LAZY | RTLD_LOCAL);
  (void)library;
}

// What one heuristic names; empty, with the reason in `refusal`, when it knows nothing for this graph. Some say so by a status, some by an
// empty list; which status is each version's own affair, so any means that.
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
    if (error.code() == ErrorCode::kOutOfMemory) throw;
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
  const NumericalNotes notes = numerical_notes(engine);
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
      candidate.workspace_bytes =
          static_cast<size_t>(build_plan(configuration, device).get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
    }
  } catch (const CudnnError& error) {  // what an engine cannot build is not offered, for whatever reason that will still be there later
    if (error.code() == ErrorCode::kOutOfMemory) throw;
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
  const auto precompiled = [&list] {
    return std::count_if(list.plans.begin(), list.plans.end(), [](const PlanCandidate& plan) { return !plan.runtime_compiled; });
  };
  for (const auto& [heuristic, mode] : kModes) {
    if (precompiled() >= limits.enough) break;
    for (const Descriptor& configuration : ask_heuristic(mode, graph, device, list.last_refusal)) {
      if (precompiled() >= limits.enough) break;
      judge(list, configuration, heuristic, seen, device, limits);
    }
  }
  return list;
}

}  // namespace actmatch::cuda
