// The C interface: what there is, explaining, reports, verifying. Models and arrays: c_api_model.cpp; evaluations: c_api_evaluation.cpp.
// These are the only places where exceptions become status codes.
#include <nlohmann/json.hpp>

#include "engine/api/handles.h"
#include "engine/image/file.h"
#include "engine/methods/registry.h"

namespace actmatch::api {

namespace {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

Picture pixels_of(const uint8_t* rgb, int width, int height, const char* name) {
  require(rgb, "rgb");
  if (width < 1 || height < 1)
    throw actmatch::Error(actmatch::ErrorCode::kInvalidArgument, "the picture must have at least one pixel in width and height");
  return {{}, rgb, width, height, text_or(name, "picture")};
}

Picture file_of(const char* path) { return {path, nullptr, 0, 0, {}}; }

// The pictures of an array whose elements may be of an older, shorter kind.
std::vector<Picture> pictures_of(const actmatch_picture* given, size_t count) {
  std::vector<Picture> pictures;
  const size_t size = count > 0 ? given->struct_size : 0;
  for (size_t i = 0; i < count; ++i) {
    const auto* at = reinterpret_cast<const actmatch_picture*>(reinterpret_cast<const char*>(given) + i * size);
    const auto p = merged<actmatch_picture>(at, [](actmatch_picture* picture) { *picture = {}; });
    if (at->struct_size != size)
      throw actmatch::Error(actmatch::ErrorCode::kInvalidArgument, "all pictures of an array must have the same struct_size");
    pictures.push_back(p.path ? file_of(p.path) : pixels_of(p.rgb, p.width, p.height, p.name));
  }
  return pictures;
}

// Hands a callback of the interface what the engine reports.
ExplainProgressCallback relay(actmatch_progress_callback callback, void* user) {
  if (!callback) return {};
  return [callback, user](const ExplainProgress& p) {
    actmatch_progress report{};
    report.struct_size = sizeof(report);
    report.phase = p.phase;
    report.instance = p.instance + 1;
    report.step = p.optimise.step;
    report.steps = p.optimise.steps;
    report.area = p.area;
    report.seconds = p.optimise.seconds;
    report.seconds_left = p.optimise.seconds_left;
    std::vector<const char*> names;
    std::vector<float> values;
    if (p.optimise.losses) {
      for (const TermTrace* t : used_terms(*p.optimise.losses)) {
        if (t->values.empty()) continue;
        names.push_back(t->term.c_str());
        values.push_back(t->values.back());
      }
    }
    report.terms = names.size();
    report.term_names = names.data();
    report.term_values = values.data();
    report.picture = static_cast<size_t>(p.picture);
    return callback(&report, user) == 0;
  };
}

}  // namespace

actmatch_status fail(actmatch_status status, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();
  }
  return status;
}

actmatch_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return ACTMATCH_INVALID_ARGUMENT;
    case ErrorCode::kNotFound: return ACTMATCH_NOT_FOUND;
    case ErrorCode::kFormat: return ACTMATCH_FORMAT;
    case ErrorCode::kUnsupported: return ACTMATCH_UNSUPPORTED;
    case ErrorCode::kIo: return ACTMATCH_IO;
    case ErrorCode::kOutOfMemory: return ACTMATCH_OUT_OF_MEMORY;
    case ErrorCode::kCancelled: return ACTMATCH_CANCELLED;
    case ErrorCode::kInternal: break;
  }
  return ACTMATCH_INTERNAL;
}

}  // namespace actmatch::api

using namespace actmatch::api;

