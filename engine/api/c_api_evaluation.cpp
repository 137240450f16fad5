// The C interface: evaluations.
#include <nlohmann/json.hpp>

#include "engine/api/comparison.h"
#include "engine/api/evaluation.h"
#include "engine/api/handles.h"

namespace actmatch::api {
namespace {

using Json = nlohmann::ordered_json;

const char* name_or_null(const Task* task) { return task ? task->method.c_str() : nullptr; }

std::function<bool(const EvaluationProgress&)> relay(actmatch_evaluation_callback callback, void* user) {
  if (!callback) return [](const EvaluationProgress&) { return true; };
  return [callback, user](const EvaluationProgress& p) {
    actmatch_evaluation_progress report{};
    report.struct_size = sizeof(report);
    report.picture = p.picture, report.pictures = p.pictures;
    report.image = p.entry ? p.entry->image.c_str() : "";
    report.method = name_or_null(p.task);
    report.variant = p.task ? p.task->variant.c_str() : "";
    report.seed = p.task ? p.task->seed : 0;
    report.done = p.done, report.to_do = p.to_do;
    report.seconds = p.seconds, report.seconds_left = p.seconds_left;
    return callback(&report, user) == 0;
  };
}

Json metrics_json() {
  Json list = Json::array();
  for (const MetricInfo& metric : all_metrics()) {
    Json figures = Json::array();
    for (const Figure& f : metric.figures)
      figures.push_back({{"name", f.name}, {"unit", f.unit}, {"direction", name_of(f.direction)}, {"about", f.about}});
    list.push_back({{"name", metric.name}, {"source", metric.source}, {"options", default_options(metric)}, {"figures", figures}});
  }
  return list;
}

}  // namespace
}  // namespace actmatch::api

extern "C" {

using namespace actmatch::api;

void actmatch_evaluation_options_init(actmatch_evaluation_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof(*options);
}

actmatch_status actmatch_metrics_json(const char** json) {
  if (json) *json = nullptr;
  return guarded([&] {
    require(json, "json");
    static const std::string text = metrics_json().dump();
    *json = text.c_str();
  });
}

actmatch_status actmatch_evaluate(actmatch_model* model, const actmatch_evaluation_options* options, actmatch_evaluation_callback callback,
                                  void* user, actmatch_evaluation_outcome* outcome) {
  return guarded([&] {
    require(model, "model");
    const auto o = merged(options, actmatch_evaluation_options_init);
    require(o.images, "images");
    require(o.out, "out");
    require(o.methods, "methods");
    EvaluationSession session(
        model->session, merged(o.explain, actmatch_explain_options_init),
        {o.images, o.out, o.methods, text_or(o.metrics, "all"), text_or(o.shard, "auto"), text_or(o.sweep), o.retry != 0});
    const actmatch::EvaluationOutcome found = session.run(relay(callback, user));
    if (outcome)
      fill(outcome,
           actmatch_evaluation_outcome{sizeof(actmatch_evaluation_outcome), found.done, found.found, found.unreadable, found.failed});
  });
}

void actmatch_comparison_options_init(actmatch_comparison_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof(*options);
  options->gallery = 12;
}

actmatch_status actmatch_compare(const char* const* folders, size_t count, const actmatch_comparison_options* options, const char** json) {
  if (json) *json = nullptr;
  return guarded([&] {
    require(json, "json");
    if (count > 0) require(folders, "folders");
    std::vector<std::string> paths;
    for (size_t i = 0; i < count; ++i) {
      require(folders[i], "a folder's path");
      paths.emplace_back(folders[i]);
    }
    thread_local std::string text;
    text = compare(paths, merged(options, actmatch_comparison_options_init)).dump();
    *json = text.c_str();
  });
}

}  // extern "C"
