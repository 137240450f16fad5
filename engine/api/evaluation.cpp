#include "engine/api/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/api/sha256.h"
#include "engine/api/trained_explainer.h"
#include "engine/core/error.h"
#include "engine/image/draw.h"
#include "engine/image/file.h"
#include "engine/methods/registry.h"

namespace actmatch::api {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostSessions = 8;  // each holds the programs of its method
constexpr size_t kOthers = 8;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream list(text);
  for (std::string name; std::getline(list, name, ',');) {
    const size_t begin = name.find_first_not_of(' ');
    if (begin == std::string::npos) continue;
    names.push_back(name.substr(begin, name.find_last_not_of(' ') - begin + 1));
  }
  return names;
}

std::vector<const MetricInfo*> metrics_of(const std::string& text) {
  std::vector<const MetricInfo*> metrics;
  const std::vector<std::string> names = split(text);
  if (names.empty()) throw Error(ErrorCode::kInvalidArgument, "no metric is named; name some, or all");
  if (names == std::vector<std::string>{"all"}) {
    for (const MetricInfo& metric : all_metrics()) metrics.push_back(&metric);
    return metrics;
  }
  for (const std::string& name : names) {
    const MetricInfo* metric = &find_metric(name);
    if (std::find(metrics.begin(), metrics.end(), metric) != metrics.end())
      throw Error(ErrorCode::kInvalidArgument, "the metric '" + name + "' is named twice");
    metrics.push_back(metric);
  }
  return metrics;
}

int sign_of(Direction direction) { return direction == Direction::kUp ? 1 : direction == Direction::kDown ? -1 : 0; }

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// A file's name for any text: of a path the last part, of that what may stand in names, '-' for the rest; a checksum keeps different texts
// apart.
std::string file_name(const std::string& text) {
  std::string name;
  for (const char c : text.substr(text.rfind('/') + 1))
    name += std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' ? c : '-';
  if (name == text && name.size() < 100) return name;
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return name.substr(0, 80) + "-" + sha256_hex(bytes).substr(0, 8);
}

}  // namespace

std::vector<EvaluationSession::Wanted> EvaluationSession::methods_of(const std::string& text, bool explainer) {
  std::vector<Wanted> wanted;
  for (const std::string& name : split(text)) {
    const size_t colon = name.find(':');
    if (name == "all")
      for (const MethodInfo& method : all_methods()) {
        if (!method.make_trained || explainer) wanted.push_back({method.name, ""});
      }
    else
      wanted.push_back({name.substr(0, colon), colon == std::string::npos ? "" : name.substr(colon + 1)});
  }
  if (wanted.empty()) throw Error(ErrorCode::kInvalidArgument, "no method is named; choose from " + method_names() + ", or all");
  for (const Wanted& w : wanted) {
    find_method(w.method);
    if (!w.recipe.empty()) load_method_recipe(w.method, w.recipe);
    if (std::count(wanted.begin(), wanted.end(), w) > 1)
      throw Error(ErrorCode::kInvalidArgument, "the method '" + w.method + "' is named twice");
  }
  return wanted;
}

EvaluationSession::EvaluationSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& explain,
                                     const EvaluationOptions& options)
    : model_(std::move(model)),
      explain_(explain),
      options_(options),
      methods_(methods_of(options.methods, names_explainer(explain.generator ? explain.generator : ""))),
      metrics_(metrics_of(options.metrics)) {
  if (explain.method) throw Error(ErrorCode::kInvalidArgument, "an evaluation names its methods itself; leave the method out");
  if (explain.class_name)
    throw Error(ErrorCode::kInvalidArgument, "an evaluation takes classes from its table of pictures; leave the class out");
  explain_.instances = 1;
  if (!options.sweep.empty()) {
    sweep_ = read_sweep(options.sweep);
    if (std::find(methods_.begin(), methods_.end(), Wanted{sweep_.method, ""}) == methods_.end())
      throw Error(ErrorCode::kInvalidArgument,
                  "the sweep varies '" + sweep_.method + "', which is not among the methods (without a recipe of its own)");
    for (const Variant& variant : sweep_.variants)
      for (const auto& [field, value] : variant.changes) {
        if (sweep_.method != kMainMethod) continue;
        const bool steps = explain.steps > 0 && field == "steps",
                   generator = explain.generator && (field == "generator" || field == "generator.kind" || field == "generator.start");
        if (steps || generator)
          throw Error(ErrorCode::kInvalidArgument, "the sweep varies '" + field + "', which " + (steps ? "--steps" : "--generator") +
                                                       " sets for all its variants; leave one of the two out");
      }
  }
  if (sweep_.seeds.empty()) sweep_.seeds = {explain.seed};
  manifest_ = read_manifest(options.images);
  session(methods_[0].method, methods_[0].recipe);
  check_recipes();
  check_classes();
}

