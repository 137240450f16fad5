// Whole data sets by command: figures, resuming after anything, parts, failures, the report.
#include <actmatch/actmatch.hpp>
#include <algorithm>
#include <set>
#include <sstream>

#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

using nlohmann::json;

class EvaluateTest : public ::testing::Test {
 protected:
  EvaluateTest() {
    write(table_,
          "image,class,boxes\n" + example("images/dotted_disc.png") + ",,20 20 70 70\n" + example("images/two_classes.png") + ",,\n");
  }
  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all{"evaluate",  shapes_model(),
                                 "--images",  table_,
                                 "--out",     run_,
                                 "--methods", "gradcam,random",
                                 "--metrics", "area,deletion-insertion,pointing,seed-agreement",
                                 "--threads", "1"};
    for (const std::string& argument : more) {
      const auto given = argument.rfind("--", 0) == 0 ? std::find(all.begin(), all.end(), argument) : all.end();
      if (given != all.end()) all.erase(given, given + 2);  // the one that follows takes its place
    }
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<json> records() const {
    std::vector<json> list;
    for (const std::string& name : files_under(run_)) {
      if (name.rfind("results", 0) != 0) continue;
      std::istringstream lines(contents(run_ + "/" + name));
      for (std::string line; std::getline(lines, line);) list.push_back(json::parse(line));
    }
    return list;
  }
  TemporaryFolder tmp_;
  std::string table_ = tmp_ / "pictures.csv", run_ = tmp_ / "run";
};

TEST_F(EvaluateTest, FiguresOfEveryMethodAndPictureAndNothingTwice) {
  const Outcome first = run_actmatch(arguments());
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_NE(first.out.find("4 records made, 0 were there"), std::string::npos) << first.out;
  const std::vector<json> made = records();
  ASSERT_EQ(made.size(), 4u);
  for (const json& record : made) {
    EXPECT_EQ(record["status"], "ok");
    EXPECT_GT(record["metrics"]["area"], 0);
    EXPECT_GE(record["metrics"]["insertion_auc"], 0);
    EXPECT_EQ(record["curves"]["insertion"].size(), 221u) << "9216 pixels, 42 at a time";
    EXPECT_EQ(record["metrics"].contains("pointing"), record["image"] == example("images/dotted_disc.png")) << "only one has a box";
    EXPECT_TRUE(fs::exists(run_ + "/" + record["mask"].get<std::string>()));
  }
  const std::string before = contents(run_ + "/results.jsonl");
  const Outcome again = run_actmatch(arguments({"--methods", "gradcam,random,center"}));
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.out.find("2 records made, 4 were there"), std::string::npos) << again.out;
  EXPECT_EQ(contents(run_ + "/results.jsonl").substr(0, before.size()), before);

  const Outcome report = run_actmatch({"report", run_, "--out", tmp_ / "report.html", "--csv", tmp_ / "records.csv"});
  EXPECT_EQ(report.status, 0) << report.err;
  for (const char* part : {"gradcam", "center", "insertion_auc up", "6 records of 2 pictures"})
    EXPECT_NE(report.out.find(part), std::string::npos) << part;
  EXPECT_NE(contents(tmp_ / "report.html").find("data:image/png;base64,"), std::string::npos);
  const std::string csv = contents(tmp_ / "records.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
}

// The area of a record is that of the mask that lies beside it, and what `explain` finds for the same picture.
TEST_F(EvaluateTest, RecordsAreWhatExplainFinds) {
  ASSERT_EQ(run_actmatch(arguments({"--methods", "gradcam"})).status, 0);
  ASSERT_EQ(run_actmatch({"explain", shapes_model(), example("images/dotted_disc.png"), "--method", "gradcam", "--out", tmp_ / "one",
                          "--threads", "1", "--quiet"})
                .status,
            0);
  const json explained = json_of(tmp_ / "one/dotted_disc/result.json"), record = records()[0];
  EXPECT_EQ(record["class"], explained["class_index"]);
  EXPECT_EQ(record["metrics"]["area"], explained["area"]);
  EXPECT_EQ(contents(run_ + "/" + record["mask"].get<std::string>()), contents(tmp_ / "one/dotted_disc/mask.png"));
}

