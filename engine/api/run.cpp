#include "engine/api/run.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "engine/core/error.h"
#include "engine/image/file.h"
#include "engine/image/npy.h"

namespace actmatch::api {

namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text.empty() ? "none" : text;
}

Tensor to_float(const Tensor& tensor, const std::string& path) {
  if (tensor.dtype() == DType::kF32) return tensor;
  Tensor out(DType::kF32, tensor.shape());
  if (tensor.dtype() == DType::kI64) {
    std::transform(tensor.view<int64_t>().begin(), tensor.view<int64_t>().end(), out.data<float>(),
                   [](int64_t v) { return static_cast<float>(v); });
    return out;
  }
  throw Error(ErrorCode::kUnsupported, "'" + path + "' holds truth values; save it as numbers (astype('float32'))");
}

// The arrays in the order of the model's inputs.
std::vector<const NamedTensor*> match_inputs(const onnx_import::Model& model, const NamedTensors& given) {
  std::vector<std::string> names;
  for (const auto& input : model.inputs()) names.push_back(input.name);
  std::vector<const NamedTensor*> matched(names.size(), nullptr);
  for (const NamedTensor& tensor : given) {
    auto it = std::find(names.begin(), names.end(), tensor.name);
    if (tensor.name.empty()) {
      if (names.size() != 1)
        throw Error(ErrorCode::kInvalidArgument, "the model has " + std::to_string(names.size()) + " inputs (" + listed(names) +
                                                     "); say for which one an array is, as NAME=FILE");
      it = names.begin();
    }
    if (it == names.end())
      throw Error(ErrorCode::kInvalidArgument, "the model has no input '" + tensor.name + "'; its inputs: " + listed(names));
    const NamedTensor*& slot = matched[static_cast<size_t>(it - names.begin())];
    if (slot) throw Error(ErrorCode::kInvalidArgument, "the input '" + *it + "' is given twice; give one array for each input");
    slot = &tensor;
  }
  for (size_t i = 0; i < names.size(); ++i)
    if (!matched[i]) throw Error(ErrorCode::kInvalidArgument, "the input '" + names[i] + "' is missing; give an array for it");
  return matched;
}

struct Seed {
  size_t output = 0;
  int64_t column = -1;  // -1: the whole output
};

// "OUTPUT" or "OUTPUT:CLASS"; a name may itself contain colons, so the whole text is tried as a name first.
Seed parse_seed(const std::string& text, const std::vector<std::string>& outputs) {
  const auto index_of = [&](const std::string& name) {
    return static_cast<size_t>(std::find(outputs.begin(), outputs.end(), name) - outputs.begin());
  };
  Seed seed{index_of(text), -1};
  if (seed.output < outputs.size()) return seed;
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos) {
    seed.output = index_of(text.substr(0, colon));
    const char *begin = text.data() + colon + 1, *end = text.data() + text.size();
    const auto [rest, code] = std::from_chars(begin, end, seed.column);
    const bool number = code == std::errc() && rest == end && seed.column >= 0;
    if (seed.output < outputs.size() && !number)
      throw Error(ErrorCode::kInvalidArgument, "gradient '" + text + "': what follows the colon must be a class index");
  }
  if (seed.output >= outputs.size())
    throw Error(ErrorCode::kInvalidArgument, "gradient '" + text + "': the model has no such output; its outputs: " + listed(outputs));
  return seed;
}

std::vector<float> seed_values(const Value& value, const Seed& seed) {
  const auto count = static_cast<size_t>(element_count(value.shape));
  if (seed.column < 0) return std::vector<float>(count, 1.0f);
  if (value.shape.size() < 2 || seed.column >= value.shape[1])
    throw Error(ErrorCode::kInvalidArgument, "the output '" + value.name + "' (" + to_string(value.shape) + ") has no column " +
                                                 std::to_string(seed.column) + " on axis 1");
  std::vector<float> values(count, 0.0f);
  const auto columns = static_cast<size_t>(value.shape[1]);
  size_t inner = 1;
  for (size_t axis = 2; axis < value.shape.size(); ++axis) inner *= static_cast<size_t>(value.shape[axis]);
  for (size_t row = 0; row * columns * inner < count; ++row)
    std::fill_n(values.begin() + static_cast<std::ptrdiff_t>((row * columns + static_cast<size_t>(seed.column)) * inner), inner, 1.0f);
  return values;
}

