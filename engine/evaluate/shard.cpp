#include "engine/evaluate/shard.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/core/error.h"

namespace actmatch {
namespace {

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A variable that must be a whole number once it is there.
std::optional<int64_t> variable(const Environment& environment, const char* name) {
  const char* text = environment(name);
  if (!text || !*text) return std::nullopt;
  const auto value = whole_number(text);
  if (!value || *value < 0)
    throw Error(ErrorCode::kInvalidArgument,
                std::string("the environment says ") + name + "=" + text + ", which is no number of a part; give --shard I/N yourself");
  return value;
}

// The index, and how many parts there are (0: nobody says).
struct Found {
  std::string from;
  int64_t index = 0, count = 0;
};

std::optional<Found> find(const Environment& environment) {
  const auto task = variable(environment, "SLURM_PROCID"), tasks = variable(environment, "SLURM_NTASKS");
  // An array's job is a single task, too.
  if (task && tasks && *tasks > 1) return Found{"SLURM_PROCID", *task, *tasks};
  if (const auto id = variable(environment, "SLURM_ARRAY_TASK_ID")) {
    const int64_t first = variable(environment, "SLURM_ARRAY_TASK_MIN").value_or(0);
    const int64_t step = std::max<int64_t>(1, variable(environment, "SLURM_ARRAY_TASK_STEP").value_or(1));
    const auto last = variable(environment, "SLURM_ARRAY_TASK_MAX"), tasks_there = variable(environment, "SLURM_ARRAY_TASK_COUNT");
    const int64_t count = last ? (*last - first) / step + 1 : 0;
    if (count > 0 && tasks_there && *tasks_there != count)
      throw Error(ErrorCode::kInvalidArgument,
                  "--shard auto cannot number the tasks of a list: SLURM_ARRAY_TASK_COUNT is " + std::to_string(*tasks_there) +
                      ", and from SLURM_ARRAY_TASK_MIN " + std::to_string(first) + " to SLURM_ARRAY_TASK_MAX " + std::to_string(*last) +
                      " there are " + std::to_string(count) +
                      "; give --shard I/N, for tasks counted from 0 as --shard $((SLURM_ARRAY_TASK_ID + 1))/N");
    return Found{"SLURM_ARRAY_TASK_ID", (*id - first) / step, count};
  }
  if (const auto rank = variable(environment, "OMPI_COMM_WORLD_RANK"))
    return Found{"OMPI_COMM_WORLD_RANK", *rank, variable(environment, "OMPI_COMM_WORLD_SIZE").value_or(0)};
  if (const auto index = variable(environment, "JOB_COMPLETION_INDEX")) return Found{"JOB_COMPLETION_INDEX", *index, 0};
  return std::nullopt;
}

}  // namespace

Shard parse_shard(const std::string& text, const Environment& environment) {
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorCode::kInvalidArgument, "--shard '" + text + "' " + why + "; write I/N with 1 <= I <= N, auto, or auto/N");
  };
  const size_t slash = text.find('/');
  const std::string first = text.substr(0, slash);
  int64_t count = 0;  // 0: as the environment says
  if (slash != std::string::npos) {
    const auto n = whole_number(text.substr(slash + 1));
    if (!n || *n < 1) throw wrong("does not say how many parts there are");
    count = *n;
  } else if (first != "auto") {
    throw wrong("is not understood");
  }
  if (first != "auto") {
    const auto i = whole_number(first);
    if (!i || *i < 1 || *i > count) throw wrong("names no part");
    return {*i - 1, count};
  }
  const auto found = find(environment);
  if (!found) {
    if (count == 0) return {};
    throw wrong("finds no number in the environment (SLURM_PROCID, SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, JOB_COMPLETION_INDEX)");
  }
  if (count == 0) count = found->count;
  if (count == 0) throw wrong("finds " + found->from + ", but not of how many parts; give --shard auto/N");
  if (found->index >= count)
    throw wrong("finds part " + std::to_string(found->index) + " (from 0) in " + found->from + ", of " + std::to_string(count));
  return {found->index, count};
}

}  // namespace actmatch
