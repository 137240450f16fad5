#include "onnx_import/importer.h"

#include <google/protobuf/io/zero_copy_stream_impl.h>

#include <filesystem>
#include <fstream>
#include <mutex>

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
  std::optional<std::vector<Shape>> input_shapes;  // nothing where the file leaves more than the batch open
  ShapesByName shapes;
};

Trial try_lowering(const ParsedModel& model) {
  Trial trial;
  trial.input_shapes = declared_shapes(model);
  GraphBuilder builder(model, trial.input_shapes, {}, nullptr);
  builder.lower();
  trial.problems = builder.problems();
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

// A file that was exported with a fixed batch may have it in places that another batch cannot reach, and then mixes the images. It shows
// at the outputs: each has to have grown with the inputs, and in no other way.
void check_batch_reached_outputs(const ParsedModel& model, const GraphBuilder& builder, const Trial& trial, int64_t batch) {
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
  if (!problems.empty()) refuse(model, problems, " for the batch " + std::to_string(batch));
}

}  // namespace

struct Model::Impl {
  explicit Impl(std::unique_ptr<ParsedModel> parsed_model) : parsed(std::move(parsed_model)) {}

  const Trial& trial() const {
    std::call_once(tried_, [this] { trial_ = try_lowering(*parsed); });
    return trial_;
  }

  const std::unique_ptr<ParsedModel> parsed;

 private:
  mutable std::once_flag tried_;
  mutable Trial trial_;
};

Model Model::from_file(const std::string& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) throw Error(ErrorCode::kNotFound, "model '" + path + "' does not exist; check the path");
  if (!std::filesystem::is_regular_file(status))
    throw Error(ErrorCode::kInvalidArgument, "model '" + path + "' is not a file; give the path of an .onnx file");
  const uint64_t size = std::filesystem::file_size(path, code);
  std::ifstream file(path, std::ios::binary);
  if (code || !file) throw Error(ErrorCode::kIo, "model '" + path + "' cannot be read; check its permissions");
  char head[8] = {};
  file.read(head, sizeof(head));
  const std::string_view start(head, static_cast<size_t>(file.gcount()));
  file.clear();
  file.seekg(0);
  google::protobuf::io::IstreamInputStream stream(&file);
  auto parsed = read_model(stream, size, start, path);
  if (file.bad()) throw Error(ErrorCode::kIo, "model '" + path + "' cannot be read to its end");
  return Model(std::make_shared<const Impl>(std::move(parsed)));
}

Model Model::from_bytes(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto readable = static_cast<int>(std::min<size_t>(bytes.size(), std::numeric_limits<int>::max()));
  google::protobuf::io::ArrayInputStream stream(bytes.data(), readable);
  return Model(std::make_shared<const Impl>(read_model(stream, bytes.size(), text.substr(0, 8), name)));
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

Graph Model::build(const BuildOptions& options) const {
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
  GraphBuilder builder(model, shapes, options.keep_values, resized ? &impl_->trial().shapes : nullptr);
  for (const auto& [name, tensor] : options.constant_inputs) builder.fix_input(name, tensor);
  builder.lower();
  if (!builder.problems().empty()) {
    std::string circumstance;
    if (resized && impl_->trial().problems.empty()) {
      circumstance = " for the input shape";
      for (size_t i = 0; i < shapes.size(); ++i) circumstance += (i ? ", " : " ") + to_string(shapes[i]);
      circumstance += " (it can for the declared one)";
    }
    refuse(model, builder.problems(), circumstance);
  }
  if (resized && options.batch > 0 && options.input_shapes.empty())
    check_batch_reached_outputs(model, builder, impl_->trial(), options.batch);
  std::vector<ValueId> keep;
  for (const std::string& name : options.keep_values) {
    const ValueId id = builder.find(name);
    if (id == kNoValue)
      throw Error(ErrorCode::kInvalidArgument,
                  "'" + model.path + "' has no value '" + name + "'; take a name that the file gives to the output of a node");
    keep.push_back(id);
  }
  Graph graph = builder.take_graph();
  optimise(graph, keep);
  return graph;
}

}  // namespace actmatch::onnx_import
