// `actmatch explain` on the shipped classifier: the files, their content, and what the flags do.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "engine/image/decode.h"
#include "engine/image/npy.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

const std::vector<std::string> kFiles{"explanation.png", "mask.png", "overlay.png", "result.json", "soft_mask.npy"};

std::vector<std::string> in_folder(const std::string& folder) {
  std::vector<std::string> files;
  for (const std::string& f : kFiles) files.push_back(folder + "/" + f);
  return files;
}

TEST(Explain, WritesFilesThatAgreeWithTheRecord) {
  const TemporaryFolder tmp;
  const Outcome run = run_actmatch(quick_explain(example("images/striped_star.png"), tmp / "out"));
  ASSERT_EQ(run.status, 0) << run.err;
  std::vector<std::string> expected = in_folder("striped_star");
  expected.push_back("index.html");
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(files_under(tmp / "out"), expected);

  const auto record = json_of(tmp / "out/striped_star/result.json");
  const std::set<std::string> keys{"schema_version",
                                   "model",
                                   "model_options",
                                   "head",
                                   "image",
                                   "device",
                                   "precision",
                                   "recipe",
                                   "generator",
                                   "seed",
                                   "steps",
                                   "passes_per_step",
                                   "class_index",
                                   "class_name",
                                   "p_x",
                                   "p_e",
                                   "label_kept",
                                   "operating_point",
                                   "feasible",
                                   "area",
                                   "background_stability",
                                   "fresh_stability",
                                   "backgrounds",
                                   "necessity",
                                   "p_complement",
                                   "minimal_tile",
                                   "pruned_from_area",
                                   "preprocess",
                                   "seconds",
                                   "memory_bytes",
                                   "losses"};
  for (const std::string& key : keys) EXPECT_TRUE(record.contains(key)) << key;
  EXPECT_EQ(record["schema_version"], 1);
  EXPECT_EQ(record["model"], fs::weakly_canonical(shapes_model()).string());
  EXPECT_TRUE(record["model_options"].empty()) << "nothing was chosen";
  EXPECT_EQ(record["head"], "softmax");
  EXPECT_EQ(record["precision"], "fp32");
  EXPECT_EQ(record["device"], "cpu");
  EXPECT_EQ(record["recipe"], "default");
  EXPECT_EQ(record["operating_point"], "sufficient");
  EXPECT_EQ(record["steps"], 30);
  EXPECT_EQ(record["seed"], 0);
  EXPECT_EQ(record["backgrounds"], 8);
  EXPECT_EQ(record["class_index"], 6);
  EXPECT_EQ(record["class_name"], "striped star");
  EXPECT_EQ(record["feasible"], true);
  EXPECT_EQ(record["label_kept"], true);
  EXPECT_EQ(record["minimal_tile"], 8);
  EXPECT_GE(record["p_e"].get<double>(), 0.5 * record["p_x"].get<double>());
  EXPECT_LE(record["area"].get<double>(), record["pruned_from_area"].get<double>());
  for (const char* part : {"total", "optimise", "prune"}) EXPECT_GE(record["seconds"][part].get<double>(), 0.0) << part;
  EXPECT_GT(record["memory_bytes"].get<size_t>(), 0u);
  EXPECT_EQ(record["losses"]["total"].size(), 30u);

  const Image mask = read_image(tmp / "out/striped_star/mask.png");
  ASSERT_EQ(mask.width, 96);
  ASSERT_EQ(mask.height, 96);
  int64_t set = 0;
  for (size_t i = 0; i < mask.rgb.size(); i += 3) {
    ASSERT_TRUE(mask.rgb[i] == 0 || mask.rgb[i] == 255);
    set += mask.rgb[i] == 255;
  }
  EXPECT_DOUBLE_EQ(static_cast<double>(set) / (96 * 96), record["area"].get<double>());
  const Tensor soft = read_npy(tmp / "out/striped_star/soft_mask.npy");
  EXPECT_EQ(soft.shape(), (Shape{96, 96}));
  for (float v : soft.view<float>()) ASSERT_TRUE(v >= 0.0f && v <= 1.0f);
  // The explanation is the picture where the mask is set, and nothing of it elsewhere.
  const Image photo = read_image(example("images/striped_star.png")), shown = read_image(tmp / "out/striped_star/explanation.png");
  for (size_t i = 0; i < mask.rgb.size(); ++i) {
    if (mask.rgb[i] == 255) {
      ASSERT_EQ(shown.rgb[i], photo.rgb[i]);
    }
  }
  // The mean colour, (123.7, 116.3, 103.5), stands where the mask is not.
  const auto unset = static_cast<size_t>(std::find(mask.rgb.begin(), mask.rgb.end(), 0) - mask.rgb.begin());
  ASSERT_LT(unset, mask.rgb.size());
  EXPECT_EQ(shown.rgb[unset], 124);
  EXPECT_EQ(shown.rgb[unset + 1], 116);
  EXPECT_NEAR(shown.rgb[unset + 2], 104, 1);  // 103.5 before rounding

  const std::string page = contents(tmp / "out/index.html");
  EXPECT_NE(page.find("striped_star.png"), std::string::npos);
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_EQ(page.find("http://www.example"), std::string::npos);
  EXPECT_NE(run.out.find("striped_star.png"), std::string::npos);
  EXPECT_NE(run.out.find("index.html"), std::string::npos);
}

