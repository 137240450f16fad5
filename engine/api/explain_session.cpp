#include "engine/api/explain_session.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/api/sha256.h"
#include "engine/api/trained_explainer.h"
#include "engine/api/watch.h"
#include "engine/backend/trace_range.h"
#include "engine/core/error.h"
#include "engine/image/file.h"
#include "engine/methods/registry.h"

namespace actmatch::api {

namespace {

bool is_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

std::string text_of(const std::string& path) {
  const auto bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Preprocess load_preprocess(const std::string& preset_or_path) {
  const auto presets = preprocess_preset_names();
  if (std::find(presets.begin(), presets.end(), preset_or_path) != presets.end()) return preprocess_preset(preset_or_path);
  if (is_file(preset_or_path)) return preprocess_from_json(text_of(preset_or_path), preset_or_path);
  std::string list;
  for (const std::string& name : presets) list += (list.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::kNotFound, "preprocessing '" + preset_or_path + "' is neither a preset (" + list + ") nor a JSON file");
}

FitMode fit_mode(const std::string& name) {
  if (name == "short-side") return FitMode::kShortSide;
  if (name == "stretch") return FitMode::kStretch;
  if (name == "none") return FitMode::kNone;
  throw Error(ErrorCode::kInvalidArgument, "there is no way of resizing called '" + name + "'; use short-side, stretch or none");
}

void check_share(double value, const char* name) {
  if (!(value > 0.0 && value <= 1.0)) throw Error(ErrorCode::kInvalidArgument, std::string(name) + " must be greater than 0 and at most 1");
}

void check_count(int64_t value, int64_t low, int64_t high, const char* name) {
  if (value < low || value > high)
    throw Error(ErrorCode::kInvalidArgument, std::string("the number of ") + name + " must be from " + std::to_string(low) + " to " +
                                                 std::to_string(high) + ", not " + std::to_string(value));
}

ExplainSettings settings_of(const actmatch_explain_options& options) {
  check_share(options.tau, "tau");
  check_share(options.rho, "rho");
  check_count(options.backgrounds, 1, 4096, "backgrounds");
  check_count(options.tile, 1, 4096, "pixels of a tile's side");
  check_count(options.instances, 1, 1000, "instances");
  check_count(options.steps, 0, 1000000, "steps");
  ExplainSettings settings;
  settings.criterion = {options.robust != 0, options.tau, options.rho, options.backgrounds};
  settings.prune.tile = options.tile;
  settings.seed = options.seed;
  settings.instances = options.instances;
  return settings;
}

}  // namespace

ExplainInput make_input(const ClassifierShape& shape, const Image& fitted, const Preprocess& preprocess) {
  const auto channels = static_cast<int>(shape.channels);
  ExplainInput input;
  input.x = to_network(fitted, preprocess, channels);
  kernels::BackgroundSpec& b = input.backgrounds;
  b.channels = shape.channels;
  b.height = shape.height;
  b.width = shape.width;
  // b0 is the colour mu. ImageNet's statistics are given for R, G, B; the network may have another order, or brightness alone, whose mean
  // is the brightness of mu and whose deviation we take to be the mean of the three.
  const std::array<double, 3> mu{b.mu[0], b.mu[1], b.mu[2]}, sigma{b.sigma[0], b.sigma[1], b.sigma[2]};
  const auto colour = network_colour(preprocess, channels, mu);
  const bool grey = preprocess.grey || channels == 1;
  for (int c = 0; c < channels; ++c) {
    const int pair = preprocess.grey ? 0 : c, from = preprocess.bgr ? 2 - c : c;
    b.scale[c] = preprocess.scale[static_cast<size_t>(pair)];
    b.offset[c] = preprocess.offset[static_cast<size_t>(pair)];
    b.mu[c] = grey ? (colour[static_cast<size_t>(c)] - b.offset[c]) / b.scale[c] : mu[static_cast<size_t>(from)];
    b.sigma[c] = grey ? (sigma[0] + sigma[1] + sigma[2]) / 3 : sigma[static_cast<size_t>(from)];
    input.colour.push_back(static_cast<float>(colour[static_cast<size_t>(c)]));
  }
  return input;
}

ExplainSession::ExplainSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& options)
    : model_(std::move(model)), shape_(model_->classifier().shape()), classifier_(&model_->classifier()), settings_(settings_of(options)) {
  choose_method(options);
  choose_preprocess(options);
  choose_labels(options);
  if (options.class_name) label_ = labels_.find(options.class_name, shape_.labels);
  network_colour(preprocess_, static_cast<int>(shape_.channels), {});  // do preprocessing and model go together?
  for (const std::string& notice : model_->model().notices(false)) model_->notice(notice);
  if (by_label())
    take_label(std::max(label_, 0));
  else
    make_explainer();
  common_.model = model_->path();
  common_.model_sha256 = model_->sha256();
  common_.device = device();
  common_.precision = precision();
  common_.preprocess = preprocess_to_json(preprocess_);
  common_.head = actmatch::name_of(shape_.head);
  common_.model_options = choices_to_json(model_->choices()).dump();
}

void ExplainSession::take_label(int64_t label) {
  if (taken_ == label) return;
  explainer_.reset();  // before the classifier that it uses
  decision_ = model_->decision(label);
  classifier_ = decision_.get();
  make_explainer();
  taken_ = label;
}

int32_t ExplainSession::top_label(const ExplainInput& input) const {
  std::vector<float> scores(static_cast<size_t>(shape_.labels));
  model_->classifier().logits(scores.data(), input.x.data(), 1);
  return argmax(scores);
}

void ExplainSession::choose_method(const actmatch_explain_options& options) {
  const std::string generator = options.generator ? options.generator : "";
  const bool trained = names_explainer(generator);
  // A map of all that speaks for the class lies on every object of it; where each shall have a mask of its own, one that contracts is
  // better. An explainer has learned that one's objective.
  const bool main = !options.method || std::string(options.method) == kMainMethod;
  const std::string recipe = options.recipe ? options.recipe : main && (options.instances > 1 || trained) ? "one-mask" : "default";
  const bool one_pass = trained && !options.method && !options.recipe && options.steps == 0;
  method_ = one_pass ? load_method_recipe(kAmortised, "default") : load_method_recipe(options.method ? options.method : "", recipe);
  how_.method = method_.method;
  how_.options = nlohmann::ordered_json::object();
  if (method_.method == kMainMethod) {
    recipe_ = load_recipe(recipe, settings_.criterion.robust);
    if (trained && recipe_.generator.kind != GeneratorKind::kGrid)
      throw Error(ErrorCode::kInvalidArgument, "the recipe '" + recipe_.name + "' has a " + name_of(recipe_.generator.kind) +
                                                   "; only a recipe with a grid can begin from a trained explainer");
    if (trained)
      recipe_.generator.start = absolute_path(generator);
    else if (options.generator)
      recipe_.use_generator(generator_kind(generator));
    if (options.steps > 0) recipe_.steps = options.steps;
    how_.recipe = recipe_.name;
    how_.generator = name_of(recipe_.generator.kind);
    if (!recipe_.generator.start.empty()) how_.generator += " from " + recipe_.generator.start;
    how_.steps = recipe_.steps;
    return;
  }
  if (trained && method_.method == kAmortised)
    method_.options["generator"] = absolute_path(generator);
  else if (options.generator)
    throw Error(ErrorCode::kInvalidArgument,
                "the method '" + method_.method + "' has no generator" +
                    (method_.method == kAmortised ? " '" + generator + "' but the file of a trained explainer" : "; leave it out"));
  if (options.steps > 0) method_.options["steps"] = options.steps;
  how_.recipe = method_.name;
}

void ExplainSession::make_explainer() {
  if (method_.method == kMainMethod) {
    explainer_ = std::make_unique<Explainer>(*classifier_, recipe_);
    if (const std::string& start = recipe_.generator.start; !start.empty()) {
      const MethodRecipe first = names_explainer(start) ? MethodRecipe{kAmortised, kAmortised, start, {{"generator", start}}}
                                                        : load_method_recipe(start, "default");
      if (first.method == kMainMethod)
        throw Error(ErrorCode::kInvalidArgument,
                    "the recipe '" + recipe_.name + "' begins from its own method; name another one, or an explainer's file");
      const std::shared_ptr<Method> method = make_method(*classifier_, first, false, explainer_opener(*model_, preprocess_)).method;
      explainer_->optimiser()->begin_from([this, method](const Problem& problem) -> SoftMap {
        try {
          return std::move(method->run({&problem, 1}, 0, {}).front());
        } catch (const Error& e) {  // networks without a plane inside have no Grad-CAM; the optimisation does without
          if (e.code() != ErrorCode::kUnsupported || names_explainer(recipe_.generator.start)) throw;
          how_.generator = name_of(recipe_.generator.kind);
          SoftMap nothing;
          nothing.logits.assign(static_cast<size_t>(problem.pixels(shape_)), 0.0f);
          return nothing;
        }
      });
    }
    return;
  }
  try {
    MadeMethod made = make_method(*classifier_, method_, settings_.criterion.robust, explainer_opener(*model_, preprocess_));
    how_.options = made.options;
    explainer_ = std::make_unique<Explainer>(*classifier_, std::move(made.method));
  } catch (const Error& e) {
    if (std::string(e.what()).find("'steps' is not a key") == std::string::npos) throw;
    throw Error(ErrorCode::kInvalidArgument, "the method '" + method_.method + "' has no steps; leave them out");
  }
  how_.steps = how_.options.value("steps", int64_t{0});
}

void ExplainSession::choose_preprocess(const actmatch_explain_options& options) {
  const std::string sidecar = model_->sidecar(".preprocess.json");
  if (options.preprocess) {
    preprocess_ = load_preprocess(options.preprocess);
    preprocess_from_ = "option";
  } else if (is_file(sidecar)) {
    preprocess_ = preprocess_from_json(text_of(sidecar), sidecar);
    preprocess_from_ = sidecar;
  } else {
    onnx_import::BuildOptions look = model_->build_options(1);
    look.structure_only = true;
    const Graph graph = model_->model().build(look);
    const std::string own = find_own_normalisation(graph, find_ends(graph, model_->choices().head).input);
    preprocess_ = preprocess_preset(own.empty() ? "imagenet" : own);
    preprocess_from_ = own.empty() ? "default" : "model";
  }
  if (options.resize) preprocess_.fit = fit_mode(options.resize);
  if (options.resize_ratio != 0.0) {
    if (!(options.resize_ratio >= 1.0 && options.resize_ratio <= 4.0))
      throw Error(ErrorCode::kInvalidArgument,
                  "the resize ratio must be from 1 to 4: the short side over the model's size before the crop");
    preprocess_.resize_ratio = options.resize_ratio;
    preprocess_.short_side = 0;
  }
}

void ExplainSession::choose_labels(const actmatch_explain_options& options) {
  const std::string sidecar = model_->sidecar(".labels.txt");
  labels_from_ = options.labels ? "option" : is_file(sidecar) ? sidecar : "none";
  if (labels_from_ != "none") labels_ = Labels(options.labels ? options.labels : sidecar, shape_.labels);
}

nlohmann::ordered_json ExplainSession::info() const {
  return {{"model", model_->path()},
          {"device", model_->backend().name()},
          {"precision", precision()},
          {"method", how_.method},
          {"recipe", how_.recipe},
          {"generator", how_.generator.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(how_.generator)},
          {"options", how_.options},
          {"steps", how_.steps},
          {"operating_point", operating_point(settings_)},
          {"taps", explainer_->optimiser() ? explainer_->optimiser()->tap_names() : std::vector<std::string>()},
          {"width", shape_.width},
          {"height", shape_.height},
          {"classes", shape_.labels},
          {"head", actmatch::name_of(shape_.head)},
          {"class_index", label_},
          {"class_name", labels_.name(label_)},
          {"preprocess", nlohmann::ordered_json::parse(preprocess_to_json(preprocess_))},
          {"preprocess_from", preprocess_from_},
          {"labels_from", labels_from_}};
}

PreparedPicture ExplainSession::prepare(const Picture& picture) const {
  const TraceRange range(model_->backend(), "read and decode");
  PreparedPicture prepared;
  prepared.provenance = common_;
  try {
    Provenance& provenance = prepared.provenance;
    Image image;
    if (!picture.path.empty()) {
      const auto bytes = read_file(picture.path);
      provenance.title = std::filesystem::path(picture.path).filename().string();
      provenance.image = absolute_path(picture.path);
      provenance.image_sha256 = sha256_hex(bytes);
      image = decode_image(bytes, picture.path);
    } else {
      provenance.title = picture.name;
      const auto size = static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height) * 3;
      image = {picture.width, picture.height, {picture.rgb, picture.rgb + size}};
    }
    prepared.stored_width = image.width, prepared.stored_height = image.height;
    prepared.fitted = fit_image(image, preprocess_, static_cast<int>(shape_.width), static_cast<int>(shape_.height));
    prepared.input = make_input(shape_, prepared.fitted, preprocess_);
    prepared.asked = label_;
    prepared.input.label = by_label() ? 1 : label_;  // of a decision about one label, that it is there
  } catch (...) {
    prepared.error = std::current_exception();
  }
  return prepared;
}