TEST_F(EvaluateTest, KilledOrStoppedItGoesOn) {
  // Killed at moments from before the first record to after the last.
  for (int k = 1; k <= 8; ++k) {
    std::string command = "timeout -s KILL " + std::to_string(0.06 * k) + " '" + std::string(ACTMATCH_BINARY_DIR) + "/actmatch'";
    for (const std::string& argument : arguments({"--quiet"})) command += argument == "--quiet" ? " --quiet" : " '" + argument + "'";
    (void)!std::system((command + " >/dev/null 2>&1").c_str());
  }
  const Outcome last = run_actmatch(arguments());
  EXPECT_EQ(last.status, 0) << last.err;
  std::set<std::pair<std::string, std::string>> keys;
  for (const json& record : records()) EXPECT_TRUE(keys.emplace(record["image"], record["method"]).second) << record;
  EXPECT_EQ(keys.size(), 4u);
}

TEST_F(EvaluateTest, CtrlCLeavesWholeRecords) {
  const Outcome stopped = run_actmatch(arguments({"--methods", "gradcam,random,center,rise"}), "records");
  EXPECT_EQ(stopped.status, 130);
  EXPECT_NE(stopped.err.find("run the command again to go on"), std::string::npos) << stopped.err;
  const size_t before = records().size();
  EXPECT_LT(before, 8u);
  EXPECT_EQ(run_actmatch(arguments({"--methods", "gradcam,random,center,rise"})).status, 0);
  EXPECT_EQ(records().size(), 8u);
}

TEST_F(EvaluateTest, PartsByMpisVariables) {
  for (const char* rank : {"0", "1"}) {
    const Environment size("OMPI_COMM_WORLD_SIZE", "2"), this_rank("OMPI_COMM_WORLD_RANK", rank);
    EXPECT_NE(run_actmatch(arguments()).out.find("2 records made"), std::string::npos);
  }
  EXPECT_TRUE(fs::exists(run_ + "/results.1-of-2.jsonl") && fs::exists(run_ + "/results.2-of-2.jsonl"));
  EXPECT_EQ(records().size(), 4u);
  EXPECT_NE(run_actmatch(arguments()).out.find("0 records made, 4 were there"), std::string::npos);
}

TEST_F(EvaluateTest, UnreadablePicturesAreRecordedAndPassedOver) {
  write(tmp_ / "broken.png", "no picture");
  write(table_, "image\nbroken.png\n" + example("images/dotted_disc.png") + "\n");
  const Outcome run = run_actmatch(arguments());
  EXPECT_EQ(run.status, 1);
  EXPECT_NE(run.err.find("1 pictures could not be read"), std::string::npos) << run.err;
  const std::vector<json> made = records();
  ASSERT_EQ(made.size(), 3u);
  EXPECT_EQ(made[0]["status"], "unreadable");
  EXPECT_NE(made[0]["error"].get<std::string>().find("broken.png"), std::string::npos);
  EXPECT_EQ(run_actmatch(arguments()).status, 1) << "still so";
  fs::copy_file(example("images/two_classes.png"), tmp_ / "broken.png", fs::copy_options::overwrite_existing);
  EXPECT_EQ(run_actmatch(arguments({"--retry"})).status, 0);
}

TEST_F(EvaluateTest, ASweepVariesFieldsAndSeeds) {
  write(tmp_ / "sweep.json", R"({"method": "random", "each": {"grid": [3]}, "seeds": [1, 2]})");
  const Outcome run = run_actmatch(arguments({"--methods", "random", "--sweep", tmp_ / "sweep.json"}));
  EXPECT_EQ(run.status, 0) << run.err;
  std::set<std::pair<std::string, int>> variants;
  for (const json& record : records()) variants.emplace(record["variant"], record["seed"]);
  EXPECT_EQ(variants, (std::set<std::pair<std::string, int>>{{"", 1}, {"", 2}, {"grid=3", 1}, {"grid=3", 2}}));
  const json comparison = json::parse(compare({run_}));
  EXPECT_EQ(comparison["rows"].size(), 2u);
  for (const json& row : comparison["rows"]) {
    EXPECT_EQ(row["metrics"]["seed_iou"]["count"], 2);
    EXPECT_LT(row["metrics"]["seed_iou"]["mean"], 1);
  }
}