TEST(Explain, SameSeedSameMask) {
  const TemporaryFolder tmp;
  for (const char* name : {"a", "b"})
    ASSERT_EQ(run_actmatch(quick_explain(example("images/dotted_disc.png"), tmp / name, {"--seed", "7", "--quiet"})).status, 0);
  for (const char* file : {"mask.png", "soft_mask.npy"})
    EXPECT_EQ(contents(tmp / "a/dotted_disc/" + file), contents(tmp / "b/dotted_disc/" + file)) << file;
  EXPECT_EQ(json_of(tmp / "a/dotted_disc/result.json")["seed"], 7);
}

TEST(Explain, ClassByNameAndByIndex) {
  const TemporaryFolder tmp;
  const std::string image = example("images/two_classes.png");
  ASSERT_EQ(run_actmatch(quick_explain(image, tmp / "name", {"--class", "Checkered Sq", "--quiet"})).status, 0);
  ASSERT_EQ(run_actmatch(quick_explain(image, tmp / "index", {"--class", "2", "--quiet"})).status, 0);
  const auto record = json_of(tmp / "name/two_classes/result.json");
  EXPECT_EQ(record["class_index"], 2);
  EXPECT_EQ(record["class_name"], "checkered square");
  EXPECT_EQ(contents(tmp / "name/two_classes/mask.png"), contents(tmp / "index/two_classes/mask.png"));
}

TEST(Explain, SeveralInstancesDoNotOverlap) {
  const TemporaryFolder tmp;
  const Outcome run = run_actmatch(quick_explain(example("images/two_of_one_class.png"), tmp / "out", {"--instances", "2"}));
  ASSERT_EQ(run.status, 0) << run.err;
  std::vector<std::string> expected = in_folder("two_of_one_class");
  for (const std::string& f : in_folder("two_of_one_class/instance_2")) expected.push_back(f);
  expected.push_back("index.html");
  std::sort(expected.begin(), expected.end());
  ASSERT_EQ(files_under(tmp / "out"), expected) << run.out;
  const Image first = read_image(tmp / "out/two_of_one_class/mask.png"),
              second = read_image(tmp / "out/two_of_one_class/instance_2/mask.png");
  for (size_t i = 0; i < first.rgb.size(); ++i) ASSERT_FALSE(first.rgb[i] && second.rgb[i]) << i;
  EXPECT_EQ(json_of(tmp / "out/two_of_one_class/instance_2/result.json")["instance"], 2);
  EXPECT_EQ(json_of(tmp / "out/two_of_one_class/result.json")["recipe"], "one-mask") << "the default would mark both objects at once";
  EXPECT_EQ(run_actmatch({"verify", tmp / "out/two_of_one_class/instance_2/result.json"}).status, 0);
  // Explaining again with one instance takes the second one away.
  ASSERT_EQ(run_actmatch(quick_explain(example("images/two_of_one_class.png"), tmp / "out", {"--quiet"})).status, 0);
  EXPECT_FALSE(fs::exists(tmp / "out/two_of_one_class/instance_2"));
}

TEST(Explain, PicturesOfOneNameAndFolders) {
  const TemporaryFolder tmp;
  fs::create_directories(tmp / "in/more");
  fs::copy(example("images/striped_star.png"), tmp / "in/pic.png");
  fs::copy(example("images/dotted_disc.png"), tmp / "in/more/pic.png");
  write(tmp / "in/notes.txt", "not a picture, and not taken for one");
  const Outcome run = run_actmatch(quick_explain(tmp / "in", tmp / "out", {tmp / "in/more/pic.png", "--quiet"}));
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out + run.err, "");
  EXPECT_EQ(json_of(tmp / "out/pic/result.json")["class_index"], 6);
  EXPECT_EQ(json_of(tmp / "out/pic_2/result.json")["class_index"], 1);
}

