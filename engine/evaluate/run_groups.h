// Which of several runs belong together, and what the others are called.
#pragma once

#include <string>
#include <vector>

#include "engine/evaluate/run_folder.h"

namespace actmatch {

struct RunGroups {
  std::vector<size_t> of;           // of each run: its group
  std::vector<std::string> labels;  // of each group, what sets it apart: a model, "tau=0.7"; empty where there is only one group
};
// Runs of one model with the same settings are parts of one evaluation, whatever lies in which folder.
RunGroups group_runs(const std::vector<RunRecords>& runs);

// For JSON objects of which no two are the same: for each what it has that others have not, "steps=7; weights.ce=0". Where that would be
// long, the name in its place. One object has nothing to be told from.
std::vector<std::string> differences(const std::vector<nlohmann::ordered_json>& objects, const std::vector<std::string>& names);

}  // namespace actmatch
