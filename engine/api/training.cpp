#include "engine/api/training.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/api/pipeline.h"
#include "engine/api/sha256.h"
#include "engine/api/trained_explainer.h"
#include "engine/core/lost_device.h"
#include "engine/image/file.h"
#include "onnx_import/writer.h"

namespace actmatch::api {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr size_t kReaders = 3;        // threads that read pictures ahead
constexpr int64_t kLevels = 24;       // as PruneOptions has them
constexpr double kLeastArea = 0.005;  // likewise

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string number(double value) { return Json(value).dump(); }

// Paths of a folder or table, each once.
std::vector<std::string> paths_of(const std::string& images) {
  std::vector<std::string> paths;
  std::set<std::string> seen;
  for (const ManifestEntry& entry : read_manifest(images))
    if (seen.insert(entry.path).second) paths.push_back(entry.path);
  return paths;
}

std::string digest(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& path : paths) all += path + "\n";
  return sha256_hex(std::as_bytes(std::span(all)));
}

std::string recipe_text_of(const std::string& name) {
  std::string text = built_in_recipe(name);
  if (!text.empty()) return text;
  load_recipe(name, false);  // says what is wrong with the name
  const auto bytes = read_file(name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TrainingSession::TrainingSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& explain,
                                 const TrainingOptions& options)
    : model_(std::move(model)), options_(options) {
  const auto check = [](bool good, const std::string& what) {
    if (!good) throw Error(ErrorCode::kInvalidArgument, what);
  };
  check(!options.out.empty(), "the explainer's file has to be named");
  check(options.epochs >= 1 && options.epochs <= 1000000, "the number of epochs must be from 1 to 1000000");
  check(options.batch >= 1 && options.batch <= 4096, "the pictures of a step must be from 1 to 4096");
  check(options.learning_rate >= 0 && options.learning_rate <= 1e3, "the learning rate must be from 0 (as suits the generator) to 1000");
  check(options.validation_share >= 0 && options.validation_share < 1, "the share for validation must be at least 0 and less than 1");
  check(options.checkpoint_seconds >= 0, "the seconds between checkpoints must not be negative");
  check(!explain.class_name, "a training explains each picture's top class; leave the class out");
  check(!explain.generator && !explain.method && explain.steps == 0,
        "a training has epochs and a generator of its own; leave method, generator and steps of the explanation out");
  const GeneratorKind kind = generator_kind(options.generator);
  check(kind != GeneratorKind::kGrid, "a grid sees no picture and cannot be shared; use csae or unet");
  if (model_->classifier().shape().head == Head::kSigmoid)
    throw Error(ErrorCode::kUnsupported,
                "the model decides about each label by itself; an explainer is for models in which one class wins (--head softmax)");

  actmatch_explain_options reading = explain;
  reading.method = "center", reading.recipe = nullptr;  // pictures are read and prepared; nothing is explained by it
  pictures_ = std::make_unique<ExplainSession>(model_, reading);

  const std::string recipe = explain.recipe ? explain.recipe : "one-mask";
  recipe_text_ = recipe_text_of(recipe);
  if (!explain.recipe) {  // what a soft mask shows changes smoothly with it: over many pictures that teaches a net faster
    Json changed = Json::parse(recipe_text_);
    changed["soft_until"] = 1;
    recipe_text_ = changed.dump(2);
  }
  plan_.recipe = recipe_from_json(recipe_text_, "recipe '" + recipe + "'", explain.robust != 0);
  plan_.recipe.use_generator(kind);
  plan_.batch = options.batch;
  plan_.seed = explain.seed;
  plan_.learning_rate = options.learning_rate > 0 ? options.learning_rate : kind == GeneratorKind::kUnet ? 3e-4 : 1e-3;

  training_ = paths_of(options.images);
  if (!options.validation.empty()) {
    validation_ = paths_of(options.validation);
  } else {  // the same ones for the same seed, whatever else changes
    PictureOrder order(static_cast<int64_t>(training_.size()), plan_.seed);
    const auto count = static_cast<int64_t>(options.validation_share * static_cast<double>(training_.size()) + 0.5);
    std::vector<bool> apart(training_.size(), false);
    for (int64_t i = 0; i < count; ++i) apart[static_cast<size_t>(order.at(i))] = true;
    std::vector<std::string> rest;
    for (size_t i = 0; i < training_.size(); ++i) (apart[i] ? validation_ : rest).push_back(training_[i]);
    training_ = std::move(rest);
  }
  check(!training_.empty(), "no pictures are left for training; a smaller share for validation leaves some");
  plan_.recipe.steps = options.epochs * ((static_cast<int64_t>(training_.size()) + plan_.batch - 1) / plan_.batch);
  trainer_ = std::make_unique<Trainer>(pictures_->classifier(), plan_);
  resume();
}

std::map<std::string, std::string> TrainingSession::description() const {
  return {{"model_sha256", model_->sha256()},
          {"preprocess", preprocess_to_json(pictures_->preprocess())},
          {"recipe", recipe_text_},
          {"operating_point", operating_point(pictures_->settings())},
          {"generator", name_of(plan_.recipe.generator.kind)},
          {"epochs", std::to_string(options_.epochs)},
          {"batch", std::to_string(plan_.batch)},
          {"learning_rate", number(plan_.learning_rate)},
          {"seed", std::to_string(plan_.seed)},
          {"tau", number(pictures_->settings().criterion.tau)},
          {"training_pictures", digest(training_)},
          {"validation_pictures", digest(validation_)}};
}

void TrainingSession::resume() {
  const std::string path = options_.out + ".checkpoint";
  const bool there = std::filesystem::exists(path);
  if (!options_.resume) {
    if (there)
      throw Error(ErrorCode::kInvalidArgument,
                  "'" + path + "' holds a training that was not finished; go on with it (--resume), or remove it to begin anew");
    return;
  }
  if (!there) throw Error(ErrorCode::kNotFound, "there is no '" + path + "' to go on from; leave --resume out to begin");
  const Checkpoint checkpoint = read_checkpoint(path);
  for (const auto& [key, wanted] : description()) {
    const auto it = checkpoint.about.find(key);
    if (it == checkpoint.about.end() || it->second != wanted)
      throw Error(ErrorCode::kInvalidArgument, "'" + path + "' is of a training with another " + key +
                                                   (it != checkpoint.about.end() && it->second.size() < 40 && wanted.size() < 40
                                                        ? " (" + it->second + ", now " + wanted + ")"
                                                        : "") +
                                                   "; give what that one had, or remove the file to begin anew");
  }
  trainer_->restore(checkpoint.state);
  if (trainer_->steps_done() > plan_.recipe.steps)
    throw Error(ErrorCode::kFormat, "'" + path + "' has more steps than the training; remove it and begin anew");
}

void TrainingSession::save() const { write_checkpoint(options_.out + ".checkpoint", {description(), trainer_->state()}); }

std::optional<Problem> TrainingSession::problem_of(PreparedPicture picture, const std::string& path) {
  try {
    if (picture.error) std::rethrow_exception(picture.error);
    return make_problem(pictures_->classifier(), picture.input, pictures_->settings());
  } catch (const Error& e) {
    if (ends_the_run(e)) throw;
    const std::string line = std::string(e.what()).find(path) == std::string::npos ? "'" + path + "': " + e.what() : e.what();
    auto& list = outcome_.unreadable;
    if (std::find(list.begin(), list.end(), line) == list.end()) {
      list.push_back(line);
      model_->notice(line);
    }
    return std::nullopt;
  }
}

ValidationFigures TrainingSession::validate(const GoOn& go_on) {
  ValidationFigures sum;
  const auto count = validation_.size();
  Prefetch<PreparedPicture> reading(count, 2 * static_cast<size_t>(plan_.batch), kReaders, [&](size_t i) {
    return pictures_->prepare({validation_[i], nullptr, 0, 0, {}});
  });
  const auto stop_if_wanted = [&] {
    if (!go_on()) throw Error(ErrorCode::kCancelled, "stopped");
  };
  Classifier& classifier = pictures_->classifier();
  int64_t read = 0;
  for (size_t first = 0; first < count; first += static_cast<size_t>(plan_.batch)) {
    std::vector<Problem> problems;
    for (size_t i = first; i < std::min(count, first + static_cast<size_t>(plan_.batch)); ++i)
      if (auto problem = problem_of(reading.take(stop_if_wanted), validation_[i])) problems.push_back(std::move(*problem));
    if (problems.empty()) continue;
    const auto n = static_cast<double>(problems.size());
    const TrainingLosses losses = trainer_->look(problems, read);
    sum.loss += n * losses.total(), sum.kept += n * losses.kept;
    read += static_cast<int64_t>(problems.size());
    for (size_t i = 0; i < problems.size(); ++i) {
      stop_if_wanted();
      const std::vector<float> logits = trainer_->logits(static_cast<int64_t>(i));
      const auto pixels = static_cast<double>(logits.size());
      FeasibilityChecker checker(classifier, problems[i]);
      double area = 1;
      for (int64_t level = 1; level <= kLevels; ++level) {
        const double share = std::pow(kLeastArea, 1.0 - static_cast<double>(level) / static_cast<double>(kLevels));
        const HardMask mask = level_set(logits, std::max<int64_t>(1, std::llround(share * pixels)), {});
        if (!checker.baseline(std::span(&mask, 1)).front().sufficient) continue;
        area = static_cast<double>(count_pixels(mask)) / pixels;
        sum.feasible += 1;
        break;
      }
      sum.area += area;
    }
  }
  const auto n = static_cast<double>(std::max<int64_t>(1, read));
  outcome_.validation_pictures = read;
  return {sum.loss / n, sum.kept / n, sum.area / n, sum.feasible / n};
}

TrainingOutcome TrainingSession::run(const std::function<bool(const TrainingProgress&)>& progress) {
  const auto start = Clock::now();
  auto saved = start;
  const int64_t steps = plan_.recipe.steps, begun = trainer_->steps_done(), batch = plan_.batch, per_epoch = steps / options_.epochs;
  const auto pictures = static_cast<int64_t>(training_.size());
  TrainingProgress now;
  now.epochs = options_.epochs, now.steps = steps, now.step = begun;
  const auto tell = [&] {
    now.seconds = seconds_since(start);
    const auto done = static_cast<double>(now.step - begun);
    now.pictures_per_second = done > 0 ? done * static_cast<double>(batch) / now.seconds : 0;
    now.seconds_left = done > 0 ? now.seconds / done * static_cast<double>(steps - now.step) : 0;
    return progress(now);
  };
  const auto stop_if_wanted = [&] {
    if (!tell()) throw Error(ErrorCode::kCancelled, "stopped");
  };
  PictureOrder order(pictures, plan_.seed + 1);
  std::vector<uint32_t> places;  // pictures in the order in which they are shown, from here on
  for (int64_t step = begun; step < steps; ++step)
    for (int64_t i = 0; i < batch; ++i) {
      // Each epoch shows every picture; where the batch does not divide them its last step begins again.
      const int64_t epoch = step / per_epoch, within = (step % per_epoch * batch + i) % pictures;
      places.push_back(static_cast<uint32_t>(order.at(epoch * pictures + within)));
    }
  Prefetch<PreparedPicture> reading(places.size(), 2 * static_cast<size_t>(batch), kReaders, [&](size_t i) {
    return pictures_->prepare({training_[places[i]], nullptr, 0, 0, {}});
  });
  TrainingLosses sums;
  int64_t summed = 0;
  try {
    for (size_t taken = 0; trainer_->steps_done() < steps;) {
      std::vector<Problem> problems;
      for (int64_t i = 0; i < batch; ++i, ++taken)
        if (auto problem = problem_of(reading.take(stop_if_wanted), training_[places[taken]])) problems.push_back(std::move(*problem));
      if (problems.empty())
        throw Error(ErrorCode::kInvalidArgument, "none of the " + std::to_string(batch) + " pictures of a step could be read; the last: " +
                                                     (outcome_.unreadable.empty() ? "" : outcome_.unreadable.back()));
      const TrainingLosses losses = trainer_->step(problems);
      now.step = trainer_->steps_done();
      now.epoch = (now.step - 1) / per_epoch + 1;
      if ((now.step - 1) % per_epoch == 0) sums = {}, summed = 0;
      ++summed;
      for (size_t t = 0; t < sums.terms.size(); ++t) now.losses.terms[t] = (sums.terms[t] += losses.terms[t]) / static_cast<double>(summed);
      now.losses.kept = (sums.kept += losses.kept) / static_cast<double>(summed);
      if (now.step % per_epoch == 0 && !validation_.empty()) {
        now.validating = true;
        stop_if_wanted();
        now.validated = validate(tell);
        now.validated_epoch = now.epoch;
        now.validating = false;
      }
      stop_if_wanted();
      if (seconds_since(saved) >= options_.checkpoint_seconds && now.step < steps) save(), saved = Clock::now();
    }
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kCancelled) save();
    throw;
  }
  outcome_.steps = steps, outcome_.pictures = pictures;
  outcome_.validated = now.validated;
  outcome_.loss = now.losses.total();
  outcome_.seconds = seconds_since(start);
  write(outcome_);
  std::error_code ignored;
  std::filesystem::remove(options_.out + ".checkpoint", ignored);
  return outcome_;
}

