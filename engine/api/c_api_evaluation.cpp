// The C interface, part two: evaluations.
#include <nlohmann/json.hpp>

#include "engine/api/comparison.h"
#include "engine/api/handles.h"

extern "C" {

using namespace actmatch::api;

void actmatch_comparison_options_init(actmatch_comparison_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof(*options);
  options->gallery = 12;
}

actmatch_status actmatch_compare(const char* const* folders, size_t count, const actmatch_comparison_options* options, const char** json) {
  if (json) *json = nullptr;
  return guarded([&] {
    require(json, "json");
    if (count > 0) require(folders, "folders");
    std::vector<std::string> paths;
    for (size_t i = 0; i < count; ++i) {
      require(folders[i], "a folder's path");
      paths.emplace_back(folders[i]);
    }
    thread_local std::string text;
    text = compare(paths, merged(options, actmatch_comparison_options_init)).dump();
    *json = text.c_str();
  });
}

}  // extern "C"
