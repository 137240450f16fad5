// Fuzzes the importer: any bytes are parsed and, where they are a model, described as `inspect` does and built at several batches and
// sizes. Anything but an actmatch::Error is a finding, an internal error too. Mutations work on the fields of the file as well as on its
// bytes, since most changed bytes only break the encoding.
#include <cstdint>
#include <span>
#include <string>

#include "engine/core/error.h"
#include "engine/explain/classifier_ends.h"
#include "engine/graph/op_table.h"
#include "onnx_import/importer.h"
#include "tests/fuzz/model_mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace actmatch;

// What every backend may rely on.
void check(const Graph& graph) {
  for (ValueId id : graph.outputs())
    if (id < 0 || static_cast<size_t>(id) >= graph.values().size()) __builtin_trap();
  for (const Node& node : graph.nodes()) {
    for (ValueId id : node.inputs)
      if (id != kNoValue && element_count(graph.value(id).shape) < 0) __builtin_trap();
    op_info(node.op()).multiply_adds(graph, node);
  }
}

template <class Action>
void guarded(Action action) {
  try {
    action();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) throw;
  }
}

size_t write_back(const onnx::ModelProto& model, uint8_t* data, size_t max_size) {
  const std::string changed = model.SerializeAsString();
  if (changed.size() > max_size) return 0;
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  onnx::ModelProto model;
  if (seed % 8 == 0 || !model.ParseFromArray(data, static_cast<int>(size))) return LLVMFuzzerMutate(data, size, max_size);
  fuzz::ModelMutator mutator(seed);
  for (unsigned i = 0; i <= seed / 8 % 4; ++i) mutator.mutate(model);
  const size_t changed = write_back(model, data, max_size);
  return changed > 0 ? changed : LLVMFuzzerMutate(data, size, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1, const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_size, unsigned seed) {
  onnx::ModelProto model, other;
  if (!model.ParseFromArray(data1, static_cast<int>(size1)) || !other.ParseFromArray(data2, static_cast<int>(size2))) return 0;
  fuzz::ModelMutator(seed).cross(model, other);
  return write_back(model, out, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  guarded([&] {
    const auto model = onnx_import::Model::from_bytes(std::as_bytes(std::span(data, size)), "fuzz");
    model.problems();
    model.operator_counts();
    guarded([&] {
      const Graph graph = model.build();
      check(graph);
      const ClassifierEnds ends = find_ends(graph);
      find_taps(graph, ends.input, ends.logits, 5);
    });
    guarded([&] { check(model.build({.batch = 3})); });
    guarded([&] {  // as `explain` asks for it where a model has several inputs and outputs; which way round, the size says
      onnx_import::BuildOptions options{.batch = 2, .structure_only = size % 2 == 0};
      for (const auto& input : model.inputs())
        if (options.picture.empty())
          options.picture = input.name;
        else
          options.fixed_inputs[input.name] = 1.0;
      options.picture_channels_last = size % 3 == 0;
      const auto outputs = model.output_names();
      options.outputs.assign(outputs.begin(), outputs.begin() + (outputs.empty() ? 0 : 1));
      if (size % 5 == 0 && !options.picture.empty()) options.input_shapes[options.picture] = {2, 5, 6, 3};
      Graph graph = model.build(options);
      check(graph);
      ClassifierEnds ends = find_ends(graph, size % 7 == 0 ? Head::kSigmoid : Head::kAuto);
      add_decision(graph, ends, 0);
      find_own_normalisation(graph, ends.input);
      check(graph);
    });
  });
  return 0;
}