extern "C" {

const char* actmatch_version(void) { return ACTMATCH_VERSION; }

const char* actmatch_status_name(actmatch_status status) {
  switch (status) {
    case ACTMATCH_OK: return "ok";
    case ACTMATCH_INVALID_ARGUMENT: return "invalid argument";
    case ACTMATCH_NOT_FOUND: return "not found";
    case ACTMATCH_FORMAT: return "format";
    case ACTMATCH_UNSUPPORTED: return "unsupported";
    case ACTMATCH_IO: return "input or output";
    case ACTMATCH_OUT_OF_MEMORY: return "out of memory";
    case ACTMATCH_CANCELLED: return "cancelled";
    case ACTMATCH_INTERNAL: return "internal";
  }
  return "unknown status";
}

const char* actmatch_last_error(void) { return last_error().c_str(); }

actmatch_status actmatch_devices_json(const char** json) {
  return guarded([&] {
    require(json, "json");
    thread_local std::string text;
    text = devices_json();
    *json = text.c_str();
  });
}

actmatch_status actmatch_list_images(const char* path, const char* const** paths, size_t* count) {
  return guarded([&] {
    require(path, "path");
    require(paths, "paths");
    require(count, "count");
    thread_local std::vector<std::string> texts;
    thread_local std::vector<const char*> pointers;
    texts = actmatch::is_folder(path) ? actmatch::list_images(path) : std::vector<std::string>{path};
    pointers.clear();
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    *paths = pointers.data();
    *count = pointers.size();
  });
}

actmatch_status actmatch_methods_json(const char** json) {
  return guarded([&] {
    require(json, "json");
    thread_local std::string text;
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const actmatch::MethodInfo& m : actmatch::all_methods()) list.push_back({{"name", m.name}, {"about", m.about}});
    text = list.dump(1, ' ');
    *json = text.c_str();
  });
}

void actmatch_explain_options_init(actmatch_explain_options* options) {
  *options = {};
  options->struct_size = sizeof(*options);
  options->tau = 0.5;
  options->rho = 0.9;
  options->backgrounds = 32;
  options->tile = 8;
  options->instances = 1;
}

actmatch_status actmatch_explainer_create(actmatch_model* model, const actmatch_explain_options* options, actmatch_explainer** explainer) {
  if (explainer) *explainer = nullptr;
  return guarded([&] {
    require(model, "model");
    require(explainer, "explainer");
    const auto o = merged(options, actmatch_explain_options_init);
    *explainer = new actmatch_explainer{std::make_unique<ExplainSession>(model->session, o), {}};
  });
}

void actmatch_explainer_free(actmatch_explainer* explainer) { delete explainer; }

actmatch_status actmatch_explainer_info(actmatch_explainer* explainer, const char** json) {
  return guarded([&] {
    require(explainer, "explainer");
    require(json, "json");
    explainer->info = explainer->session->info().dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
    *json = explainer->info.c_str();
  });
}

actmatch_status actmatch_explainer_run_file(actmatch_explainer* explainer, const char* image_path, actmatch_progress_callback callback,
                                            void* user, actmatch_result** result) {
  if (result) *result = nullptr;
  return guarded([&] {
    require(explainer, "explainer");
    require(image_path, "image_path");
    require(result, "result");
    *result = new actmatch_result{explainer->session->run(file_of(image_path), relay(callback, user))};
  });
}

actmatch_status actmatch_explainer_run_rgb(actmatch_explainer* explainer, const uint8_t* rgb, int width, int height, const char* name,
                                           actmatch_progress_callback callback, void* user, actmatch_result** result) {
  if (result) *result = nullptr;
  return guarded([&] {
    require(explainer, "explainer");
    require(result, "result");
    *result = new actmatch_result{explainer->session->run(pixels_of(rgb, width, height, name), relay(callback, user))};
  });
}

void actmatch_batch_options_init(actmatch_batch_options* options) {
  *options = {};
  options->struct_size = sizeof(*options);
}

actmatch_status actmatch_explainer_run_batch(actmatch_explainer* explainer, const actmatch_picture* pictures, size_t count,
                                             const actmatch_batch_options* options, actmatch_progress_callback callback,
                                             actmatch_result_callback receive, void* user) {
  return guarded([&] {
    require(explainer, "explainer");
    if (count > 0) require(pictures, "pictures");
    if (!receive) throw actmatch::Error(actmatch::ErrorCode::kInvalidArgument, "receive must not be NULL");
    const auto o = merged(options, actmatch_batch_options_init);
    const std::vector<Picture> list = pictures_of(pictures, count);
    explainer->session->run_batch(list, o.batch, relay(callback, user),
                                  [&](size_t index, std::unique_ptr<Result> result, std::exception_ptr error) {
                                    actmatch_result* handle = nullptr;
                                    const actmatch_status status = guarded([&] {
                                      if (error) std::rethrow_exception(error);
                                      handle = new actmatch_result{std::move(*result)};
                                    });
                                    const char* message = status == ACTMATCH_OK ? nullptr : actmatch_last_error();
                                    return receive(index, handle, status, message, user) == 0;
                                  });
  });
}

void actmatch_result_free(actmatch_result* result) { delete result; }

