#include "engine/evaluate/evaluation.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
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
  std::string fingerprint(const ManifestEntry& entry) override {
    return contents.count(entry.image) ? contents[entry.image] : "c" + in_records(entry.image);
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
  std::map<std::string, std::string> contents;
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
  {
    const RunFolder first(path_, kSettings, {});
    expect_error(ErrorCode::kInvalidArgument, {"results.jsonl", "another run", "--shard"}, [&] { run(1); });
    expect_error(ErrorCode::kInvalidArgument, {"results.jsonl", "other parts", "same N"}, [&] { RunFolder(path_, kSettings, {1, 2}); });
  }
  const RunFolder second(path_, kSettings, {1, 2});
  RunFolder(path_, kSettings, {0, 2});  // the other part of the same N may
  expect_error(ErrorCode::kInvalidArgument, {"results.2-of-2.jsonl", "other parts"}, [&] { run(1); });
  expect_error(ErrorCode::kInvalidArgument, {"other parts"}, [&] { RunFolder(path_, kSettings, {0, 3}); });
}

// Processes with different settings start in one folder at the same time: one of the settings is that of the run, and whoever has others is
// told so. Two of each, so that both ends are seen: equal ones all start.
TEST_F(EvaluationTest, OfSettingsThatStartTogetherOneWins) {
  constexpr int kRounds = 60, kProcesses = 4;
  int started_first = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string path = folder_ / ("round" + std::to_string(round));
    make_folder(path);
    int gate[2];
    ASSERT_EQ(pipe(gate), 0);
    std::vector<pid_t> children;
    for (int64_t i = 0; i < kProcesses; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        close(gate[1]);
        char byte = 0;
        if (read(gate[0], &byte, 1) != 0) _exit(9);  // returns when the gate is closed, for all at once
        Json settings = kSettings;
        settings["tau"] = i % 2;
        try {
          const RunFolder run(path, settings, {i, kProcesses});
          _exit(0);
        } catch (const Error& e) {
          _exit(std::string(e.what()).find("another tau") != std::string::npos ? 1 : 8);
        }
      }
      children.push_back(child);
    }
    close(gate[0]), close(gate[1]);
    std::vector<int> ends;
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      ends.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 7);
    }
    const int winner = read_run(path).settings["tau"];
    for (int i = 0; i < kProcesses; ++i) ASSERT_EQ(ends[static_cast<size_t>(i)], i % 2 == winner ? 0 : 1) << "round " << round;
    started_first += winner;
    for (const auto& entry : std::filesystem::directory_iterator(path))
      EXPECT_TRUE(entry.path().filename() == "run.json" || entry.path().extension() == ".jsonl") << entry.path() << " was left behind";
  }
  RecordProperty("second_settings_won", started_first);
}

TEST_F(EvaluationTest, OptionsOfAMethodMustStayWhatTheyWere) {
  const RunFolder run(path_, kSettings, {});
  run.agree("recipes/m.json", {{"masks", 10}, {"grid", 7}}, "results of 'm'");
  run.agree("recipes/m.json", {{"masks", 10}, {"grid", 7}}, "results of 'm'");
  expect_error(ErrorCode::kInvalidArgument, {"results of 'm'", "another masks (10, now 20)", "--out"}, [&] {
    run.agree("recipes/m.json", {{"masks", 20}, {"grid", 7}}, "results of 'm'");
  });
  expect_error(ErrorCode::kInvalidArgument, {"another grid (7, now none)"}, [&] {
    run.agree("recipes/m.json", {{"masks", 10}}, "results of 'm'");
  });
}

// What a metric says of itself may be put better in the next version; its options may not change.
TEST_F(EvaluationTest, TextsOfMetricsAreNoSettings) {
  Json before = kSettings;
  before["metrics"] = {{{"name", "area"}, {"about", "old words"}}};
  RunFolder(path_, before, {});
  Json now = before;
  now["metrics"][0]["about"] = "new words", now["metrics"][0]["options"] = {{"step", 5}};
  RunFolder(path_, now, {});
  now["metrics"][0]["name"] = "other";
  expect_error(ErrorCode::kInvalidArgument, {"another metrics"}, [&] { RunFolder(path_, now, {}); });
}

