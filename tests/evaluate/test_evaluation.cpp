#include "engine/evaluate/evaluation.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "engine/core/lost_device.h"
#include "engine/evaluate/record_table.h"
#include "engine/evaluate/summary_page.h"
#include "engine/image/draw.h"
#include "engine/image/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch {
namespace {

using Json = nlohmann::ordered_json;
using test::expect_error;

const Json kSettings{{"model", "/m.onnx"},
                     {"metrics",
                      {{{"name", "area"}, {"direction", -1}, {"unit", ""}, {"about", "share of the pixels"}},
                       {{"name", "p_ratio"}, {"direction", 1}, {"unit", ""}, {"about", "p(e) / p(x)"}}}}};
const std::vector<Task> kTasks{{"one", "", 0}, {"two", "", 0}, {"two", "steps=7", 0}};

std::vector<ManifestEntry> pictures(int count) {
  std::vector<ManifestEntry> entries;
  for (int i = 0; i < count; ++i) entries.push_back({"p" + std::to_string(i) + ".jpg", "/p", "", {}});
  return entries;
}

// Figures that tell which picture and task they are of.
class CountingExaminer : public Examiner {
 public:
  void open(const ManifestEntry& entry) override {
    picture = entry.image;
    ++opened;
    if (broken.count(picture)) throw Error(ErrorCode::kFormat, "'" + picture + "' is damaged");
  }
  Json examine(const Task& task) override {
    ++examined;
    if (task.method == failing) throw Error(ErrorCode::kUnsupported, "not with this model");
    if (examined == full_at) throw Error(ErrorCode::kOutOfMemory, "no memory");
    if (examined == lost_at) throw LostDevice("the device is gone");
    const double number = std::stod(picture.substr(1));
    return {{"class", 3},
            {"seconds", 0.5 + number},
            {"metrics",
             {{"area", (task.method == "one" ? 0.1 : 0.2) + 0.01 * number}, {"p_ratio", task.method == "one" ? Json(nullptr) : Json(0.9)}}},
            {"curves", {{"insertion", {0.0, 0.5, 1.0}}}}};
  }
  std::string picture, failing;
  std::set<std::string> broken;
  int opened = 0, examined = 0, full_at = -1, lost_at = -1;
};

bool go_on(const EvaluationProgress&) { return true; }

class EvaluationTest : public ::testing::Test {
 protected:
  EvaluationOutcome run(int count, const Shard& shard = {}, bool again = false,
                        const std::function<bool(const EvaluationProgress&)>& progress = go_on) {
    RunFolder run(path_, kSettings, shard);
    return evaluate(run, pictures(count), kTasks, shard, examiner_, again, progress);
  }
  test::TemporaryFolder folder_;
  std::string path_ = folder_ / "run";
  CountingExaminer examiner_;
};

TEST_F(EvaluationTest, ARunGoesOnWhereItStoppedAndRepeatsNothing) {
  int calls = 0;
  expect_error(ErrorCode::kCancelled, {"stopped"}, [&] { run(3, {}, false, [&](const EvaluationProgress&) { return ++calls < 6; }); });
  EXPECT_EQ(examiner_.examined, 4 - 1);  // asked before each picture and each task
  EXPECT_EQ(read_run(path_).records.size(), 3u);
  const EvaluationOutcome outcome = run(3);
  EXPECT_EQ(outcome.found, 3u);
  EXPECT_EQ(outcome.done, 6u);
  EXPECT_EQ(outcome.failed + outcome.unreadable, 0u);
  EXPECT_EQ(examiner_.examined, 9);
  EXPECT_EQ(run(3).done, 0u);
  EXPECT_EQ(examiner_.examined, 9);
  EXPECT_EQ(run(4).done, 3u) << "a picture more";
}

TEST_F(EvaluationTest, ProgressTellsHowFarItIs) {
  std::vector<std::string> lines;
  run(2, {}, false, [&](const EvaluationProgress& p) {
    EXPECT_EQ(p.to_do, 6u);
    EXPECT_EQ(p.pictures, 2u);
    EXPECT_EQ(p.seconds_left > 0, p.done > 0);
    lines.push_back(p.entry->image + " " + (p.task ? p.task->method + p.task->variant : "opens"));
    return true;
  });
  EXPECT_EQ(lines, (std::vector<std::string>{"p0.jpg opens", "p0.jpg one", "p0.jpg two", "p0.jpg twosteps=7", "p1.jpg opens", "p1.jpg one",
                                             "p1.jpg two", "p1.jpg twosteps=7"}));
}

TEST_F(EvaluationTest, WhatFailsIsRecordedAndTriedAgainOnlyWhenAsked) {
  examiner_.broken = {"p1.jpg"};
  examiner_.failing = "one";
  EvaluationOutcome outcome = run(3);
  EXPECT_EQ(outcome.unreadable, 1u);
  EXPECT_EQ(outcome.failed, 2u);
  EXPECT_EQ(outcome.done, 7u);
  const int examined = examiner_.examined;
  outcome = run(3);
  EXPECT_EQ(outcome.unreadable, 1u);
  EXPECT_EQ(outcome.failed, 2u);
  EXPECT_EQ(outcome.done, 0u);
  EXPECT_EQ(examiner_.examined, examined);
  examiner_.broken.clear();
  examiner_.failing.clear();
  outcome = run(3, {}, true);
  EXPECT_EQ(outcome.unreadable + outcome.failed, 0u);
  EXPECT_EQ(outcome.done, 2u + 3u);
  const Summary summary = summarise({path_});
  EXPECT_EQ(summary.unreadable, 0u);
  EXPECT_EQ(summary.records, 9u);
  for (const SummaryRow& row : summary.rows) EXPECT_EQ(row.failed, 0);
}

// Not a failure of that task: all that is left would fail alike, and would not be tried again.
TEST_F(EvaluationTest, ALostDeviceEndsTheRun) {
  examiner_.lost_at = 2;
  expect_error(ErrorCode::kIo, {"the device is gone"}, [&] { run(2); });
  EXPECT_EQ(examiner_.examined, 2);
  examiner_.lost_at = -1;
  const EvaluationOutcome outcome = run(2);
  EXPECT_EQ(outcome.found, 1u);
  EXPECT_EQ(outcome.done, 5u);
  EXPECT_EQ(outcome.failed, 0u);
}

TEST_F(EvaluationTest, MemoryThatRunsOutEndsTheRun) {
  examiner_.full_at = 2;
  expect_error(ErrorCode::kOutOfMemory, {"no memory"}, [&] { run(2); });
  examiner_.full_at = -1;
  EXPECT_EQ(run(2).found, 1u);
}

TEST_F(EvaluationTest, PartsShareAFolderAndCoverEverythingOnce) {
  for (int64_t i = 0; i < 3; ++i) run(7, {i, 3});
  EXPECT_EQ(examiner_.examined, 21);
  EXPECT_EQ(read_run(path_).records.size(), 21u);
  EXPECT_EQ(run(7).found, 21u) << "a run of everything heeds what the parts did";
  EXPECT_EQ(examiner_.examined, 21);
}

TEST_F(EvaluationTest, TwoRunsOfOnePartAreKeptApart) {
  const RunFolder first(path_, kSettings, {});
  expect_error(ErrorCode::kInvalidArgument, {"results.jsonl", "another run", "--shard"}, [&] { run(1); });
  RunFolder(path_, kSettings, {1, 2});  // another part may
}

TEST_F(EvaluationTest, OtherSettingsAreRefused) {
  run(1);
  Json other = kSettings;
  other["model"] = "/n.onnx";
  expect_error(ErrorCode::kInvalidArgument, {"another model", "/m.onnx", "/n.onnx", "--out"}, [&] { RunFolder(path_, other, {}); });
  expect_error(ErrorCode::kNotFound, {"no evaluation"}, [&] { read_run(folder_.path()); });
}

TEST_F(EvaluationTest, ADamagedRecordIsNamed) {
  run(1);
  std::ofstream(path_ + "/results.jsonl", std::ios::app) << "{\"image\": \n";
  expect_error(ErrorCode::kFormat, {"line 4", "results.jsonl"}, [&] { run(1); });
}

TEST(ResultLog, WhatAKillLeftIsCutOff) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "log";
  write_file_atomically(path, std::string_view("one\ntwo\nthr"));
  EXPECT_EQ(read_log(path), (std::vector<std::string>{"one", "two"}));
  ResultLog(path).append("three");
  EXPECT_EQ(read_log(path), (std::vector<std::string>{"one", "two", "three"}));
  write_file_atomically(path, std::string(10000, 'x'));  // longer than a block, and no line at all
  ResultLog(path).append("first");
  EXPECT_EQ(read_log(path), (std::vector<std::string>{"first"}));
}

