// Many pictures: several at once, with the results of single ones; what goes wrong with one, and what ends them all.
#include <sys/resource.h>

#include <csignal>

#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

const std::vector<std::string> kNames{"dotted_disc", "striped_star", "checkered_ring", "striped_cross", "dotted_star"};

std::string image(const std::string& name) { return example("images/" + name + ".png"); }

std::vector<std::string> explain(const std::string& out, const std::vector<std::string>& images, std::vector<std::string> more = {}) {
  more.insert(more.begin(), images.begin() + 1, images.end());
  more.insert(more.end(), {"--tile", "24"});  // few tiles are quickly tried
  return quick_explain(images.front(), out, more);
}

std::vector<std::string> images() {
  std::vector<std::string> paths;
  for (const std::string& name : kNames) paths.push_back(image(name));
  return paths;
}

void expect_same_masks(const std::string& a, const std::string& b) {
  for (const std::string& name : kNames)
    for (const char* file : {"mask.png", "soft_mask.npy", "overlay.png"})
      EXPECT_TRUE(contents(a + "/" + name + "/" + file) == contents(b + "/" + name + "/" + file)) << name << " " << file;
}

TEST(Batch, GivesWhatSinglePicturesGive) {
  const TemporaryFolder tmp;
  const Outcome single = run_actmatch(explain(tmp / "single", images(), {"--batch", "1"}));
  ASSERT_EQ(single.status, 0) << single.err;
  for (const char* batch : {"2", "5", "64", "auto"}) {
    SCOPED_TRACE(batch);
    const std::string out = tmp / batch;
    const Outcome run = run_actmatch(explain(out, images(), {"--batch", batch}));
    ASSERT_EQ(run.status, 0) << run.err;
    expect_same_masks(tmp / "single", out);
    EXPECT_EQ(files_under(out), files_under(tmp / "single"));
    for (const std::string& name : kNames) {
      const auto record = json_of(out + "/" + name + "/result.json"), want = json_of((tmp / "single/") + name + "/result.json");
      for (const char* key : {"class_index", "p_x", "p_e", "area", "background_stability", "fresh_stability", "minimal_tile", "losses"})
        EXPECT_EQ(record[key], want[key]) << key;
      EXPECT_EQ(want["batch"], 1);
    }
  }
  EXPECT_EQ(json_of(tmp / "2/dotted_disc/result.json")["batch"], 2);
  EXPECT_EQ(json_of(tmp / "2/dotted_star/result.json")["batch"], 1) << "the fifth is left alone";
  EXPECT_EQ(json_of(tmp / "64/dotted_star/result.json")["batch"], 5);
  EXPECT_EQ(json_of(tmp / "auto/dotted_star/result.json")["batch"], 1) << "a CPU takes one after the other";
  EXPECT_EQ(run_actmatch({"verify", tmp / "5/checkered_ring/result.json", "--quiet"}).status, 0);
}