void EvaluationSession::check_recipes() {
  ExplainSession& any = *made_.front().session;
  const std::string generator = explain_.generator ? explain_.generator : "";
  std::set<std::pair<std::string, std::string>> seen;
  for (const Task& task : tasks()) {
    if (!seen.emplace(task.method, task.variant).second) continue;
    MethodRecipe recipe = recipe_of(task.method, task.variant);
    if (task.method == kMainMethod) {
      recipe_from_json(recipe.options.dump(), recipe.origin, explain_.robust != 0);
      continue;
    }
    if (task.method == kAmortised && names_explainer(generator)) recipe.options["generator"] = absolute_path(generator);
    try {
      make_method(any.classifier(), recipe, explain_.robust != 0, explainer_opener(*model_, any.preprocess()));
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kUnsupported) throw;  // not with this model: for the records to say
    }
  }
}

void EvaluationSession::check_classes() const {
  const ExplainSession& any = *made_.front().session;
  std::set<std::string> seen;
  for (const ManifestEntry& entry : manifest_) {
    if (entry.class_name.empty() || !seen.insert(entry.class_name).second) continue;
    try {
      any.labels().find(entry.class_name, any.classes());
    } catch (const Error& e) {
      throw Error(e.code(), "'" + options_.images + "' asks of '" + entry.image + "' for a class that is none: " + e.what());
    }
  }
}

std::vector<Task> EvaluationSession::tasks() const {
  std::vector<Task> tasks;
  for (const Wanted& wanted : methods_)
    for (const Variant& variant : sweep_.variants) {
      if (!variant.changes.empty() && !(wanted == Wanted{sweep_.method, ""})) continue;
      for (const uint64_t seed : sweep_.seeds)
        tasks.push_back({wanted.method, variant.changes.empty() ? wanted.recipe : variant.name, seed});
    }
  return tasks;
}

const Variant* EvaluationSession::swept(const std::string& method, const std::string& variant) const {
  if (method != sweep_.method || options_.sweep.empty()) return nullptr;
  const auto it = std::find_if(sweep_.variants.begin(), sweep_.variants.end(), [&](const Variant& v) { return v.name == variant; });
  return it == sweep_.variants.end() ? nullptr : &*it;
}

std::string EvaluationSession::recipe_name(const std::string& method, const std::string& variant) const {
  const Variant* sweeps = swept(method, variant);
  if (!sweeps && !variant.empty()) return variant;  // a recipe that was named with the method
  if (sweeps && !sweep_.recipe.empty()) return sweep_.recipe;
  if (method != kMainMethod) return "";
  return explain_.recipe ? explain_.recipe : names_explainer(explain_.generator ? explain_.generator : "") ? "one-mask" : "";
}

MethodRecipe EvaluationSession::recipe_of(const std::string& method, const std::string& variant) const {
  MethodRecipe recipe = load_method_recipe(method, recipe_name(method, variant));
  const Variant* sweeps = swept(method, variant);
  if (sweeps && !sweeps->changes.empty()) {
    recipe.options = Json::parse(apply_changes(Json(recipe.options).dump(), *sweeps));
    recipe.origin = "the sweep's recipe with '" + variant + "'";
  }
  return recipe;
}

std::string EvaluationSession::recipe_file(const std::string& method, const std::string& variant) const {
  if (recipe_name(method, variant).empty() && method != kMainMethod && !(swept(method, variant) && !variant.empty())) return "";
  return "recipes/" + file_name(method + (variant.empty() ? "" : "." + variant)) + ".json";
}

