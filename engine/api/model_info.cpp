// What `inspect` shows of a model.
#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/api/model_session.h"
#include "engine/core/error.h"
#include "engine/graph/op_table.h"

namespace actmatch::api {

using Json = nlohmann::ordered_json;

namespace {

Json shape_json(const std::vector<int64_t>& shape) {
  Json list = Json::array();
  for (int64_t extent : shape) list.push_back(extent < 0 ? Json(nullptr) : Json(extent));
  return list;
}

Json inputs_json(const onnx_import::Model& model) {
  Json list = Json::array();
  for (const auto& input : model.inputs())
    list.push_back(
        {{"name", input.name}, {"dtype", input.stored_as_half ? "f16" : name_of(input.dtype)}, {"shape", shape_json(input.shape)}});
  return list;
}

// The classifier's ends and taps, or the reason why it is none.
void add_classifier(Json& info, const Graph& graph, const ModelSession& session) {
  try {
    const ClassifierEnds ends = find_ends(graph, session.choices().head);
    Json taps = Json::array();
    for (ValueId v : find_taps(graph, ends.input, ends.logits, 5))
      taps.push_back({{"name", graph.value(v).name}, {"shape", shape_json(graph.value(v).shape)}});
    info["classifier"] = {
        {"input", ends.shape.input_name},  {"output", ends.shape.output_name},      {"logits", graph.value(ends.logits).name},
        {"channels", ends.shape.channels}, {"height", ends.shape.height},           {"width", ends.shape.width},
        {"classes", ends.shape.labels},    {"softmax", ends.shape.ends_in_softmax}, {"taps", std::move(taps)}};
    Json& classifier = info["classifier"];
    classifier["head"] = name_of(ends.shape.head);
    classifier["sigmoid"] = ends.shape.ends_in_sigmoid;
    classifier["layout"] = session.channels_last() ? "nhwc" : "nchw";
    const std::string own = find_own_normalisation(graph, ends.input);
    classifier["takes"] = own.empty() ? Json(nullptr) : Json(own);
  } catch (const Error& e) {
    info["not_explainable"] = e.what();
  }
}

}  // namespace

Json model_info(ModelSession& session) {
  const onnx_import::Model& model = session.model();
  const auto start = std::chrono::steady_clock::now();
  const auto since_start = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  model.problems();  // found once and kept
  const double check_seconds = since_start();
  model.notices();
  Json seconds{{"read", session.read_seconds()}, {"check", check_seconds}, {"weights", since_start() - check_seconds}};
  Json info{{"path", session.path()},
            {"device", session.backend().name()},
            {"precision", name_of(session.backend().precision())},
            {"producer", model.producer()},
            {"ir_version", model.ir_version()},
            {"opset", model.opset()},
            {"inputs", inputs_json(model)},
            {"outputs", Json::array()},
            {"operators", model.operator_counts()},
            {"nodes", 0},
            {"parameters", model.parameter_count()},
            {"multiply_adds", nullptr},
            {"external_files", model.external_files()},
            {"notices", model.notices()},
            {"unsupported", Json::array()}};
  int64_t nodes = 0;
  for (const auto& [op, count] : model.operator_counts()) nodes += count;
  info["nodes"] = nodes;
  for (const auto& problem : model.problems())
    info["unsupported"].push_back({{"node", problem.node}, {"op", problem.op}, {"opset", problem.opset}, {"message", problem.message}});

  std::optional<Graph> graph;
  try {
    onnx_import::BuildOptions options = session.build_options(0);
    options.structure_only = true;
    onnx_import::BuildTimes times;
    if (info["unsupported"].empty()) {
      graph = model.build(options, &times);
      seconds["lower"] = times.lower;
      seconds["optimise"] = times.optimise;
    }
  } catch (const Error& e) {  // an input without a fixed size: nothing is wrong with the operators, but nothing can be measured
    info["not_explainable"] = e.what();
  }
  info["seconds"] = seconds;
  if (!graph) {
    for (const std::string& name : model.output_names())
      info["outputs"].push_back({{"name", name}, {"dtype", nullptr}, {"shape", nullptr}});
    if (!info.contains("not_explainable")) info["not_explainable"] = "the model has parts that are not supported";
    return info;
  }
  const auto names = session.choices().output.empty() ? model.output_names() : std::vector<std::string>{session.choices().output};
  for (size_t i = 0; i < graph->outputs().size(); ++i) {
    const Value& value = graph->value(graph->outputs()[i]);
    info["outputs"].push_back(
        {{"name", i < names.size() ? names[i] : value.name}, {"dtype", name_of(value.dtype)}, {"shape", shape_json(value.shape)}});
  }
  int64_t multiply_adds = 0;
  for (const Node& node : graph->nodes()) {
    multiply_adds += op_info(node.op()).multiply_adds(*graph, node);
    const std::string reason = session.backend().why_unsupported(*graph, node);
    if (!reason.empty())
      info["unsupported"].push_back({{"node", node.name}, {"op", name_of(node.op())}, {"opset", model.opset()}, {"message", reason}});
  }
  info["multiply_adds"] = multiply_adds;
  add_classifier(info, *graph, session);
  return info;
}

}  // namespace actmatch::api
