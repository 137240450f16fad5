// Times the optimisation step: the whole step, the classifier's part of it by node, the classifier alone, and the convolutions by
// themselves.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/api/device.h"
#include "engine/api/explain_session.h"
#include "engine/core/error.h"
#include "engine/image/file.h"
#include "engine/image/npy.h"
#include "tools/bench/classifier_passes.h"
#include "tools/bench/clocks.h"
#include "tools/bench/onednn_convs.h"

namespace actmatch::bench {

namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, preprocess = "imagenet", recipe, out, device = "cpu", precision = "fp32";
  std::vector<std::string> images;
  int64_t steps = 60, batch = 1, runs = 1;
  int threads = 1, rounds = 30;
  uint64_t seed = 0;
  bool json = false;
};

constexpr int64_t kWarmUp = 6;  // steps left out of the medians
constexpr int64_t kCycle = 3;   // the random backgrounds take turns: constant, smooth, white

double milliseconds(double seconds) { return 1e3 * seconds; }

Json json_of(Times t) { return {{"wall_ms", milliseconds(t.wall)}, {"cpu_ms", milliseconds(t.cpu)}}; }

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;  // Linux counts in KiB
}

// Median time of a step: of whole turns of the backgrounds, so that each kind counts.
Times step_time(const std::vector<Times>& stamps) {
  std::vector<Times> turns;
  for (size_t i = kWarmUp; i + kCycle < stamps.size(); i += kCycle) {
    const Times t = stamps[i + kCycle] - stamps[i];
    turns.push_back({t.wall / kCycle, t.cpu / kCycle});
  }
  return median(turns);
}

// Where the device works ahead, steps are reported several at a time: from the end of the first such group after the warm-up to the last
// step.
Times mean_step_time(const std::vector<Times>& stamps) {
  if (stamps.size() < 2) throw Error(ErrorCode::kInternal, "the device reported no steps; nothing was timed");
  const auto last = stamps.size() - 1;
  const double mean = (stamps[last] - stamps[0]).wall / static_cast<double>(last);
  size_t from = kWarmUp;
  while (from < last / 2 && (stamps[from + 1] - stamps[from]).wall < mean / 4) ++from;
  const Times t = stamps[last] - stamps[from];
  const auto steps = static_cast<double>(last - from);
  return {t.wall / steps, t.cpu / steps};
}

struct Runs {
  Times step;   // median over the runs; on the CPU, of the steps in them
  Times whole;  // of a run of all steps, median
  std::vector<OptimisedMask> results;
};

Runs run_steps(Optimiser& optimiser, const std::vector<Problem>& problems, const Flags& flags, bool works_ahead) {
  if (works_ahead) {
    // What is done once (plans are chosen, the step is recorded) is not the steps' time.
    try {
      optimiser.run(problems, flags.seed, [](const Progress& p) { return p.step < kWarmUp; });
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kCancelled) throw;
    }
  }
  Runs runs;
  std::vector<Times> steps, wholes;
  for (int64_t i = 0; i < flags.runs; ++i) {
    std::vector<Times> stamps;
    const Times start = now();
    runs.results = optimiser.run(problems, flags.seed, [&](const Progress& p) {
      if (p.picture == 0) stamps.push_back(now());
      return true;
    });
    wholes.push_back(now() - start);
    for (const OptimisedMask& r : runs.results)
      if (!r.failure.empty()) throw Error(ErrorCode::kInvalidArgument, r.failure);
    steps.push_back(works_ahead ? mean_step_time(stamps) : step_time(stamps));
  }
  runs.step = median(steps);
  runs.whole = median(wholes);
  return runs;
}

double mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

Json list_of(const double* values, size_t count) { return std::vector<double>(values, values + count); }

