// Times the forward pass of a model alone, without gradients: as a whole and by node. compare_forward.py drives it beside another runtime.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <map>
#include <random>

#include "engine/api/device.h"
#include "engine/core/error.h"
#include "engine/image/npy.h"
#include "onnx_import/importer.h"
#include "tools/bench/clocks.h"

namespace actmatch::bench {

namespace {

struct Flags {
  std::string model, input, output;
  int64_t batch = 1;
  int threads = 1, rounds = 20;
  size_t nodes = 25;
  bool serve = false;
};

// By kind and by node, medians of wall time; the slowest first.
void print_profile(const Graph& graph, Program& program, const Flags& flags) {
  std::vector<std::vector<double>> seconds;
  std::vector<Program::NodeTime> last;
  program.enable_profiling(true);
  for (int round = 0; round < flags.rounds; ++round) {
    program.forward();
    last = program.profile();
    seconds.resize(last.size());
    for (size_t i = 0; i < last.size(); ++i) seconds[i].push_back(last[i].forward_seconds);
  }
  program.enable_profiling(false);
  std::map<std::string, std::pair<double, int>> kinds;
  std::vector<std::pair<double, std::string>> lines;
  for (size_t i = 0; i < last.size(); ++i) {
    const Node& node = graph.node(last[i].node);
    const bool copy = last[i].implementation == "reorder";
    std::string kind = copy ? "reorder" : name_of(node.op());
    if (const auto* unary = std::get_if<UnaryAttrs>(&node.attrs); unary && !copy) kind += std::string(" ") + name_of(unary->kind);
    if (const auto* binary = std::get_if<BinaryAttrs>(&node.attrs); binary && !copy) kind += std::string(" ") + name_of(binary->kind);
    const double ms = 1e3 * median(seconds[i]);
    kinds[kind].first += ms;
    kinds[kind].second += 1;
    std::string shapes;
    for (ValueId id : node.inputs)
      if (id != kNoValue) shapes += " " + to_string(graph.value(id).shape);
    lines.emplace_back(ms, kind + " " + node.name + shapes + " [" + last[i].implementation + "]");
  }
  std::vector<std::pair<double, std::string>> by_kind;
  for (const auto& [kind, t] : kinds) by_kind.emplace_back(t.first, kind + " x" + std::to_string(t.second));
  for (auto* list : {&by_kind, &lines}) {
    std::sort(list->rbegin(), list->rend());
    for (size_t i = 0; i < std::min(list->size(), flags.nodes); ++i)
      std::printf("%9.3f ms  %s\n", (*list)[i].first, (*list)[i].second.c_str());
    std::printf("\n");
  }
}

int run(const Flags& flags) {
  const auto backend = api::make_backend({"cpu", flags.threads, "fp32", nullptr});
  onnx_import::BuildOptions options;
  options.batch = flags.batch;
  const Graph graph = onnx_import::Model::from_file(flags.model).build(options);
  CompileOptions compile;
  compile.pictures = flags.batch;
  const auto program = backend->compile(graph, compile);
  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  for (ValueId id : graph.inputs()) {
    float* data = program->data(id);
    for (int64_t i = 0; i < element_count(graph.value(id).shape); ++i) data[i] = normal(random);
    if (!flags.input.empty()) {
      const Tensor x = read_npy(flags.input);
      if (x.shape() != graph.value(id).shape) throw Error(ErrorCode::kInvalidArgument, "the array does not have the input's shape");
      backend->upload(data, x.data<float>(), static_cast<size_t>(x.count()));
    }
  }
  program->forward();
  if (!flags.output.empty()) {
    Tensor y(DType::kF32, graph.value(graph.outputs()[0]).shape);
    backend->download(y.data<float>(), program->data(graph.outputs()[0]), static_cast<size_t>(y.count()));
    write_npy(flags.output, y);
  }
  const auto timed = [&](int rounds) {
    std::vector<Times> times;
    for (int i = 0; i < rounds; ++i) {
      const Times start = now();
      program->forward();
      times.push_back(now() - start);
    }
    return times;
  };
  if (flags.serve) {  // a number of passes a line; answers their times, wall and processor, in ms
    std::printf("ready %s\n", backend->description().c_str());
    std::fflush(stdout);
    for (int rounds = 0; std::cin >> rounds;) {
      for (const Times& t : timed(rounds)) std::printf("%.4f %.4f ", 1e3 * t.wall, 1e3 * t.cpu);
      std::printf("\n");
      std::fflush(stdout);
    }
    return 0;
  }
  const auto times = timed(flags.rounds);
  const Times middle = median(times);
  std::printf("%s\nmedian of %d passes: wall %.3f ms, cpu %.3f ms\n\n", backend->description().c_str(), flags.rounds, 1e3 * middle.wall,
              1e3 * middle.cpu);
  print_profile(graph, *program, flags);
  return 0;
}

}  // namespace

}  // namespace actmatch::bench

int main(int argc, char** argv) {
  actmatch::bench::Flags flags;
  CLI::App app{"Times the forward pass of a model"};
  app.add_option("MODEL", flags.model, "ONNX file")->required();
  app.add_option("--batch", flags.batch, "pictures at once")->capture_default_str()->check(CLI::Range(1, 65536));
  app.add_option("--threads", flags.threads, "threads")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--rounds", flags.rounds, "passes")->capture_default_str()->check(CLI::Range(1, 100000));
  app.add_option("--nodes", flags.nodes, "lines of the profile")->capture_default_str();
  app.add_option("--input", flags.input, "the picture as .npy; without it random numbers");
  app.add_option("--output", flags.output, "where the first output goes, as .npy");
  app.add_flag("--serve", flags.serve, "reads numbers of passes from the standard input and answers with their times");
  CLI11_PARSE(app, argc, argv);
  try {
    return actmatch::bench::run(flags);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "actmatch_forward: %s\n", e.what());
    return 1;
  }
}
