// Times the optimisation step: the whole step, the classifier's part of it by node, and the convolutions by themselves.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/api/explain_session.h"
#include "engine/core/error.h"
#include "engine/image/file.h"
#include "engine/image/npy.h"
#include "tools/bench/clocks.h"
#include "tools/bench/onednn_convs.h"

namespace actmatch::bench {

namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, preprocess = "imagenet", image, recipe, out;
  int64_t steps = 60;
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

struct NodeProfile {
  std::string what, name, implementation;
  double forward = 0, backward = 0;  // seconds, medians of wall time
};

// Runs the classifier's program of a step by itself. The numbers that go through it have the size of real ones, no more is needed.
std::vector<NodeProfile> profile_classifier(Classifier::Training& net, const std::vector<float>& image, int rounds, Times* whole) {
  Program& program = *net.program;
  const Shape& shape = net.graph.value(net.ends.input).shape;
  for (int64_t n = 0; n < shape[0]; ++n)
    std::copy(image.begin(), image.end(), program.data(net.ends.input) + n * static_cast<int64_t>(image.size()));
  for (ValueId tap : net.taps) std::fill_n(program.gradient(tap), element_count(net.graph.value(tap).shape), 1e-4f);
  std::fill_n(program.gradient(net.ends.logits), element_count(net.graph.value(net.ends.logits).shape), 1e-2f);

  std::vector<Times> total;
  std::vector<NodeProfile> nodes;
  std::vector<std::vector<double>> forward, backward;
  program.forward(), program.backward();
  for (int round = 0; round < rounds; ++round) {
    const Times start = now();
    program.forward(), program.backward();
    total.push_back(now() - start);
  }
  program.enable_profiling(true);
  for (int round = 0; round < rounds; ++round) {
    program.forward(), program.backward();
    const auto times = program.profile();
    if (nodes.empty()) {
      nodes.resize(times.size()), forward.resize(times.size()), backward.resize(times.size());
      for (size_t i = 0; i < times.size(); ++i) {
        const Node& node = net.graph.node(times[i].node);
        const std::string& implementation = times[i].implementation;
        const bool copy = implementation == "reorder" || implementation == "seed" || implementation == "wanted";
        nodes[i] = {copy ? implementation : name_of(node.op()), node.name, implementation, 0, 0};
      }
    }
    for (size_t i = 0; i < times.size(); ++i) {
      forward[i].push_back(times[i].forward_seconds);
      backward[i].push_back(times[i].backward_seconds);
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) nodes[i].forward = median(forward[i]), nodes[i].backward = median(backward[i]);
  *whole = median(total);
  return nodes;
}

Json list_of(const double* values, size_t count) { return std::vector<double>(values, values + count); }

int run(const Flags& flags) {
  api::ModelSession session(flags.model, {"cpu", flags.threads});
  Classifier& classifier = session.classifier();
  const ClassifierShape& shape = classifier.shape();
  const Preprocess preprocess = preprocess_preset(flags.preprocess);
  const Image fitted = fit_image(read_image(flags.image), preprocess, static_cast<int>(shape.width), static_cast<int>(shape.height));
  ExplainSettings settings;
  settings.seed = flags.seed;
  const Problem problem = make_problem(classifier, api::make_input(shape, fitted, preprocess), settings);
  Recipe recipe = load_recipe(flags.recipe, false);
  recipe.steps = flags.steps;

  Optimiser optimiser(classifier, recipe);
  std::vector<Times> stamps;
  const OptimisedMask result = optimiser.run(problem, flags.seed, [&](const Progress&) {
    stamps.push_back(now());
    return true;
  });
  const double peak = peak_mib();  // before the measurements below take memory of their own
  const Times step = step_time(stamps);

  Classifier::Training net = classifier.compile_training(optimiser.passes_per_step(), optimiser.tap_names());
  Times passes;
  const auto nodes = profile_classifier(net, problem.x, flags.rounds, &passes);
  const auto convolutions = time_convolutions(net.graph, flags.rounds, flags.threads);

  std::map<std::string, double> by_kind;
  for (const NodeProfile& n : nodes) by_kind[n.what] += n.forward + n.backward;
  Times bare;
  for (const ConvTimes& c : convolutions) {
    bare.wall += c.forward.wall + c.backward.wall;
    bare.cpu += c.forward.cpu + c.backward.cpu;
  }

  Json report{{"model", session.path()},
              {"device", session.backend().description()},
              {"threads", flags.threads},
              {"steps", result.steps},
              {"passes_per_step", result.passes_per_step},
              {"step", json_of(step)},
              {"classifier_passes", json_of(passes)},
              {"bare_convolutions", json_of(bare)},
              {"step_over_bare_convolutions", step.cpu / bare.cpu},
              {"program_mib", static_cast<double>(result.memory_bytes) / (1 << 20)},
              {"peak_rss_mib", peak}};
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
    Tensor x(DType::kF32, {1, shape.channels, shape.height, shape.width});
    std::copy(problem.x.begin(), problem.x.end(), x.data<float>());
    write_npy(flags.out + "/x.npy", x);
  }
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

  std::printf("%s, %d thread(s), %lld images a step\n", report["device"].get<std::string>().c_str(), flags.threads,
              static_cast<long long>(result.passes_per_step));
  std::printf("%-26s %9s %9s\n", "ms, medians", "wall", "cpu");
  const auto row = [](const char* what, Times t) { std::printf("%-26s %9.2f %9.2f\n", what, milliseconds(t.wall), milliseconds(t.cpu)); };
  row("step", step);
  row("  classifier's passes", passes);
  row("bare convolutions", bare);
  std::printf("step / bare convolutions   %9.2f %9.2f\n", step.wall / bare.wall, step.cpu / bare.cpu);
  std::printf("program memory %.1f MiB, peak resident %.1f MiB\n", static_cast<double>(result.memory_bytes) / (1 << 20), peak);
  std::printf("\nclassifier's passes by operator, ms of wall time\n");
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
  CLI::App app{"Times one optimisation step of actmatch on the CPU"};
  app.add_option("MODEL", flags.model, "ONNX file of an image classifier")->required();
  app.add_option("--image", flags.image, "a picture")->required();
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