TEST_F(EvaluationTest, OtherPicturesOfTheSameNamesAreRefused) {
  run(2);
  examiner_.contents["p1.jpg"] = "another";
  expect_error(ErrorCode::kInvalidArgument, {"'p1.jpg'", "content", "--out"}, [&] { run(2); });
  EXPECT_EQ(run(1).found, 3u) << "the others are what they were";
  examiner_.contents["p1.jpg"] = "";  // cannot be read just now: nothing is known against what is there
  EXPECT_EQ(run(2).found, 6u);
}

TEST_F(EvaluationTest, OtherBoxesAreRefused) {
  std::vector<ManifestEntry> list = pictures(2);
  list[0].boxes = {{1, 2, 3, 4.5}};
  const auto with_list = [&] {
    RunFolder run(path_, kSettings, {});
    return evaluate(run, list, kTasks, {}, examiner_, false, go_on);
  };
  EXPECT_EQ(with_list().done, 6u);
  EXPECT_EQ(with_list().found, 6u);
  list[0].boxes[0][3] = 5;
  expect_error(ErrorCode::kInvalidArgument, {"'p0.jpg'", "other boxes ([[1.0,2.0,3.0,4.5]], now [[1.0,2.0,3.0,5.0]])"},
               [&] { with_list(); });
}

// Records of programs that did not say what a picture was go on counting.
TEST_F(EvaluationTest, RecordsThatNameNoPictureAreContinued) {
  {
    RunFolder run(path_, kSettings, {});
    Json record;
    put_key(record, {"p0.jpg", "", "one", "", 0});
    record["status"] = "ok";
    run.append(record);
  }
  const EvaluationOutcome outcome = run(1);
  EXPECT_EQ(outcome.found, 1u);
  EXPECT_EQ(outcome.done, 2u);
}

TEST_F(EvaluationTest, NamesThatAreNoUtf8AreFoundAgain) {
  std::vector<ManifestEntry> list = pictures(2);
  list[0].image = "p0\xff\xc3.jpg", list[1].image = "p1\xc3\xa4\xfe.jpg";
  list[0].class_name = "\xe4";
  const auto with_list = [&] {
    RunFolder run(path_, kSettings, {});
    return evaluate(run, list, kTasks, {}, examiner_, false, go_on);
  };
  EXPECT_EQ(with_list().done, 6u);
  EXPECT_EQ(with_list().found, 6u);
  EXPECT_EQ(read_run(path_).records.size(), 6u);
  EXPECT_EQ(read_run(path_).records[3]["image"], "p1\xc3\xa4\\xfe.jpg");
  list[0].image = "p1\xc3\xa4\\xfe.jpg", list[0].class_name = "";
  expect_error(ErrorCode::kInvalidArgument, {"two pictures", "rename"}, [&] { with_list(); });
}

TEST(Records, OnlyWhatIsNoUtf8IsWrittenOtherwise) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
      {"\xc0\xaf", "\\xc0\\xaf"},                    // longer than need be
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // half of a pair
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond the last character
      {"\xe2\x82", "\\xe2\\x82"}};                   // cut off
  for (const auto& [name, text] : cases) {
    EXPECT_EQ(in_records(name), text);
    EXPECT_NO_THROW((void)Json(in_records(name)).dump());
  }
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

// Records by hand: of runs with any settings, in folders of their own.
class SummaryTest : public ::testing::Test {
 protected:
  struct Row {
    std::string image, method;
    double area;
    std::string content = "c";
    Json more = Json::object();
  };
  std::string add(const std::string& name, const Json& changes, const std::vector<Row>& rows) {
    Json settings = kSettings;
    if (!changes.is_null()) settings.update(changes);
    RunFolder run(folder_ / name, settings, {});
    for (const Row& row : rows) {
      Json record;
      put_key(record, {row.image, "", row.method, "", 0});
      record["status"] = "ok", record["metrics"] = {{"area", row.area}}, record["image_sha256"] = row.content;
      record.update(row.more);
      run.append(record);
    }
    return folder_ / name;
  }
  static std::map<std::string, double> areas(const Summary& summary) {
    std::map<std::string, double> means;
    for (const SummaryRow& row : summary.rows) means[row.label()] = row.metrics.at("area").mean;
    return means;
  }
  using Means = std::map<std::string, double>;
  test::TemporaryFolder folder_;
};

