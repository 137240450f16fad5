// A shared generator trained over many pictures: what stands behind actmatch_train.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/amortise/checkpoint.h"
#include "engine/amortise/trainer.h"
#include "engine/api/explain_session.h"
#include "engine/evaluate/manifest.h"

namespace actmatch::api {

struct TrainingOptions {
  std::string images;      // a folder or a table
  std::string validation;  // likewise; empty: a share of the images
  double validation_share = 0.1;
  std::string out;                 // the explainer's file; OUT.checkpoint beside it while the training lasts
  std::string generator = "csae";  // or "unet"
  int64_t epochs = 20, batch = 8;
  double learning_rate = 0;        // 0: as suits the generator
  double checkpoint_seconds = 60;  // 0: after each step
  bool resume = false;
};

// Of the pictures that are only looked at.
struct ValidationFigures {
  double loss = 0;
  double kept = 0;      // share of them that keep their class in masks whose areas fill the recipe's range evenly
  double area = 0;      // mean share of the pixels in the smallest level set that is feasible
  double feasible = 0;  // share of the pictures that have one
};

struct TrainingProgress {
  bool validating = false;
  int64_t epoch = 0, epochs = 0;  // of the step, from 1
  int64_t step = 0, steps = 0;
  double seconds = 0, seconds_left = 0, pictures_per_second = 0;
  TrainingLosses losses;                       // means over the epoch so far
  std::optional<ValidationFigures> validated;  // the latest, if there was one
  int64_t validated_epoch = 0;
};

struct TrainingOutcome {
  int64_t steps = 0, pictures = 0, validation_pictures = 0;
  std::vector<std::string> unreadable;  // what was wrong with pictures that were left out, a line each
  double seconds = 0, loss = 0;         // the last epoch's
  std::optional<ValidationFigures> validated;
};

class TrainingSession {
 public:
  // Checks everything and compiles, so that mistakes show before the first step. Of `explain` preprocessing, labels, recipe, seed and
  // criterion count. Throws what ExplainSession throws, kUnsupported for heads that decide about each label by itself, kInvalidArgument
  // for what does not go together, such as a checkpoint of another training.
  TrainingSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& explain, const TrainingOptions& options);

  // From the first step, or the checkpoint's, to the file. `progress` is called after each step; false stops: a checkpoint is written, then
  // kCancelled is thrown.
  TrainingOutcome run(const std::function<bool(const TrainingProgress&)>& progress);

 private:
  using GoOn = std::function<bool()>;
  std::map<std::string, std::string> description() const;
  void resume();
  void save() const;
  // The problem of a picture that was read; nothing where it was not, which is kept for the outcome.
  std::optional<Problem> problem_of(PreparedPicture picture, const std::string& path);
  ValidationFigures validate(const GoOn& go_on);
  void write(const TrainingOutcome& outcome) const;

  std::shared_ptr<ModelSession> model_;
  TrainingOptions options_;
  std::unique_ptr<ExplainSession> pictures_;  // reads and prepares them
  std::string recipe_text_;
  TrainingPlan plan_;
  std::vector<std::string> training_, validation_;  // paths
  std::unique_ptr<Trainer> trainer_;
  TrainingOutcome outcome_;
};

}  // namespace actmatch::api
