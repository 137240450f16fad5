// Many pictures: several at once, with the results of single ones; what goes wrong with one, and what ends them all.
#include <sys/resource.h>

#include <actmatch/actmatch.hpp>
#include <atomic>
#include <csignal>
#include <map>
#include <thread>

#include "engine/image/decode.h"
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

// --- the C++ interface

class BatchApi : public testing::Test {
 protected:
  BatchApi() : explainer_(model_, options()) {
    for (const std::string& name : kNames) pictures_.push_back({image(name), {}, 0, 0, ""});
  }
  static ExplainOptions options() {
    ExplainOptions o;
    o.recipe = "one-mask";
    o.steps = 10;
    o.backgrounds = 4;
    return o;
  }
  Model model_{shapes_model(), "cpu", 1};
  Explainer explainer_;
  std::vector<Picture> pictures_;
};

TEST_F(BatchApi, ResultsArriveInOrderOnAnotherThread) {
  std::vector<size_t> order;
  std::vector<std::vector<uint8_t>> masks;
  const auto caller = std::this_thread::get_id();
  explainer_.run_batch(
      pictures_,
      [&](BatchItem item) {
        EXPECT_NE(std::this_thread::get_id(), caller);
        EXPECT_FALSE(item.failure);
        order.push_back(item.index);
        const auto e = item.result->explanation();
        masks.emplace_back(e.mask, e.mask + 96 * 96);
        return true;
      },
      2);
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4}));
  for (size_t i = 0; i < masks.size(); ++i) {
    const Result alone = explainer_.run(pictures_[i].path);
    const auto e = alone.explanation();
    EXPECT_EQ(masks[i], std::vector<uint8_t>(e.mask, e.mask + 96 * 96)) << i;
  }
}

TEST_F(BatchApi, FilesAndPixelsMix) {
  const Image pixels = read_image(pictures_[1].path);
  pictures_[1] = {"", pixels.rgb, pixels.width, pixels.height, "camera"};
  const TemporaryFolder tmp;
  write(tmp / "bad.png", "no picture");
  pictures_[2].path = tmp / "bad.png";
  std::map<size_t, std::string> failures;
  explainer_.run_batch(
      pictures_,
      [&](BatchItem item) {
        if (item.failure) {
          EXPECT_FALSE(item.result);
          EXPECT_EQ(item.failure->status(), ACTMATCH_FORMAT);
          failures[item.index] = item.failure->what();
        } else {
          item.result->write(tmp / std::to_string(item.index));
        }
        return true;
      },
      4);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_NE(failures[2].find("bad.png"), std::string::npos) << failures[2];
  EXPECT_TRUE(fs::exists(tmp / "1/image.png"));
  for (const Claim& claim : verify(tmp / "1/result.json")) EXPECT_TRUE(claim.ok) << claim.name;
  EXPECT_FALSE(fs::exists(tmp / "2"));
  EXPECT_TRUE(fs::exists(tmp / "4/result.json"));
  pictures_[1].width = 1;
  EXPECT_THROW(explainer_.run_batch(pictures_, [](BatchItem) { return true; }), Failure);
}

TEST_F(BatchApi, ProgressNamesThePicture) {
  std::map<size_t, int64_t> steps;
  explainer_.run_batch(
      pictures_, [](BatchItem) { return true; }, 2,
      [&](const Progress& p) {
        if (p.terms > 0) {
          EXPECT_EQ(p.step, ++steps[p.picture]) << "each step once, for each picture";
        }
        return true;
      });
  EXPECT_EQ(steps, (std::map<size_t, int64_t>{{0, 10}, {1, 10}, {2, 10}, {3, 10}, {4, 10}}));
}

TEST_F(BatchApi, EitherCallbackCanStopIt) {
  const auto status_of_run = [&](const ItemFunction& receive, const ProgressFunction& progress) {
    try {
      explainer_.run_batch(pictures_, receive, 2, progress);
    } catch (const Failure& e) {
      return e.status();
    }
    return ACTMATCH_OK;
  };
  std::vector<size_t> got;
  const auto take = [&](BatchItem item) {
    got.push_back(item.index);
    return true;
  };
  // What was finished before the stop arrives all the same.
  EXPECT_EQ(status_of_run(take, [](const Progress& p) { return p.picture < 3; }), ACTMATCH_CANCELLED);
  EXPECT_EQ(got, (std::vector<size_t>{0, 1}));
  got.clear();
  EXPECT_EQ(status_of_run([&](BatchItem item) { return take(std::move(item)) && got.size() < 2; }, {}), ACTMATCH_CANCELLED);
  EXPECT_EQ(got, (std::vector<size_t>{0, 1}));
  struct Mine {};
  EXPECT_THROW(explainer_.run_batch(
                   pictures_, [](BatchItem) -> bool { throw Mine(); }, 2),
               Mine);
  EXPECT_THROW(explainer_.run_batch(pictures_, take, 2, [](const Progress&) -> bool { throw Mine(); }), Mine);
  got.clear();
  EXPECT_EQ(status_of_run(take, {}), ACTMATCH_OK) << "and the explainer still works";
  EXPECT_EQ(got.size(), 5u);
}