// The table, and the page, have the pictures in the order in which they were given.
TEST(Batch, KeepsTheOrder) {
  const TemporaryFolder tmp;
  const Outcome run = run_actmatch(explain(tmp / "out", images(), {"--batch", "3"}));
  ASSERT_EQ(run.status, 0) << run.err;
  size_t in_table = 0, in_page = 0;
  const std::string page = contents(tmp / "out/index.html");
  for (const std::string& name : kNames) {
    const size_t row = run.out.find(name + ".png"), item = page.find(name + ".png");
    EXPECT_TRUE(row != std::string::npos && row > in_table) << run.out;
    EXPECT_TRUE(item != std::string::npos && item > in_page) << name;
    in_table = row;
    in_page = item;
  }
  EXPECT_NE(run.err.find("[1/5] dotted_disc.png"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("[4/5] striped_cross.png"), std::string::npos) << "the second batch: " << run.err;
}

// The seconds of a picture are its share: together they are no more than what the run took.
TEST(Batch, SecondsAreShares) {
  const TemporaryFolder tmp;
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(run_actmatch(explain(tmp / "out", images(), {"--batch", "5", "--quiet"})).status, 0);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double total = 0, optimise = -1;
  for (const std::string& name : kNames) {
    const auto seconds = json_of((tmp / "out/") + name + "/result.json")["seconds"];
    total += seconds["total"].get<double>();
    if (optimise >= 0) {
      EXPECT_DOUBLE_EQ(seconds["optimise"].get<double>(), optimise) << "one step serves all alike";
    }
    optimise = seconds["optimise"].get<double>();
    EXPECT_GE(seconds["total"].get<double>(), 0.999 * (optimise + seconds["prune"].get<double>()));
  }
  EXPECT_GT(total, 0.0);
  EXPECT_LT(total, wall);
}

TEST(Batch, APictureThatCannotBeReadDoesNotSpoilItsBatch) {
  const TemporaryFolder tmp;
  ASSERT_EQ(run_actmatch(explain(tmp / "single", images(), {"--batch", "1", "--quiet"})).status, 0);
  write(tmp / "text.png", "this is no picture");
  const std::string whole = contents(image("dotted_disc"));
  write(tmp / "cut.png", whole.substr(0, whole.size() / 2));
  std::vector<std::string> paths = images();
  paths.insert(paths.begin(), tmp / "text.png");
  paths.insert(paths.begin() + 3, tmp / "cut.png");
  paths.push_back(tmp / "missing.png");
  for (const char* batch : {"1", "3", "8"}) {
    SCOPED_TRACE(batch);
    const Outcome run = run_actmatch(explain(tmp / batch, paths, {"--batch", batch, "--quiet"}));
    EXPECT_EQ(run.status, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 3) << run.err;
    const size_t text = run.err.find("text.png"), cut = run.err.find("cut.png"), missing = run.err.find("missing.png");
    EXPECT_TRUE(text < cut && cut < missing && missing != std::string::npos) << run.err;
    expect_same_masks(tmp / "single", tmp / batch);
    for (const char* name : {"text", "cut", "missing"}) EXPECT_FALSE(fs::exists(tmp / batch + "/" + name));
  }
}

TEST(Batch, NothingButBadPictures) {
  const TemporaryFolder tmp;
  write(tmp / "text.png", "this is no picture");
  const Outcome run = run_actmatch(explain(tmp / "out", {tmp / "text.png", tmp / "text.png", tmp / "none.png"}, {"--batch", "2"}));
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 3) << run.err;
  EXPECT_FALSE(fs::exists(tmp / "out"));
}

// What fits a memory is worked out for a recipe with one pass a step.
const std::vector<std::string> kOnePass{"--quiet", "--recipe", "one-mask"};

// A GPU is filled as far as its memory goes.
TEST(Batch, IsChosenFromTheMemoryOfTheDevice) {
  const TemporaryFolder tmp;
  ASSERT_EQ(run_actmatch(explain(tmp / "cpu", images(), kOnePass)).status, 0);
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu"));
  const auto batch_with = [&](const std::string& bytes, const std::string& preferred) {
    const Environment memory("ACTMATCH_FAKE_GPU_BYTES", bytes), device("ACTMATCH_FAKE_GPU_BATCH", preferred);
    const std::string out = tmp / (bytes + "_" + preferred);
    const Outcome run = run_actmatch(explain(out, images(), kOnePass));
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(run.err, "") << "nothing ran out";
    expect_same_masks(tmp / "cpu", out);
    return json_of(out + "/dotted_disc/result.json")["batch"].get<int>();
  };
  EXPECT_EQ(batch_with("1000000000", "16"), 5);
  EXPECT_EQ(batch_with("1000000000", "4"), 3) << "three and two rather than four and one";
  EXPECT_EQ(batch_with("1000000000", "1"), 1);
  EXPECT_EQ(batch_with("45000000", "16"), 1);
  const int some = batch_with("70000000", "16");
  EXPECT_GT(some, 1);
  EXPECT_LT(some, 5);
}

