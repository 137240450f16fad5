// Evaluations summed up.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "actmatch/actmatch.h"

namespace actmatch::api {

// See actmatch_compare.
nlohmann::ordered_json compare(const std::vector<std::string>& folders, const actmatch_comparison_options& options);

}  // namespace actmatch::api
