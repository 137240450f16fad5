// The C interface: training an explainer.
#include "engine/api/handles.h"
#include "engine/api/training.h"

namespace actmatch::api {
namespace {

std::function<bool(const TrainingProgress&)> relay(actmatch_training_callback callback, void* user) {
  if (!callback) return [](const TrainingProgress&) { return true; };
  return [callback, user](const TrainingProgress& p) {
    actmatch_training_progress report{};
    report.struct_size = sizeof(report);
    report.validating = p.validating;
    report.epoch = p.epoch, report.epochs = p.epochs;
    report.step = p.step, report.steps = p.steps;
    report.seconds = p.seconds, report.seconds_left = p.seconds_left;
    report.pictures_per_second = p.pictures_per_second;
    report.loss = p.losses.total(), report.kept = p.losses.kept;
    if (p.validated) {
      report.validated_epoch = p.validated_epoch;
      report.validation_loss = p.validated->loss, report.validation_kept = p.validated->kept;
      report.validation_area = p.validated->area, report.validation_feasible = p.validated->feasible;
    }
    return callback(&report, user) == 0;
  };
}

}  // namespace
}  // namespace actmatch::api

extern "C" {

using namespace actmatch::api;

void actmatch_training_options_init(actmatch_training_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof(*options);
  const TrainingOptions defaults;
  options->validation_share = defaults.validation_share;
  options->epochs = defaults.epochs;
  options->batch = defaults.batch;
  options->checkpoint_seconds = defaults.checkpoint_seconds;
}

actmatch_status actmatch_train(actmatch_model* model, const actmatch_training_options* options, actmatch_training_callback callback,
                               void* user, actmatch_training_outcome* outcome) {
  return guarded([&] {
    require(model, "model");
    const auto o = merged(options, actmatch_training_options_init);
    require(o.images, "images");
    require(o.out, "out");
    TrainingSession session(model->session, merged(o.explain, actmatch_explain_options_init),
                            {o.images, text_or(o.validation), o.validation_share, o.out, text_or(o.generator, "csae"), o.epochs, o.batch,
                             o.learning_rate, o.checkpoint_seconds, o.resume != 0});
    const TrainingOutcome found = session.run(relay(callback, user));
    if (!outcome) return;
    actmatch_training_outcome record{};
    record.steps = found.steps, record.pictures = found.pictures, record.validation_pictures = found.validation_pictures;
    record.unreadable = found.unreadable.size();
    record.seconds = found.seconds, record.loss = found.loss;
    if (found.validated) {
      record.validation_loss = found.validated->loss, record.validation_kept = found.validated->kept;
      record.validation_area = found.validated->area, record.validation_feasible = found.validated->feasible;
    }
    fill(outcome, record);
  });
}

}  // extern "C"
