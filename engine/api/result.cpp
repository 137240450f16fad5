#include "engine/api/result.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/api/sha256.h"
#include "engine/core/error.h"
#include "engine/image/npy.h"

namespace actmatch::api {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

// In the order of writing: the record comes last, so that a folder with a record is complete.
constexpr const char* kRecordName = "result.json";
constexpr const char* kImageName = "image.png";
constexpr std::array kFileNames = {kRecordName, "mask.png", "explanation.png", "overlay.png", "soft_mask.npy"};

std::string instance_folder(const std::string& folder, size_t instance) {
  return instance == 0 ? folder : (fs::path(folder) / ("instance_" + std::to_string(instance + 1))).string();
}

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}
std::string percent(double share) { return formatted("%.2f %%", 100 * share); }

}  // namespace

std::string operating_point(const ExplainSettings& settings) { return settings.criterion.robust ? "robust" : "sufficient"; }

std::vector<const TermTrace*> used_terms(const std::vector<TermTrace>& losses) {
  std::vector<const TermTrace*> used;
  for (const TermTrace& t : losses)
    if (t.term == "total" || std::any_of(t.values.begin(), t.values.end(), [](float v) { return v != 0.0f; })) used.push_back(&t);
  return used;
}

Result::Result(Explainer::Outcome outcome, Provenance provenance, const HowFound& how, const ExplainSettings& settings, Image fitted,
               Image shown, Colour background)
    : outcome_(std::move(outcome)),
      provenance_(std::move(provenance)),
      fitted_(std::move(fitted)),
      shown_(std::move(shown)),
      background_(background) {
  if (provenance_.image.empty()) {
    fitted_png_ = encode_png(fitted_);
    provenance_.image_sha256 = sha256_hex(fitted_png_);
  }
  for (size_t i = 0; i < outcome_.instances.size(); ++i) records_.push_back(record(i, how, settings));
}

const Explanation& Result::explanation(int64_t instance) const {
  if (instance < 0 || instance >= static_cast<int64_t>(outcome_.instances.size()))
    throw Error(ErrorCode::kNotFound, "there is no instance " + std::to_string(instance) + ": the result has " +
                                          std::to_string(outcome_.instances.size()) + ", counted from 0");
  return outcome_.instances[static_cast<size_t>(instance)];
}

const std::string& Result::json(int64_t instance) const {
  explanation(instance);
  return records_[static_cast<size_t>(instance)];
}

std::vector<const TermTrace*> Result::losses(int64_t instance) const { return used_terms(explanation(instance).losses); }

