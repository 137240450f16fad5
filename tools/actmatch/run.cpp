#include <actmatch/actmatch.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"

namespace actmatch::tool {

namespace {

struct RunFlags {
  std::string model, out;
  std::vector<std::string> inputs;
  std::optional<std::string> gradient;
  DeviceFlags device;
  bool quiet = false;
};

int run(const RunFlags& flags) {
  Model model = load_model(flags.model, flags.device, flags.quiet ? nullptr : print_notice);
  const auto info = nlohmann::json::parse(model.info());
  Tensors inputs;
  for (const std::string& argument : flags.inputs) {
    // NAME=FILE where the model has an input of that name; a file's name may contain '=' itself, and so may an input's.
    std::string name, path = argument;
    for (const auto& input : info["inputs"]) {
      const std::string candidate = input["name"].get<std::string>();
      if (argument.rfind(candidate + "=", 0) != 0 || candidate.size() < name.size()) continue;
      name = candidate;
      path = argument.substr(candidate.size() + 1);
    }
    inputs.add_npy(name, path);
  }
  const Tensors outputs = model.run(inputs, flags.gradient);
  outputs.write_npy(flags.out);
  if (flags.quiet) return kOk;
  Table table({"array", "shape", ">min", ">max", ">norm"});
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorView t = outputs[i];
    std::string shape;
    for (int64_t extent : t.shape) shape += (shape.empty() ? "" : "x") + std::to_string(extent);
    double low = t.values.empty() ? 0.0 : t.values[0], high = low, squares = 0;
    for (double v : t.values) low = std::min(low, v), high = std::max(high, v), squares += v * v;
    table.add({t.name, shape.empty() ? "scalar" : shape, format("%.6g", low), format("%.6g", high), format("%.6g", std::sqrt(squares))});
  }
  std::printf("%s", table.text().c_str());
  return kOk;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* c = app.add_subcommand("run", "Run a model on arrays, to compare it with another framework");
  c->add_option("MODEL", flags->model, "ONNX file")->required();
  c->add_option("--input", flags->inputs, "[NAME=]FILE.npy, once for each input; the shapes are taken from the files");
  c->add_option("--out", flags->out, "folder for OUTPUT.npy and grad_INPUT.npy (other characters than A-Z a-z 0-9 . _ - become _)")
      ->required();
  c->add_option("--gradient", flags->gradient,
                "OUTPUT or OUTPUT:CLASS: also the gradient of that output's sum, or of its column CLASS, at every input");
  add_device_flags(*c, flags->device);
  add_precision_flag(*c, flags->device);
  c->add_flag("--quiet", flags->quiet, "print nothing but errors");
  c->footer(footer("actmatch run resnet18.onnx --input x.npy --gradient logits:281 --out out"));
  c->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace actmatch::tool