// A process appends as fast as it can and is killed at a random moment, twenty times over one file.
TEST(ResultLog, KilledAtAnyMomentItLosesNothing) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "log";
  const std::string filler(3000, '.');
  size_t before = 0;
  for (int round = 0; round < 20; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      ResultLog log(path, 1e9);
      for (size_t i = before;; ++i) {
        log.append(std::to_string(i) + filler);
        if (write(pipe_ends[1], "+", 1) != 1) _exit(1);
      }
    }
    close(pipe_ends[1]);
    char buffer[4096];
    size_t told = read(pipe_ends[0], buffer, 1) == 1 ? 1 : 0;  // records that the process knew to be there; it has started
    usleep(static_cast<useconds_t>(round * 577 % 4000));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    for (ssize_t got; (got = read(pipe_ends[0], buffer, sizeof(buffer))) > 0;) told += static_cast<size_t>(got);
    close(pipe_ends[0]);
    const std::vector<std::string> lines = read_log(path);
    ASSERT_GE(lines.size(), before + told);
    for (size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i], std::to_string(i) + filler) << "round " << round;
    before = lines.size();
  }
  EXPECT_GT(before, 20u) << "the rounds were too short to try anything";
}

// The limit on a file's size stands in for a full disk: the write goes through in part, then fails.
TEST(ResultLog, AFullDiskLeavesTheFileAsItWas) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "log";
  ResultLog log(path);
  log.append("one");
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit little { 100, before.rlim_max };
  setrlimit(RLIMIT_FSIZE, &little);
  expect_error(ErrorCode::kIo, {"'" + path + "'"}, [&] { log.append(std::string(500, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(read_log(path), (std::vector<std::string>{"one"}));
  log.append("two");
  EXPECT_EQ(read_log(path), (std::vector<std::string>{"one", "two"}));
}

TEST_F(EvaluationTest, TheSummaryCountsPicturesOnce) {
  run(4);
  const Summary summary = summarise({path_, path_});
  EXPECT_EQ(summary.records, 12u);
  EXPECT_EQ(summary.pictures, 4u);
  ASSERT_EQ(summary.rows.size(), 3u);
  EXPECT_EQ(summary.rows[2].label(), "two [steps=7]");
  EXPECT_NEAR(summary.rows[0].metrics.at("area").mean, 0.1 + 0.015, 1e-12);
  EXPECT_EQ(summary.rows[0].metrics.count("p_ratio"), 0u) << "nobody had a figure";
  EXPECT_EQ(summary.rows[1].metrics.at("p_ratio").count, 4);
  EXPECT_EQ(summary.rows[0].curves.at("insertion"), (std::vector<double>{0, 0.5, 1}));
  EXPECT_NEAR(summary.rows[0].seconds.mean, 2, 1e-12);
  EXPECT_EQ(best_rows(summary, summary.columns[0]), (std::vector<bool>{true, false, false})) << "less area is better";
  EXPECT_EQ(best_rows(summary, summary.columns[1]), (std::vector<bool>{false, false, false})) << "all that have a figure are equal";
}

// Two pictures, two seeds each: masks of 4 x 1 pixels that share 1 of 3, and are the same.
TEST(Summary, SeedsAreAveragedForEachPictureAndTheirMasksCompared) {
  const test::TemporaryFolder folder;
  const auto mask = [&](const std::string& name, const std::vector<uint8_t>& pixels) {
    write_file_atomically(folder / name, encode_png(draw_mask(pixels, 4, 1)));
  };
  mask("a0.png", {1, 1, 0, 0}), mask("a1.png", {0, 1, 1, 0}), mask("b.png", {1, 0, 0, 0});
  {
    RunFolder run(folder.path(), kSettings, {});
    const auto add = [&](const std::string& image, uint64_t seed, double area, const std::string& file) {
      Json record;
      put_key(record, {image, "", "m", "", seed});
      record["status"] = "ok", record["metrics"] = {{"area", area}}, record["mask"] = file;
      run.append(record);
    };
    add("a", 0, 0.1, "a0.png"), add("a", 1, 0.3, "a1.png"), add("b", 0, 0.5, "b.png"), add("b", 1, 0.5, "b.png");
  }
  const Summary summary = summarise({folder.path()});
  ASSERT_EQ(summary.rows.size(), 1u);
  EXPECT_EQ(summary.rows[0].metrics.at("area").count, 2);
  EXPECT_NEAR(summary.rows[0].metrics.at("area").mean, (0.2 + 0.5) / 2, 1e-12);
  EXPECT_NEAR(summary.rows[0].metrics.at("seed_iou").mean, (1.0 / 3 + 1) / 2, 1e-12);
}

TEST_F(EvaluationTest, TheTableOfRecords) {
  examiner_.failing = "two";
  run(1);
  const std::string csv = as_csv(record_table({path_}));
  const std::string head = "run,image,asked_class,class,class_name,method,variant,seed,status,error,seconds,passes,area,p_ratio\r\n";
  EXPECT_EQ(csv.substr(0, head.size()), head);
  EXPECT_NE(csv.find(path_ + ",p0.jpg,,3,,one,,0,ok,,0.5,,0.1,\r\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",two,steps=7,0,failed,not with this model,"), std::string::npos) << csv;
}

TEST_F(EvaluationTest, ParquetIsWrittenOrRefused) {
  run(2);
  const RecordTable table = record_table({path_});
#ifdef ACTMATCH_ARROW
  const std::string bytes = as_parquet(table);  // starts and ends with the format's mark
  ASSERT_GT(bytes.size(), 8u);
  EXPECT_EQ(bytes.substr(0, 4), "PAR1");
  EXPECT_EQ(bytes.substr(bytes.size() - 4), "PAR1");
#else
  expect_error(ErrorCode::kUnsupported, {"Apache Arrow", "CSV"}, [&] { as_parquet(table); });
#endif
}

TEST_F(EvaluationTest, ThePageIsWholeAndStandsAlone) {
  examiner_.broken = {"p1.jpg"};
  run(3);
  const std::string html = render_summary({{path_}, summarise({path_}), 12});
  for (const char* part : {"<h1>Explanations compared", "two [steps=7]", "unreadable pictures", "class=\"best\"",
                           "aria-label=\"probability of the class", "</html>"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  for (const char* outside : {"<script", "href=\"http", "src=\"http"}) EXPECT_EQ(html.find(outside), std::string::npos) << outside;
}

}  // namespace
}  // namespace actmatch