int run(const Flags& flags) {
  const auto say = [](const std::string& what) { std::fprintf(stderr, "actmatch_bench: %s\n", what.c_str()); };
  const auto backend = api::make_backend({flags.device, flags.threads, flags.precision, say});
  const bool on_cpu = backend->name() == "cpu";
  const size_t free_before = backend->free_memory();
  backend->restart_peak();
  Classifier classifier(*backend,
                        [model = onnx_import::Model::from_file(flags.model)](int64_t batch, const std::vector<std::string>& keep) {
                          onnx_import::BuildOptions options;
                          options.batch = batch;
                          options.keep_values = keep;
                          return model.build(options);
                        });
  const ClassifierShape& shape = classifier.shape();
  const Preprocess preprocess = preprocess_preset(flags.preprocess);
  ExplainSettings settings;
  settings.seed = flags.seed;
  std::vector<Problem> pictures;
  for (const std::string& path : flags.images) {
    const Image fitted = fit_image(read_image(path), preprocess, static_cast<int>(shape.width), static_cast<int>(shape.height));
    pictures.push_back(make_problem(classifier, api::make_input(shape, fitted, preprocess), settings));
  }
  std::vector<Problem> problems;  // the pictures in turn
  for (int64_t i = 0; i < flags.batch; ++i) problems.push_back(pictures[static_cast<size_t>(i) % pictures.size()]);
  const Problem& problem = problems.front();
  Recipe recipe = load_recipe(flags.recipe, false);
  recipe.steps = flags.steps;

  Optimiser optimiser(classifier, recipe, flags.batch);
  const Runs runs = run_steps(optimiser, problems, flags, !on_cpu);
  const OptimisedMask& result = runs.results.front();
  const double peak = peak_mib();  // before the measurements below take memory of their own
  // What we held at most, by our own count; and what is gone of the device's memory besides what we hold now: libraries, their plans, the
  // recorded graphs.
  const HeldMemory held = backend->held_memory();
  const size_t gone = free_before - std::min(free_before, backend->free_memory());
  const size_t libraries = gone - std::min(gone, held.now);
  const Times step = runs.step;
  const double pictures_steps = static_cast<double>(flags.batch) / step.wall;

  Classifier::Training net = classifier.compile_training(optimiser.passes_per_step() * flags.batch, optimiser.tap_names());
  const ClassifierPasses timed = time_classifier(*backend, net, problem.x, flags.rounds);
  const Times passes = timed.whole;
  const std::vector<NodeProfile> nodes = profile_classifier(net, flags.rounds);
  const ConvolutionCount counted = count_convolutions(nodes);
  // The classifier alone: as many images as pictures, forward and back from the logits to the images, no taps.
  Classifier::Training bare_net = classifier.compile_training(flags.batch, {}, flags.batch);
  const ClassifierPasses alone = time_classifier(*backend, bare_net, problem.x, flags.rounds);
  const auto convolutions = on_cpu ? time_convolutions(net.graph, flags.rounds, flags.threads) : std::vector<ConvTimes>();

  std::map<std::string, double> by_kind;
  for (const NodeProfile& n : nodes) by_kind[n.what] += n.forward + n.backward;
  Times bare;
  for (const ConvTimes& c : convolutions) {
    bare.wall += c.forward.wall + c.backward.wall;
    bare.cpu += c.forward.cpu + c.backward.cpu;
  }

  const double image_passes = static_cast<double>(flags.batch) / alone.whole.wall;
  Json report{{"model", api::absolute_path(flags.model)},
              {"device", backend->description()},
              {"precision", name_of(backend->precision())},
              {"batch", flags.batch},
              {"threads", flags.threads},
              {"steps", result.steps},
              {"passes_per_step", result.passes_per_step},
              {"step", json_of(step)},
              {"step_implementation", optimiser.implementation()},
              {"run", json_of(runs.whole)},
              {"pictures_steps_per_second", pictures_steps},
              {"classifier_passes", json_of(passes)},
              {"classifier_implementation", timed.implementation},
              {"classifier_alone",
               {{"images", flags.batch},
                {"wall_ms", milliseconds(alone.whole.wall)},
                {"cpu_ms", milliseconds(alone.whole.cpu)},
                {"image_passes_per_second", image_passes},
                {"implementation", alone.implementation}}},
              {"program_mib", mib(result.memory_bytes)},
              {"peak_rss_mib", peak}};
  if (on_cpu) report["bare_convolutions"] = json_of(bare), report["step_over_bare_convolutions"] = step.cpu / bare.cpu;
  if (!on_cpu)
    report["convolution_passes"] = {
        {"by_plans", counted.by_plans}, {"by_kernels", counted.by_kernels}, {"without_a_plan", counted.without_a_plan}};
  if (free_before > 0) {
    report["device_mib"] = mib(held.peak + libraries);
    report["device_mib_per_picture"] = mib(held.peak + libraries) / static_cast<double>(flags.batch);
    report["engine_peak_mib"] = mib(held.peak);
    report["libraries_mib"] = mib(libraries);
  }
  for (const auto& [kind, seconds] : by_kind) report["profile_ms"][kind] = milliseconds(seconds);
  Json problem_json{{"label", problem.label},        {"p_x", problem.p_x},
                    {"colour", problem.colour},      {"seed", flags.seed},
                    {"taps", optimiser.tap_names()}, {"logits", net.graph.value(net.ends.logits).name}};
  const auto channels = static_cast<size_t>(shape.channels);
  problem_json["mu"] = list_of(problem.backgrounds.mu, channels);
  problem_json["sigma"] = list_of(problem.backgrounds.sigma, channels);
  problem_json["scale"] = list_of(problem.backgrounds.scale, channels);
  problem_json["offset"] = list_of(problem.backgrounds.offset, channels);
  if (!flags.out.empty()) {
    make_folder(flags.out);
    Tensor x(DType::kF32, {static_cast<int64_t>(pictures.size()), shape.channels, shape.height, shape.width});
    float* to = x.data<float>();
    for (const Problem& p : pictures) to = std::copy(p.x.begin(), p.x.end(), to);
    write_npy(flags.out + "/x.npy", x);
  }
  for (const Problem& p : pictures) problem_json["labels"].push_back(p.label);
  report["problem"] = problem_json;
  for (const TermTrace& t : result.losses) report["terms"][t.term] = t.values;
  for (const NodeProfile& n : nodes)
    report["nodes"].push_back({{"what", n.what},
                               {"name", n.name},
                               {"implementation", n.implementation},
                               {"forward_ms", milliseconds(n.forward)},
                               {"backward_ms", milliseconds(n.backward)}});
  for (const ConvTimes& c : convolutions)
    report["convolutions"].push_back({{"name", c.name},
                                      {"implementation", c.implementation},
                                      {"forward_ms", milliseconds(c.forward.cpu)},
                                      {"backward_ms", milliseconds(c.backward.cpu)}});
  if (!flags.out.empty()) write_file_atomically(flags.out + "/engine.json", report.dump(1) + "\n");
  if (flags.json) {
    std::printf("%s\n", report.dump(1).c_str());
    return 0;
  }

  std::printf("%s, %s, %d thread(s), %lld picture(s), %lld images a step for each\n", report["device"].get<std::string>().c_str(),
              flags.precision.c_str(), flags.threads, static_cast<long long>(flags.batch), static_cast<long long>(result.passes_per_step));
  std::printf("%-26s %9s %9s\n", "ms, medians", "wall", "cpu");
  const auto row = [](const char* what, Times t) { std::printf("%-26s %9.3f %9.3f\n", what, milliseconds(t.wall), milliseconds(t.cpu)); };
  row("step", step);
  row("  classifier's passes", passes);
  row("classifier alone", alone.whole);
  if (on_cpu) {
    row("bare convolutions", bare);
    std::printf("step / bare convolutions   %9.2f %9.2f\n", step.wall / bare.wall, step.cpu / bare.cpu);
  }
  std::printf("%.1f pictures x steps a second\n", pictures_steps);
  std::printf("%.0f image-passes a second: %lld images forward and back through the classifier alone\n", image_passes,
              static_cast<long long>(flags.batch));
  if (!on_cpu)
    std::printf("convolutions: %lld by plans, %lld by kernels of our own, %lld by kernels for lack of a plan\n",
                static_cast<long long>(counted.by_plans), static_cast<long long>(counted.by_kernels),
                static_cast<long long>(counted.without_a_plan));
  std::printf("program memory %.1f MiB a picture, peak resident %.1f MiB\n", mib(result.memory_bytes), peak);
  std::printf("step as %s\n", optimiser.implementation().c_str());
  if (free_before > 0)
    std::printf("device memory %.1f MiB, %.1f a picture: %.1f that the engine held at its peak, %.1f for libraries and runtime\n",
                mib(held.peak + libraries), mib(held.peak + libraries) / static_cast<double>(flags.batch), mib(held.peak), mib(libraries));
  if (!by_kind.empty()) std::printf("\nclassifier's passes by operator, ms of wall time\n");
  for (const auto& [kind, seconds] : by_kind) std::printf("  %-14s %8.2f\n", kind.c_str(), milliseconds(seconds));
  std::printf("\n%-8s %12s %12s\n", "term", "first step", "last step");
  for (const TermTrace& t : result.losses)
    if (!t.values.empty()) std::printf("%-8s %12.6f %12.6f\n", t.term.c_str(), t.values.front(), t.values.back());
  return 0;
}

}  // namespace

}  // namespace actmatch::bench