TEST(Explain, OneBadPictureDoesNotStopTheOthers) {
  const TemporaryFolder tmp;
  write(tmp / "bad.png", "this is no picture");
  const Outcome run = run_actmatch(quick_explain(tmp / "bad.png", tmp / "out", {example("images/dotted_disc.png"), "--quiet"}));
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("bad.png"), std::string::npos);
  EXPECT_TRUE(fs::exists(tmp / "out/dotted_disc/result.json"));
  EXPECT_TRUE(fs::exists(tmp / "out/index.html"));
  EXPECT_FALSE(fs::exists(tmp / "out/bad"));
}

TEST(Explain, RobustAndTheOtherFlagsReachTheRecord) {
  const TemporaryFolder tmp;
  const Outcome run = run_actmatch(quick_explain(
      example("images/striped_cross.png"), tmp / "out",
      {"--robust", "--tau", "0.4", "--rho", "0.75", "--tile", "16", "--generator", "csae", "--recipe", "paper", "--resize-ratio", "1.5"}));
  ASSERT_EQ(run.status, 0) << run.err;
  const auto record = json_of(tmp / "out/striped_cross/result.json");
  EXPECT_EQ(record["operating_point"], "robust");
  EXPECT_EQ(record["tau"], 0.4);
  EXPECT_EQ(record["rho"], 0.75);
  EXPECT_EQ(record["minimal_tile"], 16);
  EXPECT_EQ(record["generator"], "csae");
  EXPECT_EQ(record["recipe"], "paper");
  EXPECT_EQ(record["preprocess"]["resize_ratio"], 1.5);
  EXPECT_EQ(record["feasible"], true);
  EXPECT_GE(record["background_stability"].get<double>(), 0.75);
  const Outcome check = run_actmatch({"verify", tmp / "out/striped_cross/result.json"});
  EXPECT_EQ(check.status, 0) << check.out << check.err;
}

// Without a sidecar the preprocessing is a guess, and the user is told so.
TEST(Explain, SaysWhenItGuessesThePreprocessing) {
  const TemporaryFolder tmp;
  fs::copy(shapes_model(), tmp / "bare.onnx");
  const Outcome run = run_actmatch(
      {"explain", tmp / "bare.onnx", example("images/dotted_disc.png"), "--out", tmp / "out", "--steps", "2", "--backgrounds", "2"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.err.rfind("actmatch: no --preprocess given", 0), 0u) << run.err;
  const auto record = json_of(tmp / "out/dotted_disc/result.json");
  EXPECT_TRUE(record["class_name"].is_null());
}

// With threads that spin for long, two of them beside programs that keep every processor busy took 50 to 100 s; now 1 to 2.
TEST(Explain, ThreadsOnABusyMachine) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "has one processor";
  const TemporaryFolder tmp;
  std::atomic<bool> done{false};
  std::vector<std::thread> others;
  for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i)
    others.emplace_back([&] {
      while (!done) continue;
    });
  const auto start = std::chrono::steady_clock::now();
  Outcome run;
  {
    const Environment threads("OMP_NUM_THREADS", "2");
    run = run_actmatch({"explain", shapes_model(), example("images/striped_star.png"), "--out", tmp / "out", "--threads", "2"});
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  done = true;
  for (std::thread& other : others) other.join();
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_LT(seconds.count(), 25);
}

TEST(Explain, InterruptLeavesNothingHalfDone) {
  const TemporaryFolder tmp;
  const Outcome run =
      run_actmatch({"explain", shapes_model(), example("images/dotted_disc.png"), "--out", tmp / "out", "--steps", "1000000"}, "optimise");
  EXPECT_EQ(run.status, 130);
  EXPECT_EQ(run.out, "");
  EXPECT_NE(run.err.find("actmatch: stopped; 0 of 1 pictures were finished"), std::string::npos) << run.err;
  EXPECT_FALSE(fs::exists(tmp / "out")) << "a folder with nothing in it was left behind";
}

TEST(Explain, InterruptKeepsWhatIsFinished) {
  const TemporaryFolder tmp;
  const Outcome run =
      run_actmatch(quick_explain(example("images/dotted_disc.png"), tmp / "out", {example("images/striped_star.png")}), "[2/2]");
  EXPECT_EQ(run.status, 130);
  EXPECT_NE(run.err.find("actmatch: stopped; 1 of 2 pictures were finished"), std::string::npos) << run.err;
  std::vector<std::string> expected = in_folder("dotted_disc");
  expected.push_back("index.html");
  EXPECT_EQ(files_under(tmp / "out"), expected);
  EXPECT_EQ(run_actmatch({"verify", tmp / "out/dotted_disc/result.json", "--quiet"}).status, 0);
}

}  // namespace
}  // namespace actmatch::e2e
