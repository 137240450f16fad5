#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"
#include "tools/actmatch/interrupt.h"

namespace actmatch::tool {

namespace {

struct EvaluateFlags {
  std::string model;
  DeviceFlags device;
  ModelFlags choices;
  EvaluationOptions options;
  bool quiet = false;
};

std::string progress_text(const EvaluationProgress& p) {
  std::string text = "[" + std::to_string(p.picture + 1) + "/" + std::to_string(p.pictures) + "] " + p.image;
  if (p.method) text += std::string("  ") + p.method;
  if (*p.variant) text += std::string(" (") + p.variant + ")";
  text += "  " + std::to_string(p.done) + " of " + std::to_string(p.to_do) + " records";
  if (p.done > 0)
    text += ", " + format("%.3g", 60 * static_cast<double>(p.done) / p.seconds) + " a minute, " + clock(p.seconds_left) + " left";
  return text;
}

std::string names_in(const std::string& json) {
  std::string list;
  for (const auto& entry : nlohmann::json::parse(json)) list += (list.empty() ? "" : ", ") + entry["name"].get<std::string>();
  return list;
}

// Each metric with its options' defaults.
std::string metrics_with_options() {
  std::string list;
  for (const auto& metric : nlohmann::ordered_json::parse(metrics_json())) {
    std::string options;
    for (const auto& [key, value] : metric["options"].items()) {
      std::string text;
      for (const auto& one : value.is_array() ? value : nlohmann::ordered_json::array({value}))
        text += " " + (one.is_string() ? one.get<std::string>() : format("%.6g", one.get<double>()));
      options += (options.empty() ? "" : ", ") + key + text;
    }
    list += (list.empty() ? "" : ", ") + metric["name"].get<std::string>() + (options.empty() ? "" : " (" + options + ")");
  }
  return list;
}

int evaluate_run(const EvaluateFlags& flags) {
  watch_for_interrupt();
  ProgressLine line(flags.quiet);
  std::function<void(const std::string&)> notice;
  if (!flags.quiet) notice = [&](const std::string& text) { line.print(text); };
  const Model model = load_model(flags.model, flags.device, notice, flags.choices);
  actmatch_evaluation_outcome outcome{};
  try {
    outcome = evaluate(model, flags.options, [&](const EvaluationProgress& p) {
      if (p.method && line.wants_update()) line.show(progress_text(p));
      return !interrupted();
    });
  } catch (const Failure& e) {
    line.clear();
    if (e.status() != ACTMATCH_CANCELLED) throw;
    print_error("stopped; run the command again to go on: what lies in '" + flags.options.out + "' is not made again");
    return kInterrupted;
  }
  line.clear();
  if (!flags.quiet) {
    std::printf("%zu records made, %zu were there already; 'actmatch report %s' sums them up\n", outcome.done, outcome.found,
                flags.options.out.c_str());
    std::fflush(stdout);
  }
  if (outcome.unreadable + outcome.failed == 0) return kOk;
  print_error(std::to_string(outcome.unreadable) + " pictures could not be read and " + std::to_string(outcome.failed) +
              " records failed; their 'error' in '" + flags.options.out + "' says why, --retry tries them again");
  return kFailed;
}

}  // namespace

void add_evaluate(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvaluateFlags>();
  EvaluationOptions& o = flags->options;
  CLI::App* c = app.add_subcommand("evaluate", "Run methods and metrics over many pictures, to be compared by 'report'");
  c->add_option("MODEL", flags->model, "ONNX file of an image classifier")->required();
  c->add_option(
       "--images", o.images,
       "a folder of pictures, or a CSV table: column image (path), and where wanted class (index or name) and boxes (\"x0 y0 x1 y1\", "
       "several with ';' between, in pixels of the stored picture)")
      ->required();
  c->add_option(
       "--out", o.out,
       "folder of the run: run.json, results.jsonl (a record a line), masks/, pictures/; an earlier run of the same settings in it goes "
       "on, and nothing is made twice")
      ->required();
  c->add_option("--methods", o.methods,
                "names with commas between, NAME:RECIPE for another recipe than the default, or all: " + names_in(methods_json()))
      ->required();
  c->add_option("--metrics", o.metrics,
                "names with commas between, or all; with the options they are taken with: " + metrics_with_options())
      ->capture_default_str();
  c->add_option("--shard", o.shard,
                "I/N: part I of N, from 1; auto: the part that SLURM_PROCID, SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK say, everything "
                "otherwise; auto/N: the same, and JOB_COMPLETION_INDEX")
      ->capture_default_str();
  c->add_option(
      "--sweep", o.sweep,
      "JSON file with variants and seeds: {\"method\": NAME, \"recipe\": NAME, \"each\": {FIELD: [values]}, \"grid\": {FIELD: [values]}, "
      "\"seeds\": [numbers]}");
  c->add_flag("--retry", o.retry, "try again what failed or could not be read in an earlier run");
  c->add_option("--recipe", o.explain.recipe, "of activation matching: 'default', 'ranking', 'one-mask', 'paper', or a JSON file");
  c->add_option(
       "--generator", o.explain.generator,
       "of activation matching: csae, unet or grid (default: the recipe's); or the file of an explainer ('actmatch train') for the "
       "method amortised, and for activation matching to begin from")
      ->check(generator_check());
  c->add_option("--steps", o.explain.steps, "of activation matching (default: the recipe's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}));
  c->add_option("--seed", o.explain.seed, "same seed, same masks; a sweep's seeds come instead")->capture_default_str();
  add_device_flags(*c, flags->device);
  add_precision_flag(*c, flags->device);
  add_model_flags(*c, flags->choices);
  add_preprocess_flags(*c, o.explain);
  add_criterion_flags(*c, o.explain);
  c->add_flag("--quiet", flags->quiet, "print nothing but errors");
  c->footer(footer(
      "actmatch evaluate squeezenet.onnx --images photos.csv --methods activation-matching,gradcam,rise,random --out runs/squeezenet",
      "something failed, perhaps with some pictures only; a line on stderr says what"));
  c->callback([flags, &action] { action = [flags] { return evaluate_run(*flags); }; });
}

}  // namespace actmatch::tool
