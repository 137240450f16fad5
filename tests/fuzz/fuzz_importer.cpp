// Fuzzes the importer: any bytes are parsed and, where they are a model, described as `inspect` does and built at several batches and
// sizes. Anything but an actmatch::Error is a finding, an internal error too. Mutations work on the fields of the file as well as on its
// bytes, since most changed bytes only break the encoding.
#include <google/protobuf/arena.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

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

bool is_small(const Shape& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent > 1 << 16) return false;
    count = std::min(count * std::max<int64_t>(extent, 1), int64_t{1} << 17);
  }
  return count <= 1 << 16;
}

template <class Action>
void guarded(Action action) {
  try {
    action();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) throw;
  }
}

// Models that are mutated live in one block that is used again and again: allocation is what a mutation would cost otherwise.
class Workbench {
 public:
  onnx::ModelProto* parse(const uint8_t* data, size_t size) {
    auto* model = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena_);
    return model->ParseFromArray(data, static_cast<int>(size)) ? model : nullptr;
  }

 private:
  static google::protobuf::ArenaOptions options() {
    static std::vector<char> block(size_t{1} << 20);
    google::protobuf::ArenaOptions options;
    options.initial_block = block.data();
    options.initial_block_size = block.size();
    return options;
  }

  google::protobuf::Arena arena_{options()};
};

size_t write_back(const onnx::ModelProto& model, uint8_t* data, size_t max_size) {
  const size_t size = model.ByteSizeLong();
  if (size > max_size) return 0;
  model.SerializeWithCachedSizesToArray(data);
  return size;
}

}  // namespace

// Allocations are recorded with short stacks and kept from being used again for fewer of them: most of the time went there.
extern "C" const char* __asan_default_options() { return "malloc_context_size=3:quarantine_size_mb=4:thread_local_quarantine_size_kb=64"; }

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  Workbench bench;
  onnx::ModelProto* model = bench.parse(data, size);
  if (!model) return LLVMFuzzerMutate(data, size, max_size);
  fuzz::ModelMutator mutator(seed);
  for (unsigned i = 0; i <= seed / 8 % 4; ++i) mutator.mutate(*model);
  const size_t changed = write_back(*model, data, max_size);
  return changed > 0 ? changed : LLVMFuzzerMutate(data, size, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1, const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_size, unsigned seed) {
  Workbench bench;
  onnx::ModelProto *model = bench.parse(data1, size1), *other = bench.parse(data2, size2);
  if (!model || !other) return 0;
  fuzz::ModelMutator(seed).cross(*model, *other);
  return write_back(*model, out, max_size);
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
        else if (size % 16 == 0 || is_small(input.shape))  // filling a large one takes longer than all else
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