// Runs with other seeds into one folder: each record keeps the mask it was made with.
TEST_F(EvaluateTest, MasksOfOtherSeedsLieBesideTheFirst) {
  for (const char* seed : {"1", "2"}) ASSERT_EQ(run_actmatch(arguments({"--methods", "random", "--seed", seed})).status, 0);
  std::set<std::string> masks;
  for (const json& record : records()) masks.insert(record["mask"]);
  EXPECT_EQ(masks.size(), 4u);
  EXPECT_LT(json::parse(compare({run_}))["rows"][0]["metrics"]["seed_iou"]["mean"], 1);
}

TEST_F(EvaluateTest, ARecipeThatHasChangedIsAnotherEvaluation) {
  const std::string recipe = tmp_ / "mine.json";
  write(recipe, R"({"steps": 3})");
  ASSERT_EQ(run_actmatch(arguments({"--methods", "random", "--recipe", recipe})).status, 0);
  write(recipe, R"({"steps": 4})");
  const Outcome changed = run_actmatch(arguments({"--methods", "random", "--recipe", recipe}));
  EXPECT_EQ(changed.status, 1);
  EXPECT_NE(changed.err.find("another recipe"), std::string::npos) << changed.err;
}

// As above, of recipes that methods and sweeps name: what lies in the folder was made with what they said then.
TEST_F(EvaluateTest, RecipesOfMethodsAndSweepsMustStayWhatTheyWere) {
  const std::string recipe = tmp_ / "mine.json", sweep = tmp_ / "sweep.json";
  const std::vector<std::string> named{"--methods", "random:" + recipe},
      swept{"--methods", "random", "--sweep", sweep, "--out", tmp_ / "swept"};
  write(sweep, R"({"method": "random", "recipe": ")" + recipe + R"(", "each": {"grid": [3]}})");
  for (const std::vector<std::string>& more : {named, swept}) {
    write(recipe, R"({"method": "random", "grid": 5})");
    ASSERT_EQ(run_actmatch(arguments(more)).status, 0);
    EXPECT_NE(run_actmatch(arguments(more)).out.find("0 records made"), std::string::npos);
    write(recipe, R"({"method": "random", "grid": 6})");
    const Outcome changed = run_actmatch(arguments(more));
    EXPECT_EQ(changed.status, 1);
    expect_one_line(changed);
    EXPECT_NE(changed.err.find("results of 'random"), std::string::npos) << changed.err;
    EXPECT_NE(changed.err.find("another grid (5, now 6)"), std::string::npos) << changed.err;
  }
  EXPECT_EQ(json_of(run_ + "/" + records()[0]["recipe"].get<std::string>()), (json{{"method", "random"}, {"grid", 5}}));
  EXPECT_EQ(run_actmatch(arguments({"--methods", "random,gradcam"})).status, 0) << "more methods may come";
}

TEST_F(EvaluateTest, OtherPicturesOrBoxesUnderTheSameNamesAreRefused) {
  for (const char* folder : {"one", "two"}) fs::create_directories(tmp_ / folder);
  fs::copy_file(example("images/dotted_disc.png"), tmp_ / "one/p.png");
  fs::copy_file(example("images/two_classes.png"), tmp_ / "two/p.png");
  ASSERT_EQ(run_actmatch(arguments({"--images", tmp_ / "one"})).status, 0);
  const Outcome other = run_actmatch(arguments({"--images", tmp_ / "two"}));
  EXPECT_EQ(other.status, 1);
  expect_one_line(other);
  EXPECT_NE(other.err.find("results of 'p.png' with another content"), std::string::npos) << other.err;
  fs::copy_file(example("images/dotted_disc.png"), tmp_ / "two/p.png", fs::copy_options::overwrite_existing);
  EXPECT_NE(run_actmatch(arguments({"--images", tmp_ / "two"})).out.find("0 records made, 2 were there"), std::string::npos);

  ASSERT_EQ(run_actmatch(arguments({"--out", tmp_ / "boxes"})).status, 0);
  write(table_, contents(table_).replace(contents(table_).find("20 20 70 70"), 11, "20 20 70 71"));
  const Outcome boxes = run_actmatch(arguments({"--out", tmp_ / "boxes"}));
  expect_one_line(boxes);
  EXPECT_NE(boxes.err.find("with other boxes"), std::string::npos) << boxes.err;
}

