#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"

namespace actmatch::tool {

namespace {

int devices() {
  Table table({"device", "what it is"});
  for (const auto& device : nlohmann::json::parse(devices_json()))
    table.add({device["name"].get<std::string>(), device["description"].get<std::string>()});
  std::printf("%s", table.text().c_str());
  return kOk;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  CLI::App* c = app.add_subcommand("devices", "List the devices of this build; the first is what --device auto takes");
  c->footer(footer("actmatch devices"));
  c->callback([&action] { action = devices; });
}

}  // namespace actmatch::tool