TEST(Batch, OutOfMemoryHalvesItAndGoesOn) {
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu")), device("ACTMATCH_FAKE_GPU_BATCH", "1");
  for (const auto& [recipe, bytes] : {std::pair{"one-mask", "20000000"}, {"default", "40000000"}}) {
    SCOPED_TRACE(recipe);
    const TemporaryFolder tmp;
    ASSERT_EQ(run_actmatch(explain(tmp / "cpu", images(), {"--quiet", "--recipe", recipe})).status, 0);
    const Environment memory("ACTMATCH_FAKE_GPU_BYTES", bytes);
    const Outcome run = run_actmatch(explain(tmp / "gpu", images(), {"--batch", "5", "--recipe", recipe}));
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_NE(run.err.find("actmatch: the device's memory does not hold 5 pictures at once; going on with 2\n"), std::string::npos)
        << run.err;
    expect_same_masks(tmp / "cpu", tmp / "gpu");
    EXPECT_LE(json_of(tmp / "gpu/dotted_disc/result.json")["batch"].get<int>(), 2);
    EXPECT_NE(run.out.find("5 of 5 pictures explained"), std::string::npos) << run.out;
  }
}

TEST(Batch, WhereNotEvenOneFitsTheRunEnds) {
  const TemporaryFolder tmp;
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu"));
  const Environment memory("ACTMATCH_FAKE_GPU_BYTES", "11000000"), device("ACTMATCH_FAKE_GPU_BATCH", "1");  // too little for the checks
  const Outcome run = run_actmatch(explain(tmp / "out", images(), {"--batch", "2", "--quiet"}));
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("memory"), std::string::npos) << run.err;
  EXPECT_FALSE(fs::exists(tmp / "out"));
}

// Each picture's files are written or not written as a whole, also when the disk is full.
TEST(Batch, AFullDiskIsSaidForEachPicture) {
  const TemporaryFolder tmp;
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);  // inherited by the program, which then sees EFBIG
  const struct rlimit limit { 30000, before.rlim_max };    // the pictures are smaller, soft_mask.npy is not
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Outcome run = run_actmatch(explain(tmp / "out", images(), {"--batch", "3", "--quiet"}));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 5) << run.err;
  for (const std::string& name : kNames) EXPECT_NE(run.err.find(name + "/soft_mask.npy"), std::string::npos) << run.err;
  for (const std::string& file : files_under(tmp / "out")) ADD_FAILURE() << file << " was left";
}

TEST(Batch, InterruptWhileABatchRunsLeavesNothing) {
  const TemporaryFolder tmp;
  std::vector<std::string> words{"explain", shapes_model()};
  for (const std::string& path : images()) words.push_back(path);
  words.insert(words.end(), {"--out", tmp / "out", "--steps", "1000000", "--batch", "5", "--threads", "1"});
  const Outcome run = run_actmatch(words, "optimise");
  EXPECT_EQ(run.status, 130);
  EXPECT_NE(run.err.find("actmatch: stopped; 0 of 5 pictures were finished;"), std::string::npos) << run.err;
  EXPECT_FALSE(fs::exists(tmp / "out"));
}

TEST(Batch, InterruptKeepsTheBatchesThatAreFinished) {
  const TemporaryFolder tmp;
  const Outcome run = run_actmatch(explain(tmp / "out", images(), {"--batch", "2"}), "[3/5]");
  EXPECT_EQ(run.status, 130);
  EXPECT_NE(run.err.find("actmatch: stopped; 2 of 5 pictures were finished and lie complete"), std::string::npos) << run.err;
  for (size_t i = 0; i < kNames.size(); ++i) {
    const std::string record = (tmp / "out/") + kNames[i] + "/result.json";
    EXPECT_EQ(fs::exists(record), i < 2) << record;
    if (i < 2) {
      EXPECT_EQ(run_actmatch({"verify", record, "--quiet"}).status, 0);
    }
  }
  EXPECT_TRUE(fs::exists(tmp / "out/index.html"));
}

}  // namespace
}  // namespace actmatch::e2e