Tensor fetch(Backend& backend, const Shape& shape, const float* device) {
  Tensor tensor(DType::kF32, shape);
  backend.download(tensor.data<float>(), device, static_cast<size_t>(tensor.count()));
  return tensor;
}

std::string file_name(const std::string& name) {
  std::string safe = name;
  for (char& c : safe) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!plain) c = '_';
  }
  return safe;
}

}  // namespace

NamedTensors run_model(ModelSession& session, const NamedTensors& inputs, const std::string& gradient) {
  const onnx_import::Model& model = session.model();
  const auto matched = match_inputs(model, inputs);
  const std::vector<std::string> names = model.output_names();
  const Seed seed = gradient.empty() ? Seed{} : parse_seed(gradient, names);
  onnx_import::BuildOptions build;
  for (size_t i = 0; i < matched.size(); ++i) build.input_shapes[model.inputs()[i].name] = matched[i]->tensor.shape();
  const Graph graph = model.build(build);
  Backend& backend = session.backend();
  for (ValueId v : graph.inputs())
    if (graph.value(v).dtype != DType::kF32)
      throw Error(ErrorCode::kUnsupported, "the input '" + graph.value(v).name +
                                               "' takes whole numbers and only float inputs can be fed; " +
                                               "make it a constant when exporting");
  for (ValueId v : graph.outputs())
    if (graph.value(v).dtype != DType::kF32)
      throw Error(ErrorCode::kUnsupported, "the output '" + graph.value(v).name + "' is not of floats; leave it out when exporting");

  CompileOptions options;
  std::vector<ValueId> unreachable;
  std::vector<float> ones;
  if (!gradient.empty()) {
    const ValueId output = graph.outputs()[seed.output];
    ones = seed_values(graph.value(output), seed);
    options.gradients = {{output}, graph.inputs()};
    unreachable = make_gradient_schedule(graph, options.gradients).unreachable;
    std::erase_if(options.gradients.wanted,
                  [&](ValueId v) { return std::find(unreachable.begin(), unreachable.end(), v) != unreachable.end(); });
    if (options.gradients.wanted.empty()) options.gradients.seeds.clear();
  }
  const auto program = backend.compile(graph, options);
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const auto found = std::find_if(matched.begin(), matched.end(), [&](const NamedTensor* t) {
      return t->name.empty() || t->name == graph.value(graph.inputs()[i]).name;
    });
    ACTMATCH_CHECK(found != matched.end(), "an input of the graph that the file does not list");
    const Tensor& x = (*found)->tensor;
    backend.upload(program->data(graph.inputs()[i]), x.data<float>(), static_cast<size_t>(x.count()));
  }
  program->forward();
  NamedTensors results;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const Value& value = graph.value(graph.outputs()[i]);
    const bool constant = value.kind == ValueKind::kConstant;
    results.push_back({i < names.size() ? names[i] : value.name,
                       constant ? *value.constant : fetch(backend, value.shape, program->data(graph.outputs()[i]))});
  }
  if (gradient.empty()) return results;
  if (!options.gradients.seeds.empty()) {
    backend.upload(program->gradient(options.gradients.seeds[0]), ones.data(), ones.size());
    program->backward();
  }
  for (ValueId v : graph.inputs()) {
    const Value& value = graph.value(v);
    const bool wanted = std::find(unreachable.begin(), unreachable.end(), v) == unreachable.end();
    results.push_back(
        {"grad_" + value.name, wanted ? fetch(backend, value.shape, program->gradient(v)) : Tensor(DType::kF32, value.shape)});
  }
  return results;
}

NamedTensor read_named_npy(const std::string& name, const std::string& path) { return {name, to_float(read_npy(path), path)}; }

void write_tensors(const NamedTensors& tensors, const std::string& folder) {
  std::set<std::string> used;
  for (const NamedTensor& t : tensors)
    if (!used.insert(file_name(t.name)).second)
      throw Error(ErrorCode::kInvalidArgument,
                  "two arrays would both be written to '" + file_name(t.name) + ".npy'; rename one of them in the model");
  make_folder(folder);
  StagedFiles files;  // all of them or none: a part would look like a model with fewer outputs
  for (const NamedTensor& t : tensors)
    files.add((std::filesystem::path(folder) / (file_name(t.name) + ".npy")).string(), encode_npy(t.tensor));
  files.commit();
}

}  // namespace actmatch::api
