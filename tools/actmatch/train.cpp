#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <memory>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"
#include "tools/actmatch/interrupt.h"

namespace actmatch::tool {

namespace {

struct TrainFlags {
  std::string model;
  DeviceFlags device;
  ModelFlags choices;
  TrainingOptions options;
  bool quiet = false;
};

std::string progress_text(const TrainingProgress& p) {
  std::string text = "epoch " + std::to_string(p.epoch) + "/" + std::to_string(p.epochs) + "  step " + std::to_string(p.step) + "/" +
                     std::to_string(p.steps);
  if (p.validating) return text + "  validating";
  return text + "  loss " + format("%.4g", p.loss) + "  kept " + format("%.0f %%", 100 * p.kept) + "  " +
         format("%.3g", p.pictures_per_second) + " pictures a second, " + clock(p.seconds_left) + " left";
}

std::string validation_text(const TrainingProgress& p) {
  return "epoch " + std::to_string(p.validated_epoch) + "/" + std::to_string(p.epochs) + ": loss " + format("%.4g", p.loss) +
         ", on the validation pictures " + format("%.4g", p.validation_loss) + "; there " + format("%.0f %%", 100 * p.validation_kept) +
         " of the masks keep the class, and " + percent(p.validation_area) + " of the pixels are enough";
}

int train_run(const TrainFlags& flags) {
  watch_for_interrupt();
  ProgressLine line(flags.quiet);
  const Model model = load_model(
      flags.model, flags.device, [&](const std::string& text) { line.print(text); }, flags.choices);
  actmatch_training_outcome outcome{};
  int64_t told = 0, step = 0, steps = 0;
  try {
    outcome = train(model, flags.options, [&](const TrainingProgress& p) {
      step = p.step, steps = p.steps;
      if (p.validated_epoch > told && !flags.quiet) {
        line.clear();
        std::printf("%s\n", validation_text(p).c_str());
        std::fflush(stdout);
      }
      told = p.validated_epoch;
      if (p.step > 0 && line.wants_update()) line.show(progress_text(p));
      return !interrupted();
    });
  } catch (const Failure& e) {
    line.clear();
    if (e.status() != ACTMATCH_CANCELLED) throw;
    print_error("stopped after " + std::to_string(step) + " of " + std::to_string(steps) +
                " steps; the same command with --resume goes on from '" + flags.options.out + ".checkpoint'");
    return kInterrupted;
  }
  line.clear();
  if (!flags.quiet) {
    std::printf("%lld steps on %lld pictures in %s; the explainer: %s\n", static_cast<long long>(outcome.steps),
                static_cast<long long>(outcome.pictures), clock(outcome.seconds).c_str(), flags.options.out.c_str());
    std::fflush(stdout);
  }
  if (outcome.unreadable == 0) return kOk;
  print_error(std::to_string(outcome.unreadable) + " pictures could not be used and were left out");
  return kFailed;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TrainFlags>();
  TrainingOptions& o = flags->options;
  CLI::App* c = app.add_subcommand("train", "Train one generator over many pictures, to explain others in a single pass");
  c->add_option("MODEL", flags->model, "ONNX file of an image classifier")->required();
  c->add_option("--images", o.images,
                "a folder of pictures, or a CSV table with a column image (path); each picture's top class is what is explained")
      ->required();
  c->add_option("--out", o.out,
                "the explainer: an ONNX file, picture [N,C,H,W] as the classifier takes it -> mask logits [N,1,H,W]; FILE.checkpoint lies "
                "beside it while the training lasts")
      ->required();
  c->add_option("--validation", o.validation, "pictures to validate on after each epoch, as --images (default: a share of those)");
  c->add_option("--validation-share", o.validation_share, "share of --images that is kept apart for validation; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.99));
  c->add_option("--generator", o.generator, "csae (1.1 million parameters) or unet (7.8 million, some 15 times the work)")
      ->capture_default_str()
      ->check(CLI::IsMember({"csae", "unet"}));
  c->add_option("--epochs", o.epochs, "how often each picture is shown")->capture_default_str()->check(CLI::Range(1, 1000000));
  c->add_option("--batch", o.batch, "pictures in a step")->capture_default_str()->check(CLI::Range(1, 4096));
  c->add_option("--learning-rate", o.learning_rate,
                "the highest; it rises over the first twentieth of the steps and falls along a cosine (default 0: as suits the generator)")
      ->check(CLI::Range(0.0, 1000.0));
  c->add_option("--checkpoint-every", o.checkpoint_seconds, "seconds between checkpoints; 0: after every step")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9));
  c->add_flag("--resume", o.resume, "go on from the checkpoint; what comes out is what would have come without the break");
  c->add_option("--recipe", o.explain.recipe,
                "the objective: a recipe of activation matching, or a JSON file (default: one-mask with soft masks)");
  c->add_option("--seed", o.explain.seed, "of first weights, order, areas and backgrounds")->capture_default_str();
  add_device_flags(*c, flags->device);
  add_precision_flag(*c, flags->device);
  add_model_flags(*c, flags->choices);
  add_preprocess_flags(*c, o.explain);
  add_criterion_flags(*c, o.explain);
  c->add_flag("--quiet", flags->quiet, "print nothing but errors");
  c->footer(
      footer("actmatch train squeezenet.onnx --images photos/ --out explainer.onnx\n"
             "  actmatch explain squeezenet.onnx new.jpg --generator explainer.onnx --out out              one forward pass\n"
             "  actmatch explain squeezenet.onnx new.jpg --generator explainer.onnx --steps 50 --out out   optimised from there",
             "something failed, or pictures could not be read; a line on stderr for each"));
  c->callback([flags, &action] { action = [flags] { return train_run(*flags); }; });
}

}  // namespace actmatch::tool
