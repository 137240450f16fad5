#include <gtest/gtest.h>

#include <map>

#include "engine/evaluate/shard.h"
#include "tests/support/expect_error.h"

namespace actmatch {
namespace {

using Variables = std::map<std::string, std::string>;

Shard parse(const std::string& text, const Variables& variables = {}) {
  return parse_shard(text, [&](const char* name) -> const char* {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  });
}

TEST(Shard, ByHandCountsFromOne) {
  EXPECT_EQ(parse("1/1"), (Shard{0, 1}));
  EXPECT_EQ(parse("3/4"), (Shard{2, 4}));
  EXPECT_EQ(parse("2/3", {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}), (Shard{1, 3})) << "what is said by hand counts";
}

TEST(Shard, TheEnvironmentIsHeededWhereItSaysAll) {
  EXPECT_EQ(parse("auto"), (Shard{0, 1}));
  EXPECT_EQ(parse("auto", {{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "8"}}), (Shard{3, 8}));
  EXPECT_EQ(parse("auto", {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}}), (Shard{1, 2}));
  EXPECT_EQ(parse("auto/5", {{"JOB_COMPLETION_INDEX", "4"}}), (Shard{4, 5}));
  // Every job of an array is a single task as well.
  const Variables array{{"SLURM_PROCID", "0"},          {"SLURM_NTASKS", "1"},          {"SLURM_ARRAY_TASK_ID", "14"},
                        {"SLURM_ARRAY_TASK_MIN", "10"}, {"SLURM_ARRAY_TASK_MAX", "19"}, {"SLURM_ARRAY_TASK_STEP", "2"}};
  EXPECT_EQ(parse("auto", array), (Shard{2, 5}));
  EXPECT_EQ(parse("auto", {{"SLURM_ARRAY_TASK_ID", "14"},
                           {"SLURM_ARRAY_TASK_MIN", "10"},
                           {"SLURM_ARRAY_TASK_MAX", "19"},
                           {"SLURM_ARRAY_TASK_STEP", "2"},
                           {"SLURM_ARRAY_TASK_COUNT", "5"}}),
            (Shard{2, 5}));
  // A shell inside a job knows how many tasks there will be, but is none of them.
  EXPECT_EQ(parse("auto", {{"SLURM_NTASKS", "8"}}), (Shard{0, 1}));
}

TEST(Shard, WhatMakesNoSenseIsRefused) {
  using test::expect_error;
  for (const char* text : {"", "2", "0/2", "3/2", "a/2", "1/0", "1/", "-1/2", "1/2/3", "auto/0", "auto/x"})
    expect_error(ErrorCode::kInvalidArgument, {"--shard '" + std::string(text) + "'", "I/N"}, [&] { parse(text); });
  expect_error(ErrorCode::kInvalidArgument, {"JOB_COMPLETION_INDEX", "auto/N"}, [] { parse("auto", {{"JOB_COMPLETION_INDEX", "1"}}); });
  expect_error(ErrorCode::kInvalidArgument, {"part 2", "of 2"}, [] { parse("auto/2", {{"JOB_COMPLETION_INDEX", "2"}}); });
  expect_error(ErrorCode::kInvalidArgument, {"SLURM_PROCID=x"}, [] { parse("auto", {{"SLURM_PROCID", "x"}, {"SLURM_NTASKS", "2"}}); });
  expect_error(ErrorCode::kInvalidArgument, {"no number in the environment"}, [] { parse("auto/2"); });
}

// --array=3,7: taken as an array from 3 to 7, these would be the first and the last of five parts.
TEST(Shard, ListsOfTasksAreRefused) {
  const Variables list{
      {"SLURM_ARRAY_TASK_ID", "7"}, {"SLURM_ARRAY_TASK_MIN", "3"}, {"SLURM_ARRAY_TASK_MAX", "7"}, {"SLURM_ARRAY_TASK_COUNT", "2"}};
  for (const char* text : {"auto", "auto/5"})
    test::expect_error(ErrorCode::kInvalidArgument, {"list", "SLURM_ARRAY_TASK_COUNT is 2", "there are 5", "--shard I/N"},
                       [&] { parse(text, list); });
  EXPECT_EQ(parse("8/32", list), (Shard{7, 32}));
}

TEST(Shard, PartsCoverEverythingOnce) {
  for (int64_t place = 0; place < 20; ++place) {
    int takers = 0;
    for (int64_t i = 0; i < 3; ++i) takers += Shard{i, 3}.takes(place);
    EXPECT_EQ(takers, 1);
  }
}

}  // namespace
}  // namespace actmatch
