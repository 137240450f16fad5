// Many pictures through the C++ interface: the order of results, stopping, little memory, lost devices.
#include <actmatch/actmatch.hpp>
#include <atomic>
#include <map>
#include <thread>

#include "engine/image/decode.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

std::string image(const std::string& name) { return example("images/" + name + ".png"); }

class BatchApi : public testing::Test {
 protected:
  BatchApi() : explainer_(model_, options()) {
    for (const char* name : {"dotted_disc", "striped_star", "checkered_ring", "striped_cross", "dotted_star"})
      pictures_.push_back({image(name), {}, 0, 0, ""});
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