std::string Result::record(size_t instance, const HowFound& how, const ExplainSettings& settings) const {
  const Explanation& e = outcome_.instances[instance];
  const Provenance& from = provenance_;
  // A picture that came as a buffer is written beside the first instance.
  const std::string image = !from.image.empty() ? from.image : instance == 0 ? kImageName : std::string("../") + kImageName;
  Json losses = Json::object();
  for (const TermTrace* t : used_terms(e.losses)) losses[t->term] = t->values;
  const Json record{{"schema_version", kSchemaVersion},
                    {"model", from.model},
                    {"model_sha256", from.model_sha256},
                    {"image", image},
                    {"image_sha256", from.image_sha256},
                    {"model_options", Json::parse(from.model_options)},
                    {"head", from.head},
                    {"device", from.device},
                    {"precision", from.precision},
                    {"method", how.method},
                    {"recipe", how.recipe},
                    {"generator", how.generator.empty() ? Json(nullptr) : Json(how.generator)},
                    {"options", how.options},
                    {"seed", settings.seed},
                    {"steps", e.steps},
                    {"passes_per_step", e.passes_per_step},
                    {"cost", {{"forward", e.forward}, {"backward", e.backward}}},
                    {"class_index", outcome_.label},
                    {"class_name", from.class_name.empty() ? Json(nullptr) : Json(from.class_name)},
                    {"instance", instance + 1},
                    {"batch", from.batch},
                    {"p_x", outcome_.p_x},
                    {"p_e", e.p_e},
                    {"label_kept", e.label_kept},
                    {"operating_point", operating_point(settings)},
                    {"tau", settings.criterion.tau},
                    {"rho", settings.criterion.rho},
                    {"feasible", e.feasible},
                    {"area", e.area},
                    {"background_stability", e.background_stability},
                    {"fresh_stability", e.fresh_stability},
                    {"backgrounds", settings.criterion.backgrounds},
                    {"necessity", e.necessity},
                    {"p_complement", e.p_complement},
                    {"minimal_tile", e.minimal_tile},
                    {"pruned_from_area", e.pruned_from_area},
                    {"preprocess", Json::parse(from.preprocess)},
                    {"seconds", {{"total", outcome_.seconds}, {"optimise", e.optimise_seconds}, {"prune", e.prune_seconds}}},
                    {"memory_bytes", e.memory_bytes > 0 ? Json(e.memory_bytes) : Json(nullptr)},
                    {"losses", std::move(losses)}};
  return record.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void Result::stage_instance(StagedFiles& files, size_t instance, const std::string& folder) const {
  const Explanation& e = outcome_.instances[instance];
  const auto path = [&](const char* name) { return (fs::path(folder) / name).string(); };
  make_folder(folder);
  if (instance == 0 && !fitted_png_.empty()) files.add(path(kImageName), fitted_png_);
  files.add(path("mask.png"), encode_png(draw_mask(e.mask, width(), height())));
  files.add(path("explanation.png"), encode_png(draw_explanation(shown_, e.mask, background_)));
  files.add(path("overlay.png"), encode_png(draw_overlay(shown_, e.mask)));
  files.add(path("soft_mask.npy"), encode_npy(Tensor::of<float>({height(), width()}, e.soft)));
  files.add(path(kRecordName), records_[instance]);
}

void Result::write(const std::string& folder) const {
  StagedFiles files;
  for (size_t i = 0; i < outcome_.instances.size(); ++i) stage_instance(files, i, instance_folder(folder, i));
  // An older record must not stand beside a newer mask, should this be interrupted.
  for (size_t i = 0; i < outcome_.instances.size(); ++i) {
    std::error_code ignored;
    fs::remove(fs::path(instance_folder(folder, i)) / kRecordName, ignored);
  }
  files.commit();
  // Further instances that an earlier run found are no part of this result.
  std::error_code ignored;
  for (size_t i = outcome_.instances.size(); fs::is_directory(instance_folder(folder, i), ignored); ++i) {
    for (const char* name : kFileNames) fs::remove(fs::path(instance_folder(folder, i)) / name, ignored);
    fs::remove(instance_folder(folder, i), ignored);
  }
}

ReportItem Result::report_item(int64_t instance) const {
  const Explanation& e = explanation(instance);
  ReportItem item;
  item.title = provenance_.title;
  if (outcome_.instances.size() > 1) item.title += ", instance " + std::to_string(instance + 1);
  item.class_line = std::to_string(outcome_.label) + (provenance_.class_name.empty() ? "" : " " + provenance_.class_name) +
                    ", p = " + formatted("%.3f", outcome_.p_x);
  item.pictures = {{"photo", encode_png(shown_)},
                   {"evidence", encode_png(draw_explanation(shown_, e.mask, background_))},
                   {"where it lies", encode_png(draw_overlay(shown_, e.mask))},
                   {"mask", encode_png(draw_mask(e.mask, width(), height()))},
                   {"soft mask", encode_png(draw_heat_over(shown_, e.soft))}};
  const auto yes = [](bool value) { return std::string(value ? "yes" : "no"); };
  item.figures = {{"area", percent(e.area)},
                  {"p on the evidence alone", formatted("%.3f", e.p_e)},
                  {"label kept", yes(e.label_kept)},
                  {"feasible", yes(e.feasible)},
                  {"random backgrounds that keep the label", formatted("%.0f %%", 100 * e.background_stability)},
                  {"fresh random backgrounds that keep it", formatted("%.0f %%", 100 * e.fresh_stability)},
                  {"label lost without the evidence", yes(e.necessity)},
                  {"p without the evidence", formatted("%.3f", e.p_complement)},
                  {"minimal at tiles of", e.minimal_tile > 0 ? std::to_string(e.minimal_tile) + " px" : "not certified"},
                  {"area before pruning", percent(e.pruned_from_area)},
                  {"steps", std::to_string(e.steps)},
                  {"images forward and back", std::to_string(e.forward) + " and " + std::to_string(e.backward)},
                  {"seconds", formatted("%.1f", e.optimise_seconds + e.prune_seconds)}};
  for (const TermTrace* t : losses(instance)) item.curves.push_back({t->term, t->values});
  return item;
}

}  // namespace actmatch::api
