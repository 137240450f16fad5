// What methods and metrics give on a model and a picture, as files, for the scripts beside it, which compute the same with other means.
//
//   method_values MODEL.onnx PICTURE JOB.json FOLDER
//
// JOB: {"label": N (optional), "seed": N, "methods": {"run name": {"method": name, ..its options}}, "metrics": {"name": {..options}}}
// FOLDER: facts.json (x's preprocessing, label, p_x, and for each run its cost, seconds and the metrics' figures), x.npy [C, H, W],
// colour.npy, and for each run RUN.map.npy (the method's own units), RUN.soft.npy, RUN.mask.npy (the soft map's top fifth).
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/api/explain_session.h"
#include "engine/image/npy.h"
#include "engine/methods/registry.h"
#include "engine/metrics/metric.h"
#include "onnx_import/importer.h"

using namespace actmatch;
using Json = nlohmann::ordered_json;

namespace {

Json read_json(const std::string& path) {
  const auto bytes = read_file(path);
  return Json::parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void write_npy(const std::filesystem::path& path, Shape shape, const std::vector<float>& values) {
  write_file_atomically(path.string(), encode_npy(Tensor::of<float>(std::move(shape), values)));
}

int run(const std::string& model_path, const std::string& picture, const std::string& job_path, const std::filesystem::path& folder) {
  const auto backend = make_cpu_backend(1);
  const auto model = onnx_import::Model::from_file(model_path);
  Classifier classifier(*backend, [&](int64_t batch, const std::vector<std::string>& keep) {
    onnx_import::BuildOptions options;
    options.batch = batch;
    options.keep_values = keep;
    return model.build(options);
  });
  const ClassifierShape& shape = classifier.shape();
  const Json job = read_json(job_path);
  const std::string sidecar = model_path.substr(0, model_path.rfind('.')) + ".preprocess.json";
  const Preprocess preprocess = preprocess_from_json(read_json(sidecar).dump(), sidecar);
  const Image fitted = fit_image(read_image(picture), preprocess, static_cast<int>(shape.width), static_cast<int>(shape.height));
  ExplainInput input = api::make_input(shape, fitted, preprocess);
  input.label = job.value("label", -1);
  ExplainSettings settings;
  settings.seed = job.value("seed", uint64_t{0});
  const Problem problem = make_problem(classifier, input, settings);

  make_folder(folder.string());
  write_npy(folder / "x.npy", {shape.channels, shape.height, shape.width}, problem.x);
  write_npy(folder / "colour.npy", {shape.channels}, problem.colour);
  const Json metrics = job.contains("metrics") ? job["metrics"] : Json::object();
  Json facts{{"label", problem.label}, {"p_x", problem.p_x}, {"scale", problem.backgrounds.scale}, {"offset", problem.backgrounds.offset}};
  for (const auto& [name, options] : job["methods"].items()) {
    MethodRecipe recipe{options["method"].get<std::string>(), name, "'" + name + "'", options};
    const MadeMethod made = make_method(classifier, recipe, false);
    const SoftMap map = made.method->run(std::span(&problem, 1), settings.seed, {}).front();
    MetricInput in{problem, map.soft, level_set(map.logits, shape.height * shape.width / 5, {}), {}, {}, {}, 0};
    in.object.assign(map.soft.size(), 0);
    for (int64_t y = shape.height / 4; y < shape.height / 2; ++y)
      for (int64_t x = shape.width / 4; x < 3 * shape.width / 4; ++x) in.object[static_cast<size_t>(y * shape.width + x)] = 1;
    in.seeds = {level_set(map.logits, shape.height * shape.width / 7, {}), in.object};
    in.has = kNeedsMap | kNeedsMask | kNeedsObject | kNeedsSeeds;
    Json figures;
    for (const auto& [metric_name, metric_options] : metrics.items()) {
      const MetricInfo& metric = find_metric(metric_name);
      const Measured measured = measure(metric, classifier, in, metric_options);
      for (size_t i = 0; i < measured.values.size(); ++i) figures[metric.figures[i].name] = measured.values[i];
    }
    facts["runs"][name] = {{"options", made.options},  {"steps", map.steps},     {"forward", map.forward},
                           {"backward", map.backward}, {"seconds", map.seconds}, {"figures", figures}};
    write_npy(folder / (name + ".map.npy"), {shape.height, shape.width}, map.logits);
    write_npy(folder / (name + ".soft.npy"), {shape.height, shape.width}, map.soft);
    write_npy(folder / (name + ".mask.npy"), {shape.height, shape.width}, {in.mask.begin(), in.mask.end()});
  }
  write_file_atomically((folder / "facts.json").string(), facts.dump(1));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "method_values MODEL.onnx PICTURE JOB.json FOLDER\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "method_values: %s\n", e.what());
    return 1;
  }
}
