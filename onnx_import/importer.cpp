#include "onnx_import/importer.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "engine/core/error.h"
#include "engine/graph/passes.h"
#include "onnx_import/graph_builder.h"
#include "onnx_import/input_shapes.h"
#include "onnx_import/model_reader.h"

namespace actmatch::onnx_import {
namespace {

// What lowering the file at its declared size has shown.
struct Trial {
  std::vector<Problem> problems;
  std::vector<std::string> notices;
  ShapesByName shapes;
};

Trial try_lowering(const ParsedModel& model) {
  Trial trial;
  BuildOptions options;
  options.structure_only = true;
  GraphBuilder builder(model, declared_shapes(model), options, nullptr);
  builder.lower();
  trial.problems = builder.problems();
  trial.notices = builder.notices();
  trial.shapes = builder.shapes();
  return trial;
}

std::string describe(const Problem& problem) {
  if (problem.op.empty()) return problem.message;
  return "node '" + problem.node + "' (" + problem.op + ", opset " + std::to_string(problem.opset) + "): " + problem.message;
}

[[noreturn]] void refuse(const ParsedModel& model, const std::vector<Problem>& problems, const std::string& circumstance) {
  constexpr size_t kMostListed = 200;
  std::string text = "'" + model.path + "' cannot be imported" + circumstance + ", " + std::to_string(problems.size()) +
                     (problems.size() == 1 ? " problem: " : " problems: ");
  for (size_t i = 0; i < std::min(problems.size(), kMostListed); ++i) text += (i ? "; " : "") + describe(problems[i]);
  if (problems.size() > kMostListed) text += "; and " + std::to_string(problems.size() - kMostListed) + " more";
  throw Error(ErrorCode::kUnsupported, text);
}

// Operators whose constants are weights: elsewhere an infinity is a legitimate bound or mask.
std::vector<std::string> find_odd_weights(const ParsedModel& model) {
  static const std::unordered_set<std::string> kWeighted{"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"};
  std::vector<std::string> found;
  std::unordered_set<std::string> seen;
  for (const auto& node : model.graph().node()) {
    if (!kWeighted.contains(node.op_type())) continue;
    for (const std::string& input : node.input()) {
      if (!model.weights.contains(input) || !seen.insert(input).second) continue;
      const int64_t at = model.weights.find_non_finite(input);
      if (at >= 0)
        found.push_back("the weights '" + input + "' are not finite at element " + std::to_string(at) +
                        ": the training has diverged, half precision has overflowed, or the file is damaged");
    }
  }
  return found;
}

// A file that was exported with a fixed batch may have it in places that another batch cannot reach, and then mixes the images. It shows
// at the outputs: each has to have grown with the inputs, and in no other way. Returns those that have not.
std::vector<Problem> outputs_without_batch(const ParsedModel& model, const GraphBuilder& builder, const Trial& trial, int64_t batch) {
  std::vector<Problem> problems;
  for (const auto& output : model.graph().output()) {
    const ValueId id = builder.find(output.name());
    const auto declared = trial.shapes.find(output.name());
    if (id == kNoValue || declared == trial.shapes.end() || builder.graph().is_constant(id)) continue;
    const Shape& shape = builder.graph().value(id).shape;
    Shape expected = declared->second;
    if (!expected.empty()) expected[0] = batch;
    if (shape != expected)
      problems.push_back({"", "",
                          "its output '" + output.name() + "' has the shape " + to_string(shape) + " in place of " + to_string(expected) +
                              ", because the batch " + to_string(Shape{declared->second.empty() ? 1 : declared->second[0]}) +
                              " is written into the file; export it with a dynamic batch",
                          model.opset});
  }
  return problems;
}

// Do the inputs differ from what is declared in nothing but batches that the file leaves open?
bool only_open_batches_differ(const ParsedModel& model, const std::vector<Shape>& declared, std::vector<Shape> shapes) {
  for (size_t i = 0; i < shapes.size(); ++i)
    if (!shapes[i].empty() && !model.inputs[i].shape.empty() && model.inputs[i].shape[0] < 0) shapes[i][0] = declared[i][0];
  return shapes == declared;
}

// Names in `options` have to be those of something.
void check_names(const ParsedModel& model, const BuildOptions& options) {
  const auto is_input = [&](const std::string& name) {
    return std::any_of(model.inputs.begin(), model.inputs.end(), [&](const ModelInput& input) { return input.name == name; });
  };
  const auto missing = [&](const std::string& kind, const std::string& name) {
    std::string known;
    for (const ModelInput& input : model.inputs) known += (known.empty() ? "'" : ", '") + input.name + "'";
    throw Error(ErrorCode::kInvalidArgument,
                "'" + model.path + "' has no " + kind + " '" + name + "'" +
                    (kind == "input" ? "; its inputs: " + known : "; take a name that the file gives to the output of a node"));
  };
  if (!options.picture.empty() && !is_input(options.picture)) missing("input", options.picture);
  for (const auto& [name, value] : options.fixed_inputs)
    if (!is_input(name)) missing("input", name);
  std::unordered_set<std::string> made;
  for (const auto& node : model.graph().node()) made.insert(node.output().begin(), node.output().end());
  for (const std::string& name : options.outputs)
    if (name.empty() || !made.contains(name)) missing("value", name);
}

}  // namespace

struct Model::Impl {
  explicit Impl(std::unique_ptr<ParsedModel> parsed_model) : parsed(std::move(parsed_model)) {}