// The report of two operating points of a model, in one table and apart.
TEST_F(EvaluateTest, TheReportKeepsSettingsApart) {
  ASSERT_EQ(run_actmatch(arguments({"--methods", "gradcam"})).status, 0);
  ASSERT_EQ(run_actmatch(arguments({"--methods", "gradcam", "--tile", "24", "--out", tmp_ / "coarse"})).status, 0);
  const Outcome report = run_actmatch({"report", run_, tmp_ / "coarse", "--csv", tmp_ / "records.csv"});
  EXPECT_EQ(report.status, 0) << report.err;
  for (const char* part : {"gradcam [tile=8]", "gradcam [tile=24]", "4 records of 2 pictures", "of 1: "})
    EXPECT_NE(report.out.find(part), std::string::npos) << part << report.out;
  EXPECT_NE(contents(tmp_ / "records.csv").find(",shapes96.onnx,tile=24,"), std::string::npos);
}

TEST_F(EvaluateTest, MetricsTellTheirOptions) {
  const json metrics = json::parse(metrics_json());
  const auto it = std::find_if(metrics.begin(), metrics.end(), [](const json& m) { return m["name"] == "sufficiency"; });
  EXPECT_EQ((*it)["options"], (json{{"step", 5}}));
  const std::string help = run_actmatch({"evaluate", "--help"}).out;
  EXPECT_NE(help.find("minimality (tile 8)"), std::string::npos) << help;
}

TEST_F(EvaluateTest, MistakesAreOneLine) {
  const auto fails = [&](const std::vector<std::string>& more, const std::string& words, int status = 1) {
    const Outcome outcome = run_actmatch(arguments(more));
    EXPECT_EQ(outcome.status, status) << outcome.err;
    expect_one_line(outcome);
    EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(run_)) << words;
  };
  fails({"--methods", "gradcam,gradcamm"}, "no method 'gradcamm'");
  fails({"--methods", "random,random"}, "named twice");
  fails({"--metrics", "areaa"}, "no metric 'areaa'");
  fails({"--images", tmp_ / "none.csv"}, "none.csv");
  fails({"--shard", "3/2"}, "--shard '3/2'");
  write(tmp_ / "sweep.json", R"({"each": {"weights.nonsense": [1]}})");
  fails({"--methods", "activation-matching", "--sweep", tmp_ / "sweep.json"}, "nonsense");
  write(tmp_ / "sweep.json", R"({"method": "rise"})");
  fails({"--sweep", tmp_ / "sweep.json"}, "not among the methods");
  write(tmp_ / "sweep.json", R"({"method": "random", "each": {"gird": [3]}})");
  fails({"--sweep", tmp_ / "sweep.json"}, "'gird' is not a key");
  write(tmp_ / "mine.json", R"({"method": "rise", "mask": 3})");
  fails({"--methods", "gradcam,rise:" + tmp_ / "mine.json"}, "'mask' is not a key");
  write(tmp_ / "sweep.json", R"({"grid": {"steps": [3, 5]}})");
  fails({"--methods", "activation-matching", "--sweep", tmp_ / "sweep.json", "--steps", "7"}, "'steps', which --steps sets");
  write(tmp_ / "sweep.json", R"({"each": {"generator.kind": ["unet"]}})");
  fails({"--methods", "activation-matching", "--sweep", tmp_ / "sweep.json", "--generator", "grid"},
        "'generator.kind', which --generator sets");
  write(tmp_ / "classes.csv", "image,class\n" + example("images/dotted_disc.png") + ",dotted dics\n");
  fails({"--images", tmp_ / "classes.csv"}, "there is no class 'dotted dics'");
  ASSERT_EQ(run_actmatch(arguments()).status, 0);
  const Outcome other = run_actmatch(arguments({"--tau", "0.7"}));
  EXPECT_EQ(other.status, 1);
  expect_one_line(other);
  EXPECT_NE(other.err.find("another tau (0.5, now 0.7)"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace actmatch::e2e