Result ExplainSession::finish(PreparedPicture picture, Explainer::Outcome outcome, int64_t batch) const {
  const auto width = static_cast<int>(shape_.width), height = static_cast<int>(shape_.height);
  const auto channels = static_cast<int>(shape_.channels);
  Provenance& provenance = picture.provenance;
  provenance.class_name = labels_.name(outcome.label);
  provenance.batch = batch;
  const bool grey = preprocess_.grey || channels == 1;
  Image shown = grey ? from_network(picture.input.x, preprocess_, channels, width, height) : picture.fitted;
  const Image background = from_network(picture.input.colour, preprocess_, channels, 1, 1);
  return Result(std::move(outcome), std::move(provenance), how_, settings_, std::move(picture.fitted), std::move(shown),
                {background.rgb[0], background.rgb[1], background.rgb[2]});
}

void ExplainSession::settle(const PreparedPicture& picture) {
  if (by_label()) take_label(picture.asked >= 0 ? picture.asked : top_label(picture.input));
}

Problem ExplainSession::problem_of(PreparedPicture& picture) {
  settle(picture);
  if (!by_label()) picture.input.label = picture.asked;
  Problem problem = make_problem(*classifier_, picture.input, settings_);
  picture.asked = by_label() ? static_cast<int32_t>(taken_) : problem.label;
  return problem;
}