int main(int argc, char** argv) {
  actmatch::bench::Flags flags;
  CLI::App app{"Times one optimisation step of actmatch"};
  app.add_option("MODEL", flags.model, "ONNX file of an image classifier")->required();
  app.add_option("--image", flags.images, "a picture; several fill a batch in turn")->required();
  app.add_option("--device", flags.device, "cpu")->capture_default_str();
  app.add_option("--precision", flags.precision, "fp32, tf32 or bf16")->capture_default_str();
  app.add_option("--batch", flags.batch, "pictures at once")->capture_default_str()->check(CLI::Range(1, 65536));
  app.add_option("--runs", flags.runs, "runs of all steps, of which the median is taken")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--recipe", flags.recipe, "name or JSON file")->required();
  app.add_option("--preprocess", flags.preprocess, "preset: imagenet, tf, caffe, unit, raw")->capture_default_str();
  app.add_option("--steps", flags.steps, "optimisation steps")->capture_default_str()->check(CLI::Range(12, 1000000));
  app.add_option("--rounds", flags.rounds, "repetitions of the classifier's passes and of the bare convolutions")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  app.add_option("--threads", flags.threads, "threads")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--seed", flags.seed, "of the random backgrounds")->capture_default_str();
  app.add_option("--out", flags.out, "folder for engine.json and x.npy, which peer_step.py reads");
  app.add_flag("--json", flags.json, "print the whole report as JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    return actmatch::bench::run(flags);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "actmatch_bench: %s\n", e.what());
    return 1;
  }
}