TEST_F(SummaryTest, ModelsHaveRowsOfTheirOwn) {
  // Preprocessing goes with the model and is not named.
  const std::vector<std::string> runs{
      add("a", {{"model", "squeeze.onnx"}, {"model_sha256", "1111"}, {"preprocess", {{"scale", 1}}}},
          {{"p", "m", 0.125}, {"q", "m", 0.25}}),
      add("b", {{"model", "mobile.onnx"}, {"model_sha256", "2222"}, {"preprocess", {{"scale", 2}}}}, {{"p", "m", 0.5}, {"p", "n", 0.75}})};
  const Summary summary = summarise(runs);
  EXPECT_EQ(areas(summary), (Means{{"m [squeeze.onnx]", 0.1875}, {"m [mobile.onnx]", 0.5}, {"n [mobile.onnx]", 0.75}}));
  EXPECT_EQ(summary.records, 4u);
  EXPECT_EQ(summary.pictures, 2u);
  EXPECT_EQ(best_rows(summary, summary.columns[0]), (std::vector<bool>{false, true, false})) << "among the methods of a model";
  const std::string html = render_summary({runs, summary, 12}), csv = as_csv(record_table(runs));
  for (const char* label : {"m [squeeze.onnx]", "m [mobile.onnx]", "n [mobile.onnx]"})
    EXPECT_NE(html.find(label), std::string::npos) << label;
  EXPECT_NE(csv.find(runs[0] + ",squeeze.onnx,squeeze.onnx,p,"), std::string::npos) << csv;
  EXPECT_NE(csv.find(runs[1] + ",mobile.onnx,mobile.onnx,p,"), std::string::npos) << csv;
}

TEST_F(SummaryTest, ModelsOfOneNameAreToldApartByTheirContent) {
  const std::string a = add("a", {{"model", "net.onnx"}, {"model_sha256", "11111111111"}}, {{"p", "m", 0.125}});
  const std::string b = add("b", {{"model", "net.onnx"}, {"model_sha256", "22222222222"}}, {{"p", "m", 0.5}});
  EXPECT_EQ(areas(summarise({a, b})), (Means{{"m [net.onnx 11111111]", 0.125}, {"m [net.onnx 22222222]", 0.5}}));
}

TEST_F(SummaryTest, SettingsHaveRowsOfTheirOwn) {
  const std::string a = add("a", {{"tau", 0.5}, {"tile", 8}}, {{"p", "m", 0.125}}),
                    b = add("b", {{"tau", 0.5}, {"tile", 16}}, {{"p", "m", 0.5}}),
                    c = add("c", {{"tau", 0.5}, {"tile", 8}}, {{"q", "m", 0.25}});
  EXPECT_EQ(areas(summarise({a, b, c})), (Means{{"m [tile=8]", 0.1875}, {"m [tile=16]", 0.5}})) << "a and c are parts of one";
  EXPECT_EQ(areas(summarise({a, c})), (Means{{"m", 0.1875}}));
  Json far = Json::object();
  for (const char* key : {"a", "b", "c", "d"}) far[key] = 1;
  const std::string d = add("d", {{"tau", 0.5}, {"tile", 8}, {"recipe", far}}, {{"p", "m", 0.75}});
  EXPECT_EQ(areas(summarise({a, d})), (Means{{"m [" + a + "]", 0.125}, {"m [" + d + "]", 0.75}})) << "too much to be listed";
}