Explainer::Outcome ExplainSession::explain(const PreparedPicture& picture, uint64_t seed, const ExplainProgressCallback& progress) {
  settle(picture);
  ExplainSettings settings = settings_;
  settings.seed = seed;
  ExplainInput input = picture.input;
  if (!by_label()) input.label = picture.asked;
  Watch watch(*classifier_, progress);
  for (BatchSize size(*explainer_, *classifier_, 1, 1);;) {
    try {
      Explainer::Outcome outcome = explainer_->explain(input, settings, watch.callback());
      if (by_label()) outcome.label = static_cast<int32_t>(taken_);
      return outcome;
    } catch (const Error& e) {
      if (!made_smaller(size, e)) throw;
    }
  }
}

Result ExplainSession::run(const Picture& picture, const ExplainProgressCallback& progress) {
  PreparedPicture prepared = prepare(picture);
  if (prepared.error) std::rethrow_exception(prepared.error);
  Explainer::Outcome outcome = explain(prepared, settings_.seed, progress);
  return finish(std::move(prepared), std::move(outcome), 1);
}

bool ExplainSession::made_smaller(BatchSize& size, const Error& error) const {
  if (error.code() != ErrorCode::kOutOfMemory) return false;
  const std::string what = size.reduce();
  if (!what.empty()) model_->notice(what);
  return !what.empty();
}

}  // namespace actmatch::api