void TrainingSession::write(const TrainingOutcome& outcome) const {
  const Graph graph = trainer_->graph();
  const ClassifierShape& shape = pictures_->classifier().shape();
  Json training{{"generator", name_of(plan_.recipe.generator.kind)},
                {"epochs", options_.epochs},
                {"batch", plan_.batch},
                {"learning_rate", plan_.learning_rate},
                {"seed", plan_.seed},
                {"steps", outcome.steps},
                {"pictures", outcome.pictures},
                {"loss", outcome.loss}};
  if (outcome.validated)
    training["validation"] = {{"pictures", outcome.validation_pictures},
                              {"loss", outcome.validated->loss},
                              {"kept", outcome.validated->kept},
                              {"area", outcome.validated->area},
                              {"feasible", outcome.validated->feasible}};
  onnx_import::WriteOptions write;
  write.name = "explainer";
  write.metadata = {
      {kExplainerKind, "explainer"},
      {kExplainerModel, model_->sha256()},
      {kExplainerPreprocess, preprocess_to_json(pictures_->preprocess())},
      {"actmatch.version", actmatch_version()},
      {"actmatch.model", std::filesystem::path(model_->path()).filename().string()},
      {"actmatch.input", std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" + std::to_string(shape.width)},
      {"actmatch.recipe", recipe_text_},
      {"actmatch.training", training.dump()}};
  write_file_atomically(options_.out, onnx_import::write_model(graph, write));
}

}  // namespace actmatch::api
