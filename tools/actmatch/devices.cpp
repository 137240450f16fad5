#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"

namespace actmatch::tool {

namespace {

int devices() {
  Table table({"device", "what it is", "precisions"});
  std::string missing;
  for (const auto& device : nlohmann::json::parse(devices_json())) {
    if (device.contains("missing")) {
      missing += "\nno " + device["name"].get<std::string>() + " device: " + device["missing"].get<std::string>() + "\n";
      continue;
    }
    std::string precisions;
    for (const auto& precision : device["precisions"]) precisions += (precisions.empty() ? "" : " ") + precision.get<std::string>();
    table.add({device["name"].get<std::string>(), device["description"].get<std::string>(), precisions});
  }
  std::printf("%s%s", table.text().c_str(), missing.c_str());
  return kOk;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  CLI::App* c =
      app.add_subcommand("devices", "List the devices that can be used, and why a GPU cannot; the first is what --device auto takes");
  c->footer(
      "GPUs are served by the module libactmatch_cuda.so beside the program, in lib/actmatch of its prefix, or in a folder that\n"
      "ACTMATCH_MODULE_PATH names.\n\n" +
      footer("actmatch devices"));
  c->callback([&action] { action = devices; });
}

}  // namespace actmatch::tool