actmatch_status actmatch_result_summary(const actmatch_result* result, actmatch_summary* summary) {
  return guarded([&] {
    require(result, "result");
    const Result& r = result->result;
    fill(summary, {0, r.width(), r.height(), r.outcome().label, r.provenance().class_name.c_str(), r.outcome().p_x,
                   static_cast<int64_t>(r.outcome().instances.size()), r.outcome().seconds});
  });
}

actmatch_status actmatch_result_explanation(const actmatch_result* result, int64_t instance, actmatch_explanation* explanation) {
  return guarded([&] {
    require(result, "result");
    const actmatch::Explanation& e = result->result.explanation(instance);
    fill(explanation, {0, e.mask.data(), e.soft.data(), e.feasible, e.label_kept, e.p_e, e.area, e.background_stability, e.necessity,
                       e.p_complement, e.minimal_tile, e.pruned_from_area, e.optimise_seconds, e.prune_seconds, e.fresh_stability});
  });
}

actmatch_status actmatch_result_losses(const actmatch_result* result, int64_t instance, size_t index, const char** term,
                                       const float** values, size_t* count) {
  return guarded([&] {
    require(result, "result");
    const auto losses = result->result.losses(instance);
    if (index >= losses.size())
      throw actmatch::Error(actmatch::ErrorCode::kNotFound,
                            "there is no loss term " + std::to_string(index) + ": " + std::to_string(losses.size()) + " were in use");
    if (term) *term = losses[index]->term.c_str();
    if (values) *values = losses[index]->values.data();
    if (count) *count = losses[index]->values.size();
  });
}

actmatch_status actmatch_result_json(const actmatch_result* result, int64_t instance, const char** json) {
  return guarded([&] {
    require(result, "result");
    require(json, "json");
    *json = result->result.json(instance).c_str();
  });
}

actmatch_status actmatch_result_write(const actmatch_result* result, const char* folder) {
  return guarded([&] {
    require(result, "result");
    require(folder, "folder");
    result->result.write(folder);
  });
}

actmatch_status actmatch_report_create(const actmatch_explainer* explainer, actmatch_report** report) {
  if (report) *report = nullptr;
  return guarded([&] {
    require(explainer, "explainer");
    require(report, "report");
    *report = new actmatch_report{ReportPage(*explainer->session)};
  });
}

void actmatch_report_free(actmatch_report* report) { delete report; }

actmatch_status actmatch_report_add(actmatch_report* report, const actmatch_result* result) {
  return guarded([&] {
    require(report, "report");
    require(result, "result");
    report->page.add(result->result);
  });
}

actmatch_status actmatch_report_write(const actmatch_report* report, const char* path) {
  return guarded([&] {
    require(report, "report");
    require(path, "path");
    report->page.write(path);
  });
}

void actmatch_verify_options_init(actmatch_verify_options* options) {
  *options = {};
  options->struct_size = sizeof(*options);
  options->device = "auto";
}

actmatch_status actmatch_verify(const char* result_json_path, const actmatch_verify_options* options,
                                actmatch_verification** verification) {
  if (verification) *verification = nullptr;
  return guarded([&] {
    require(result_json_path, "result_json_path");
    require(verification, "verification");
    const auto o = merged(options, actmatch_verify_options_init);
    *verification = new actmatch_verification{
        verify_record(result_json_path, {text_or(o.device, "auto"), o.threads, text_or(o.precision), text_or(o.model), text_or(o.image)})};
  });
}

void actmatch_verification_free(actmatch_verification* verification) { delete verification; }

int actmatch_verification_passed(const actmatch_verification* verification) {
  return verification && std::all_of(verification->claims.begin(), verification->claims.end(), [](const Claim& c) { return c.ok; });
}

size_t actmatch_verification_count(const actmatch_verification* verification) { return verification ? verification->claims.size() : 0; }

actmatch_status actmatch_verification_claim(const actmatch_verification* verification, size_t index, actmatch_claim* claim) {
  return guarded([&] {
    require(verification, "verification");
    if (index >= verification->claims.size())
      throw actmatch::Error(actmatch::ErrorCode::kNotFound, "there is no claim " + std::to_string(index));
    const Claim& c = verification->claims[index];
    fill(claim, {0, c.name.c_str(), c.stated.c_str(), c.found.c_str(), c.ok});
  });
}

}  // extern "C"