ExplainSession& EvaluationSession::session(const std::string& method, const std::string& variant) {
  const auto it = std::find_if(made_.begin(), made_.end(), [&](const Made& m) { return m.method == method && m.variant == variant; });
  if (it != made_.end()) {
    made_.splice(made_.begin(), made_, it);
    return *made_.front().session;
  }
  while (made_.size() >= kMostSessions) made_.pop_back();
  std::string recipe = recipe_name(method, variant);
  if (const std::string file = recipe_file(method, variant); recipes_kept_ && !file.empty())
    recipe = (std::filesystem::path(options_.out) / file).string();
  actmatch_explain_options options = explain_;
  options.method = method.c_str();
  options.recipe = recipe.empty() ? nullptr : recipe.c_str();
  if (method != kMainMethod) {  // they are activation matching's
    options.steps = 0;
    if (method != kAmortised || !names_explainer(options.generator ? options.generator : "")) options.generator = nullptr;
  }
  made_.push_front({method, variant, std::make_unique<ExplainSession>(model_, options)});
  return *made_.front().session;
}

Json EvaluationSession::settings() const {
  const ExplainSession& first = *made_.front().session;
  const ExplainSettings& s = first.settings();
  Json metrics = Json::array();
  for (const MetricInfo* metric : metrics_)
    for (const Figure& figure : metric->figures)
      metrics.push_back({{"name", figure.name},
                         {"metric", metric->name},
                         {"unit", figure.unit},
                         {"direction", sign_of(figure.direction)},
                         {"options", default_options(*metric)},
                         {"about", figure.about}});
  return {{"schema", 1},
          {"actmatch", actmatch_version()},
          {"model", std::filesystem::path(model_->path()).filename().string()},
          {"model_sha256", model_->sha256()},
          {"model_options", choices_to_json(model_->choices())},
          {"precision", first.precision()},
          {"preprocess", Json::parse(preprocess_to_json(first.preprocess()))},
          {"operating_point", operating_point(s)},
          {"tau", s.criterion.tau},
          {"rho", s.criterion.rho},
          {"backgrounds", s.criterion.backgrounds},
          {"tile", s.prune.tile},
          {"recipe", load_method_recipe(kMainMethod, explain_.recipe ? explain_.recipe : "default").options},  // a file may change
          {"generator", explain_.generator ? Json(explain_.generator) : Json(nullptr)},
          {"generator_sha256",
           names_explainer(explain_.generator ? explain_.generator : "") ? Json(sha256_of_file(explain_.generator)) : Json(nullptr)},
          {"steps", explain_.steps},
          {"sweep_recipe", sweep_.recipe},
          {"metrics", metrics}};
}

EvaluationOutcome EvaluationSession::run(const std::function<bool(const EvaluationProgress&)>& progress) {
  const Shard shard = parse_shard(options_.shard.empty() ? "auto" : options_.shard, [](const char* name) { return std::getenv(name); });
  RunFolder folder(options_.out, settings(), shard);
  for (const Task& task : tasks()) {
    const std::string file = recipe_file(task.method, task.variant);
    if (file.empty()) continue;
    Json recipe = recipe_of(task.method, task.variant).options;
    recipe["method"] = task.method;
    folder.agree(file, recipe, "results of '" + task.method + (task.variant.empty() ? "" : ":" + task.variant) + "'");
  }
  recipes_kept_ = true;
  EvaluationProgress latest;
  go_on_ = [&] { return progress(latest); };
  const EvaluationOutcome outcome = evaluate(folder, manifest_, tasks(), shard, *this, options_.retry, [&](const EvaluationProgress& p) {
    latest = p;
    return progress(p);
  });
  go_on_ = {};
  return outcome;
}

void EvaluationSession::open(const ManifestEntry& entry) {
  gather_others();
  ExplainSession& any = *made_.front().session;
  entry_ = &entry;
  picture_ = any.prepare({entry.path, nullptr, 0, 0, {}});
  if (picture_.error) std::rethrow_exception(picture_.error);
  if (!entry.class_name.empty()) picture_.asked = any.labels().find(entry.class_name, any.classes());
  problem_ = any.problem_of(picture_);
  const ClassifierShape& shape = any.classifier().shape();
  object_.clear();
  if (!entry.boxes.empty())
    object_ = fit_boxes(entry.boxes, picture_.stored_width, picture_.stored_height, any.preprocess(), static_cast<int>(shape.width),
                        static_cast<int>(shape.height));
  if (std::count(object_.begin(), object_.end(), 1) == 0) object_.clear();  // outside of what the model sees
}