// While a result is being received the device goes on with later pictures.
TEST_F(BatchApi, ReceivingOverlapsWithTheDevice) {
  std::atomic<size_t> furthest = 0;
  bool overlapped = false;
  explainer_.run_batch(
      pictures_,
      [&](BatchItem item) {
        if (item.index > 0) return true;
        for (int i = 0; i < 20000 && furthest < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        overlapped = furthest >= 2;
        return true;
      },
      1,
      [&](const Progress& p) {
        furthest = std::max<size_t>(furthest, p.picture);
        return true;
      });
  EXPECT_TRUE(overlapped) << "the third picture is worked on while the first is still being received";
}

TEST_F(BatchApi, OutOfMemoryIsNoticed) {
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu"));
  const Environment memory("ACTMATCH_FAKE_GPU_BYTES", "24000000"), device("ACTMATCH_FAKE_GPU_BATCH", "1");
  std::vector<std::string> notices;
  ModelOptions on_gpu;
  on_gpu.device = "cuda";
  on_gpu.notice = [&](const std::string& text) { notices.push_back(text); };
  std::unique_ptr<Explainer> explainer;
  {
    const Model model(shapes_model(), on_gpu);
    explainer = std::make_unique<Explainer>(model, options());
  }  // the explainer keeps model and listener alive
  size_t got = 0;
  explainer->run_batch(
      pictures_,
      [&](BatchItem item) {
        got += item.result.has_value();
        return true;
      },
      5);
  EXPECT_EQ(got, 5u);
  ASSERT_FALSE(notices.empty());
  EXPECT_NE(notices[0].find("5 pictures at once; going on with 2"), std::string::npos) << notices[0];
}

// A device that fails ends the run with its reason; what was finished before has arrived.
TEST_F(BatchApi, ALostDeviceEndsTheRun) {
  const TemporaryFolder tmp;
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu")), lost("ACTMATCH_FAKE_GPU_LOST", tmp / "lost");
  Explainer explainer(Model(shapes_model(), "cuda"), options());
  std::vector<size_t> got;
  try {
    explainer.run_batch(
        pictures_,
        [&](BatchItem item) {
          EXPECT_FALSE(item.failure);
          got.push_back(item.index);
          return true;
        },
        1,
        [&](const Progress& p) {
          if (p.picture == 2 && p.steps > 0) write(tmp / "lost", "");
          return true;
        });
    ADD_FAILURE() << "nothing was said";
  } catch (const Failure& e) {
    EXPECT_NE(std::string(e.what()).find("device is lost"), std::string::npos) << e.what();
  }
  EXPECT_EQ(got, (std::vector<size_t>{0, 1}));
}

// Single pictures, too, get by with smaller checks.
TEST_F(BatchApi, ASinglePictureGetsByWithLittleMemory) {
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu"));
  const Environment memory("ACTMATCH_FAKE_GPU_BYTES", "24000000"), device("ACTMATCH_FAKE_GPU_BATCH", "16");
  std::vector<std::string> notices;
  ModelOptions on_gpu;
  on_gpu.notice = [&](const std::string& text) { notices.push_back(text); };
  const Result result = Explainer(Model(shapes_model(), on_gpu), options()).run(pictures_[0].path);
  ASSERT_FALSE(notices.empty());
  EXPECT_NE(notices[0].find("16 masked images at once; going on with 8"), std::string::npos) << notices[0];
  const Result with_plenty = explainer_.run(pictures_[0].path);
  const auto e = result.explanation(), want = with_plenty.explanation();
  EXPECT_TRUE(std::equal(e.mask, e.mask + 96 * 96, want.mask));
}

TEST_F(BatchApi, Refusals) {
  const auto nothing = [](BatchItem) { return true; };
  EXPECT_THROW(explainer_.run_batch(pictures_, nothing, -1), Failure);
  EXPECT_THROW(explainer_.run_batch(pictures_, nothing, 5000), Failure);
  explainer_.run_batch({}, nothing);
  const auto status = [&](auto&& change) {
    actmatch_picture list[2] = {{sizeof(actmatch_picture), pictures_[0].path.c_str(), nullptr, 0, 0, nullptr},
                                {sizeof(actmatch_picture), pictures_[1].path.c_str(), nullptr, 0, 0, nullptr}};
    change(list);
    const auto receive = [](size_t, actmatch_result* result, actmatch_status, const char*, void*) {
      actmatch_result_free(result);
      return 0;
    };
    return actmatch_explainer_run_batch(explainer_.get(), list, 2, nullptr, nullptr, receive, nullptr);
  };
  EXPECT_EQ(status([](auto&) {}), ACTMATCH_OK);
  EXPECT_EQ(status([](auto& p) { p[0].struct_size = 0; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(status([](auto& p) { p[1].struct_size = 24; }), ACTMATCH_INVALID_ARGUMENT);
  EXPECT_EQ(status([](auto& p) { p[1].path = nullptr; }), ACTMATCH_INVALID_ARGUMENT) << "neither a file nor pixels";
  EXPECT_EQ(actmatch_explainer_run_batch(explainer_.get(), nullptr, 1, nullptr, nullptr, nullptr, nullptr), ACTMATCH_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace actmatch::e2e