TEST_F(SummaryTest, OptionsOfAMethodThatDifferHaveRowsOfTheirOwn) {
  const Json points{{"recipe", "recipes/m.json"}};
  const std::string a = add("a", {}, {{"p", "m", 0.125, "c", points}, {"p", "n", 0.5}}),
                    b = add("b", {}, {{"p", "m", 0.25, "c", points}, {"q", "n", 0.75}});
  const auto options = [](const std::string& run, int masks) {
    make_folder(run + "/recipes");
    write_file_atomically(run + "/recipes/m.json", "{\"masks\": " + std::to_string(masks) + ", \"grid\": 7}");
  };
  options(a, 10), options(b, 20);
  EXPECT_EQ(areas(summarise({a, b})), (Means{{"m [masks=10]", 0.125}, {"m [masks=20]", 0.25}, {"n", 0.625}}));
  options(b, 10);
  EXPECT_EQ(areas(summarise({a, b})), (Means{{"m", 0.25}, {"n", 0.625}})) << "the later run's figure of p";
}

TEST_F(SummaryTest, PicturesOfOneNameWithDifferentContentAreTwo) {
  const std::string a = add("a", {}, {{"p", "m", 0.125, "1111111111"}}), b = add("b", {}, {{"p", "m", 0.25, "2222222222"}});
  const std::string c = add("c", {}, {{"p", "m", 0.75, "1111111111"}});
  const Summary two = summarise({a, b});
  EXPECT_EQ(two.pictures, 2u);
  EXPECT_EQ(areas(two), (Means{{"m", 0.1875}}));
  EXPECT_EQ(two.rows[0].pictures, (std::vector<std::string>{"p 11111111", "p 22222222"}));
  EXPECT_EQ(areas(summarise({a, c})), (Means{{"m", 0.75}})) << "the same picture: the later run's figure";
}

// n has not come to the hard picture yet; over what both have, m is better.
TEST_F(SummaryTest, TheBestIsThatOfPicturesThatAllHave) {
  const std::string run = add("a", {}, {{"easy", "m", 0.125}, {"hard", "m", 0.75}, {"easy", "n", 0.25}});
  const Summary summary = summarise({run});
  EXPECT_GT(summary.rows[0].metrics.at("area").mean, summary.rows[1].metrics.at("area").mean);
  EXPECT_EQ(best_rows(summary, summary.columns[0]), (std::vector<bool>{true, false}));
  const std::string apart = add("b", {}, {{"p", "m", 0.125}, {"q", "n", 0.25}});
  const Summary nothing_common = summarise({apart});
  EXPECT_EQ(best_rows(nothing_common, nothing_common.columns[0]), (std::vector<bool>{false, false}));
}

TEST_F(SummaryTest, FiguresOfSomePicturesSayOfHowMany) {
  const std::string run = add("a", {}, {{"p", "m", 0.125}, {"q", "m", 0.25, "c", {{"metrics", {{"p_ratio", 0.5}}}}}});
  const std::string html = render_summary({{run}, summarise({run}), 12});
  EXPECT_NE(html.find("; of 1 pictures"), std::string::npos);
  EXPECT_EQ(html.find("; of 2 pictures"), std::string::npos);
}

TEST_F(SummaryTest, OptionsOfMetricsStandOnThePage) {
  Json metrics = kSettings["metrics"];
  metrics[0]["options"] = {{"step", 5.0}, {"baseline", "mean"}, {"levels", {1, 2.5}}};
  const std::string run = add("a", {{"metrics", metrics}}, {{"p", "m", 0.125}});
  EXPECT_NE(render_summary({{run}, summarise({run}), 12}).find("<small>step 5, baseline mean, levels 1 2.5</small>"), std::string::npos);
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
  const std::string head =
      "run,model,setting,image,asked_class,class,class_name,method,variant,seed,status,error,seconds,passes,area,p_ratio\r\n";
  EXPECT_EQ(csv.substr(0, head.size()), head);
  EXPECT_NE(csv.find(path_ + ",/m.onnx,,p0.jpg,,3,,one,,0,ok,,0.5,,0.1,\r\n"), std::string::npos) << csv;
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
