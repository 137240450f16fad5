#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"

namespace actmatch::tool {

namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string model;
  DeviceFlags device;
  ModelFlags choices;
  bool json = false, times = false;
};

std::string shape_text(const Json& shape) {
  if (shape.is_null()) return "shape unknown";
  std::string text;
  for (const Json& extent : shape) text += (text.empty() ? "" : "x") + (extent.is_null() ? "N" : extent.dump());
  return text.empty() ? "scalar" : text;
}

std::string values_text(const Json& values) {
  std::string text;
  for (const Json& v : values)
    text += (text.empty() ? "" : ", ") + v["name"].get<std::string>() + " " + shape_text(v["shape"]) +
            (v.contains("dtype") && v["dtype"].is_string() ? " " + v["dtype"].get<std::string>() : "");
  return text.empty() ? "none" : text;
}

std::string millions(double count) {
  if (count >= 1e9) return format("%.2f G", count / 1e9);
  return count >= 1e6 ? format("%.2f M", count / 1e6) : format("%.1f k", count / 1e3);
}

// How scores become a decision, where that is not one class of several.
std::string head_text(const Json& classifier) {
  if (classifier["head"] == "sigmoid") return ", each decided by itself (sigmoid)";
  if (classifier["head"] == "binary") return ", one score (sigmoid): 1 where it is above 0, otherwise 0";
  return {};
}

std::string range_text(const Json& takes) {
  if (takes.is_null()) return {};
  return std::string("; normalised inside the model, which seems to take ") + (takes == "raw" ? "0..255" : "0..1") + " (--preprocess " +
         takes.get<std::string>() + ")";
}

void print(const Json& info) {
  const auto line = [](const char* name, const std::string& text) { std::printf("%-15s %s\n", name, text.c_str()); };
  line("model", info["path"].get<std::string>());
  line("made by", info["producer"].get<std::string>() + ", opset " + info["opset"].dump() + ", IR version " + info["ir_version"].dump());
  line("inputs", values_text(info["inputs"]));
  line("outputs", values_text(info["outputs"]));
  std::string operators;
  for (const auto& [op, count] : info["operators"].items()) operators += (operators.empty() ? "" : ", ") + op + " " + count.dump();
  line("operators", info["nodes"].dump() + " nodes: " + operators);
  line("parameters", grouped(info["parameters"].get<int64_t>()));
  if (info["multiply_adds"].is_number())
    line("multiply-adds", millions(info["multiply_adds"].get<double>()) + " forward, batch as declared");
  if (info.contains("classifier")) {
    const Json& c = info["classifier"];
    line("picture", c["input"].get<std::string>() + ": " + c["channels"].dump() + " channels, " + c["height"].dump() + "x" +
                        c["width"].dump() + (c["layout"] == "nhwc" ? ", channels last" : "") + range_text(c["takes"]));
    line("classes",
         c["classes"].dump() + " in " + c["output"].get<std::string>() + head_text(c) +
             (c["softmax"].get<bool>() ? ", softmax recognised: its argument " + c["logits"].get<std::string>() + " is used" : "") +
             (c["sigmoid"].get<bool>() ? ", sigmoid recognised: its argument " + c["logits"].get<std::string>() + " is used" : ""));
    line("taps", values_text(c["taps"]));
  } else {
    line("explain", "not possible: " + info["not_explainable"].get<std::string>());
  }
  for (const Json& file : info["external_files"]) line("weights in", file.get<std::string>());
  for (const Json& notice : info["notices"]) line("note", notice.get<std::string>());
  for (const Json& problem : info["unsupported"]) {
    const std::string node = problem["node"].get<std::string>(), op = problem["op"].get<std::string>();
    line("not supported", (op.empty() ? "" : "node '" + node + "' (" + op + ", opset " + problem["opset"].dump() + "): ") +
                              problem["message"].get<std::string>());
  }
}

void print_times(const Json& seconds) {
  std::string text;
  for (const auto& [part, value] : seconds.items()) text += (text.empty() ? "" : ", ") + part + format(" %.3f s", value.get<double>());
  std::printf("%-15s %s\n", "times", text.c_str());
}

int inspect(const InspectFlags& flags) {
  Model model = load_model(flags.model, flags.device, {}, flags.choices);
  const std::string text = model.info();
  const Json info = Json::parse(text);
  if (flags.json)
    std::printf("%s\n", text.c_str());
  else
    print(info);
  if (flags.times && !flags.json) print_times(info["seconds"]);
  const size_t problems = info["unsupported"].size();
  if (problems == 0) return kOk;
  std::fflush(stdout);
  print_error("'" + flags.model + "' has " + std::to_string(problems) + (problems == 1 ? " part that is" : " parts that are") +
              " not supported (listed above); export it with other operators or another opset");
  return kFailed;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* c = app.add_subcommand("inspect", "Show what is in a model, and what of it is not supported");
  c->add_option("MODEL", flags->model, "ONNX file")->required();
  c->add_flag("--times", flags->times, "print how long reading the file and each pass over it took (with --json they are always there)");
  c->add_flag("--json", flags->json, "print a JSON object");
  add_device_flags(*c, flags->device);
  add_model_flags(*c, flags->choices);
  c->footer(footer("actmatch inspect resnet18.onnx", "the model cannot be read, or parts of it are not supported"));
  c->callback([flags, &action] { action = [flags] { return inspect(*flags); }; });
}

}  // namespace actmatch::tool