  const Trial& trial() const {
    std::call_once(tried_, [this] { trial_ = try_lowering(*parsed); });
    return trial_;
  }

  const std::vector<std::string>& notices() const {
    std::call_once(noted_, [this] {
      notices_ = trial().notices;
      for (std::string& odd : find_odd_weights(*parsed)) notices_.push_back(std::move(odd));
    });
    return notices_;
  }

  const std::unique_ptr<ParsedModel> parsed;

 private:
  mutable std::once_flag tried_, noted_;
  mutable Trial trial_;
  mutable std::vector<std::string> notices_;
};

Model Model::from_file(const std::string& path) {
  auto source = std::make_shared<FileSource>(path, "model", true);
  return Model(std::make_shared<const Impl>(read_model(std::move(source), path, true)));
}

Model Model::from_bytes(std::span<const std::byte> bytes, const std::string& name) {
  return Model(std::make_shared<const Impl>(read_model(std::make_shared<MemorySource>(bytes), name, false)));
}

const std::vector<ModelInput>& Model::inputs() const { return impl_->parsed->inputs; }

std::vector<std::string> Model::output_names() const {
  std::vector<std::string> names;
  for (const auto& output : impl_->parsed->graph().output()) names.push_back(output.name());
  return names;
}

int64_t Model::ir_version() const { return impl_->parsed->proto.ir_version(); }

int64_t Model::opset() const { return impl_->parsed->opset; }

std::string Model::producer() const {
  const auto& proto = impl_->parsed->proto;
  return proto.producer_name() + (proto.producer_version().empty() ? "" : " " + proto.producer_version());
}

const std::string& Model::path() const { return impl_->parsed->path; }

std::map<std::string, int> Model::operator_counts() const {
  std::map<std::string, int> counts;
  for (const auto& node : impl_->parsed->graph().node()) ++counts[node.op_type()];
  return counts;
}

std::vector<Problem> Model::problems() const { return impl_->trial().problems; }

int64_t Model::parameter_count() const { return impl_->parsed->parameter_count; }

std::vector<std::string> Model::notices(bool of_weights) const { return of_weights ? impl_->notices() : impl_->trial().notices; }

const std::vector<std::string>& Model::external_files() const { return impl_->parsed->external_files; }

Graph Model::build(const BuildOptions& options, BuildTimes* times) const {
  const auto start = std::chrono::steady_clock::now();
  const ParsedModel& model = *impl_->parsed;
  std::vector<Shape> shapes;
  try {
    shapes = chosen_shapes(model, options);
  } catch (const Error&) {
    // A model that cannot be imported at all says that first: giving the missing shape would not help.
    if (!impl_->trial().problems.empty()) refuse(model, impl_->trial().problems, "");
    throw;
  }
  // The trial at the declared size shows where the batch went; it is of no use when nothing has changed.
  const std::optional<std::vector<Shape>> declared = declared_shapes(model);
  const bool resized = declared && *declared != shapes;
  check_names(model, options);
  const bool counts_images = resized && options.batch > 0 && options.input_shapes.empty() && options.outputs.empty();
  const auto lowered_with = [&](const ShapesByName* followed) {
    auto made = std::make_unique<GraphBuilder>(model, shapes, options, followed);
    for (const auto& [name, tensor] : options.constant_inputs) made->fix_input(name, tensor);
    made->lower();
    return made;
  };
  const auto lost_outputs = [&](const GraphBuilder& made) {
    return counts_images && made.problems().empty() ? outputs_without_batch(model, made, impl_->trial(), options.batch)
                                                    : std::vector<Problem>();
  };
  // A file whose batch is open means what it says. Exporters have left traces of the batch of one in such files, too; they are followed, as
  // in files with a fixed batch, only where it cannot be taken at its word.
  std::unique_ptr<GraphBuilder> builder;
  if (resized && only_open_batches_differ(model, *declared, shapes)) {
    builder = lowered_with(nullptr);
    if (!builder->problems().empty() || !lost_outputs(*builder).empty()) builder.reset();
  }
  if (!builder) builder = lowered_with(resized ? &impl_->trial().shapes : nullptr);
  if (!builder->problems().empty()) {
    std::string circumstance;
    if (resized && impl_->trial().problems.empty()) {
      circumstance = " for the input shape";
      for (size_t i = 0; i < shapes.size(); ++i) circumstance += (i ? ", " : " ") + to_string(shapes[i]);
      circumstance += " (it can for the declared one)";
    }
    refuse(model, builder->problems(), circumstance);
  }
  if (const auto lost = lost_outputs(*builder); !lost.empty()) refuse(model, lost, " for the batch " + std::to_string(options.batch));
  std::vector<ValueId> keep;
  for (const std::string& name : options.keep_values) {
    const ValueId id = builder->find(name);
    if (id == kNoValue)
      throw Error(ErrorCode::kInvalidArgument,
                  "'" + model.path + "' has no value '" + name + "'; take a name that the file gives to the output of a node");
    keep.push_back(id);
  }
  Graph graph = builder->take_graph();
  const auto lowered = std::chrono::steady_clock::now();
  optimise(graph, keep, options.structure_only);
  if (times) {
    const std::chrono::duration<double> lower = lowered - start, rest = std::chrono::steady_clock::now() - lowered;
    *times = {lower.count(), rest.count()};
  }
  return graph;
}

}  // namespace actmatch::onnx_import
