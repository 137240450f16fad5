#include "engine/api/run.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
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

// Device memory is counted in floats; whatever the type, what is there is copied.
Tensor fetch(Backend& backend, DType dtype, const Shape& shape, const float* device) {
  Tensor tensor(dtype, shape);
  if (tensor.bytes() == 0) return tensor;
  std::vector<float> words((tensor.bytes() + sizeof(float) - 1) / sizeof(float));
  backend.download(words.data(), device, words.size());
  std::memcpy(tensor.raw(), words.data(), tensor.bytes());
  return tensor;
}

void put(Backend& backend, float* device, const Tensor& tensor) {
  if (tensor.bytes() == 0) return;
  std::vector<float> words((tensor.bytes() + sizeof(float) - 1) / sizeof(float));
  std::memcpy(words.data(), tensor.raw(), tensor.bytes());
  backend.upload(device, words.data(), words.size());
}

double element(const Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case DType::kF32: return tensor.data<float>()[i];
    case DType::kI64: return static_cast<double>(tensor.data<int64_t>()[i]);
    case DType::kBool: return tensor.data<uint8_t>()[i];
  }
  return 0;
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

namespace {

struct Built {
  Graph graph;
  std::unique_ptr<Program> program;
  CompileOptions options;
  std::vector<ValueId> unreachable;
  std::set<std::string> constants;  // inputs that are taken as constants
};

// What is asked for and reaches an input of floats.
void request_gradient(Built& built, const std::string& gradient, size_t output_index) {
  const Graph& graph = built.graph;
  const ValueId output = graph.outputs()[output_index];
  if (graph.value(output).dtype != DType::kF32)
    throw Error(ErrorCode::kInvalidArgument,
                "gradient '" + gradient + "': the output '" + graph.value(output).name + "' is not of floats and has none");
  GradientRequest& request = built.options.gradients;
  request = {{output}, {}};
  for (ValueId v : graph.inputs())
    if (graph.value(v).dtype == DType::kF32 && !built.constants.contains(graph.value(v).name)) request.wanted.push_back(v);
  built.unreachable = make_gradient_schedule(graph, request).unreachable;
  std::erase_if(request.wanted,
                [&](ValueId v) { return std::find(built.unreachable.begin(), built.unreachable.end(), v) != built.unreachable.end(); });
  if (request.wanted.empty()) request.seeds.clear();
}

// Some operators take certain inputs as constants only (the target of a Reshape, the axes of a sum), and some devices compute with floats
// only. So first everything is an input; where that is refused, integers are constants, then all but the first input, then all.
Built build(ModelSession& session, const std::vector<Tensor>& inputs, const std::string& gradient, size_t output_index) {
  const auto& declared = session.model().inputs();
  const auto stays = [&](int attempt, size_t i) {
    return attempt == 0 || (attempt == 1 && declared[i].dtype == DType::kF32) || (attempt == 2 && i == 0);
  };
  std::exception_ptr first;
  const int attempts = gradient.empty() ? 4 : 3;  // what is constant has no gradient
  for (int attempt = 0; attempt < attempts; ++attempt) {
    Built built;
    onnx_import::BuildOptions options;
    for (size_t i = 0; i < inputs.size(); ++i) {
      options.input_shapes[declared[i].name] = inputs[i].shape();
      if (stays(attempt, i)) continue;
      options.constant_inputs[declared[i].name] = inputs[i];
      built.constants.insert(declared[i].name);
    }
    try {
      built.graph = session.model().build(options);
      if (!gradient.empty()) request_gradient(built, gradient, output_index);
      built.program = session.backend().compile(built.graph, built.options);
      return built;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      if (!first) first = std::current_exception();
    }
  }
  std::rethrow_exception(first);
}

}  // namespace

NamedTensors run_model(ModelSession& session, const NamedTensors& inputs, const std::string& gradient) {
  const onnx_import::Model& model = session.model();
  const auto matched = match_inputs(model, inputs);
  const std::vector<std::string> names = model.output_names();
  const Seed seed = gradient.empty() ? Seed{} : parse_seed(gradient, names);
  std::vector<Tensor> values;
  for (size_t i = 0; i < matched.size(); ++i)
    values.push_back(converted(matched[i]->tensor, model.inputs()[i].dtype, "the input '" + model.inputs()[i].name + "'"));
  Built built = build(session, values, gradient, seed.output);
  const Graph& graph = built.graph;
  const CompileOptions& options = built.options;
  Program& program = *built.program;
  Backend& backend = session.backend();
  const std::vector<float> ones = gradient.empty() ? std::vector<float>{} : seed_values(graph.value(graph.outputs()[seed.output]), seed);
  for (ValueId v : graph.inputs()) {
    const auto found =
        std::find_if(model.inputs().begin(), model.inputs().end(), [&](const auto& input) { return input.name == graph.value(v).name; });
    ACTMATCH_CHECK(found != model.inputs().end(), "an input of the graph that the file does not list");
    put(backend, program.data(v), values[static_cast<size_t>(found - model.inputs().begin())]);
  }
  program.forward();
  NamedTensors results;
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const Value& value = graph.value(graph.outputs()[i]);
    const bool constant = value.kind == ValueKind::kConstant;
    results.push_back({i < names.size() ? names[i] : value.name,
                       constant ? *value.constant : fetch(backend, value.dtype, value.shape, program.data(graph.outputs()[i]))});
  }
  if (gradient.empty()) return results;
  if (!options.gradients.seeds.empty()) {
    backend.upload(program.gradient(options.gradients.seeds[0]), ones.data(), ones.size());
    program.backward();
  }
  for (ValueId v : graph.inputs()) {
    const Value& value = graph.value(v);
    if (value.dtype != DType::kF32 || built.constants.contains(value.name)) continue;
    const bool wanted = std::find(built.unreachable.begin(), built.unreachable.end(), v) == built.unreachable.end();
    results.push_back(
        {"grad_" + value.name, wanted ? fetch(backend, DType::kF32, value.shape, program.gradient(v)) : Tensor(DType::kF32, value.shape)});
  }
  return results;
}

Tensor converted(const Tensor& tensor, DType to, const std::string& what) {
  if (tensor.dtype() == to) return tensor;
  Tensor out(to, tensor.shape());
  for (int64_t i = 0; i < out.count(); ++i) {
    const double v = element(tensor, i);
    switch (to) {
      case DType::kF32: out.data<float>()[i] = static_cast<float>(v); break;
      case DType::kI64:
        if (v != std::floor(v) || std::abs(v) >= 0x1p53)
          throw Error(ErrorCode::kInvalidArgument, what + " takes whole numbers, and " + std::to_string(v) + " is given");
        out.data<int64_t>()[i] = static_cast<int64_t>(v);
        break;
      case DType::kBool:
        if (v != 0 && v != 1)
          throw Error(ErrorCode::kInvalidArgument, what + " takes truth values (0 and 1), and " + std::to_string(v) + " is given");
        out.data<uint8_t>()[i] = v != 0;
        break;
    }
  }
  return out;
}

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