void EvaluationSession::gather_others() {
  if (others_gathered_) return;
  others_gathered_ = true;
  const ExplainSession& any = *made_.front().session;
  for (const ManifestEntry& entry : manifest_) {
    if (others_.size() > kOthers) break;  // one more, since a picture is no background of its own
    if (std::any_of(others_.begin(), others_.end(), [&](const auto& o) { return o.first == entry.path; })) continue;
    PreparedPicture picture = any.prepare({entry.path, nullptr, 0, 0, {}});
    if (!picture.error) others_.emplace_back(entry.path, std::move(picture.input.x));
  }
}

std::string EvaluationSession::fingerprint(const ManifestEntry& entry) {
  if (&entry == entry_) return picture_.provenance.image_sha256;
  try {
    return sha256_of_file(entry.path);
  } catch (const Error&) {  // what is to be done with it will say why; what was done before stays
    return "";
  }
}

Json EvaluationSession::examine(const Task& task) {
  ExplainSession& session = this->session(task.method, task.variant);
  const ExplainProgressCallback watch = [this](const ExplainProgress&) { return go_on_(); };
  const Explainer::Outcome outcome = session.explain(picture_, task.seed, watch);
  const Explanation& e = outcome.instances.front();
  Json record{{"class", outcome.label},
              {"class_name", session.labels().name(outcome.label)},
              {"p_x", outcome.p_x},
              {"seconds", e.optimise_seconds},
              {"mask_seconds", e.prune_seconds},
              {"passes", e.forward + e.backward},
              {"forward", e.forward},
              {"backward", e.backward},
              {"feasible", e.feasible},
              {"minimal_tile", e.minimal_tile}};
  if (const std::string file = recipe_file(task.method, task.variant); !file.empty()) record["recipe"] = file;
  const auto start = std::chrono::steady_clock::now();
  measure(record, e);
  record["metric_seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  draw(record, task, e);
  return record;
}

MetricInput EvaluationSession::metric_input(const Explanation& explanation) const {
  MetricInput input{*problem_, explanation.soft, explanation.mask, object_, {}, {}, kNeedsMap | kNeedsMask, nullptr};
  if (!object_.empty()) input.has |= kNeedsObject;
  for (const auto& [path, x] : others_)
    if (path != entry_->path && input.others.size() < kOthers) input.others.push_back(x);
  return input;
}

void EvaluationSession::measure(Json& record, const Explanation& explanation) {
  Classifier& classifier = made_.front().session->classifier();
  MetricInput input = metric_input(explanation);
  std::map<std::string, std::vector<double>> curves;
  input.curves = &curves;
  Json figures = Json::object();
  for (const MetricInfo* metric : metrics_) {
    if (metric->needs & ~input.has) continue;  // no object, or what only the report can say: agreement over seeds
    if (!go_on_()) throw Error(ErrorCode::kCancelled, "stopped");
    const Measured measured = actmatch::measure(*metric, classifier, input);
    for (size_t i = 0; i < measured.values.size(); ++i) figures[metric->figures[i].name] = finite_or_null(measured.values[i]);
  }
  record["metrics"] = std::move(figures);
  if (curves.empty()) return;
  record["curves"] = Json::object();
  for (auto& [name, curve] : curves) {
    for (double& p : curve) p = std::round(p * 1e5) / 1e5;  // for drawing; the figures were taken from all digits
    record["curves"][name] = curve;
  }
}

void EvaluationSession::draw(Json& record, const Task& task, const Explanation& explanation) const {
  const int width = picture_.fitted.width, height = picture_.fitted.height;
  std::string name = task.method;
  if (!task.variant.empty()) name += "." + task.variant;
  name += ".seed" + std::to_string(task.seed);  // a later run may bring others into the same folder
  const std::string picture = file_name(entry_->image + (entry_->class_name.empty() ? "" : "." + entry_->class_name));
  const auto put = [&](const char* folder, const std::vector<std::byte>& png) {
    const std::string file = std::string(folder) + "/" + picture + "/" + file_name(name) + ".png";
    const std::filesystem::path path = std::filesystem::path(options_.out) / file;
    make_folder(path.parent_path().string());
    write_file_atomically(path.string(), png);
    return file;
  };
  record["mask"] = put("masks", encode_png(draw_mask(explanation.mask, width, height)));
  record["overlay"] = put("pictures", encode_png(draw_heat_over(picture_.fitted, explanation.soft)));
}

}  // namespace actmatch::api
