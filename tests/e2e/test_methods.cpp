// `explain --method`: every way of ranking pixels through the same command, recorded and upheld by `verify`.
#include "engine/image/npy.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

class Methods : public testing::Test {
 protected:
  Outcome explain(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"explain", shapes_model(), example("images/dotted_disc.png"), "--out", tmp / "out", "--tile", "24"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_actmatch(arguments);
  }
  std::string result(const std::string& name = "result.json") const { return tmp / ("out/dotted_disc/" + name); }
  nlohmann::json record() const { return nlohmann::json::parse(contents(result())); }
  TemporaryFolder tmp;
};

TEST_F(Methods, TheMapIsAClaimThatVerifyUpholds) {
  const Outcome run = explain({"--method", "gradcam"});
  ASSERT_EQ(run.status, 0) << run.err;
  const auto json = record();
  EXPECT_EQ(json["method"], "gradcam");
  EXPECT_EQ(json["recipe"], "default");
  EXPECT_TRUE(json["generator"].is_null());
  EXPECT_EQ(json["options"]["layer"], "");
  EXPECT_EQ(json["cost"]["forward"], 1);
  EXPECT_EQ(json["cost"]["backward"], 1);
  EXPECT_TRUE(json["feasible"]);
  const Outcome good = run_actmatch({"verify", result()});
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  EXPECT_NE(good.out.find("soft_mask"), std::string::npos);
  EXPECT_NE(contents(tmp / "out/index.html").find("gradcam"), std::string::npos);
  // Another method's map under this one's name.
  auto forged = json;
  forged["method"] = "gradient";
  forged["options"] = nlohmann::json::object();
  write(result(), forged.dump());
  const Outcome bad = run_actmatch({"verify", result()});
  EXPECT_EQ(bad.status, 1) << bad.out;
  EXPECT_NE(bad.err.find("soft_mask"), std::string::npos) << bad.err;
}

TEST_F(Methods, RecipesChooseAndSetThem) {
  write(tmp / "few.json", R"({"method": "rise", "name": "few", "masks": 20})");
  ASSERT_EQ(explain({"--recipe", tmp / "few.json", "--seed", "3"}).status, 0);
  EXPECT_EQ(record()["method"], "rise");
  EXPECT_EQ(record()["recipe"], "few");
  EXPECT_EQ(record()["options"]["masks"], 20);
  EXPECT_EQ(record()["options"]["keep"], 0.5) << "defaults are recorded too";
  EXPECT_EQ(record()["cost"]["forward"], 20);
  EXPECT_EQ(run_actmatch({"verify", result()}).status, 0);
  auto other_seed = record();
  other_seed["seed"] = 4;
  write(result(), other_seed.dump());
  EXPECT_EQ(run_actmatch({"verify", result()}).status, 1) << "other masks, another map";
  ASSERT_EQ(explain({"--method", "marc", "--recipe", "marc-vit", "--steps", "2"}).status, 0);
  EXPECT_EQ(record()["steps"], 2);
  EXPECT_EQ(record()["options"]["sparsity"], 0.25);
  EXPECT_EQ(run_actmatch({"verify", result()}).status, 0) << "of an optimised map nothing is claimed but its mask";
}

// The optimisation from another method's map: both are paid for, and what cannot be begun from is said.
TEST_F(Methods, AnOptimisationBeginsFromAnothersMap) {
  const Outcome run = explain({"--steps", "10"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(record()["generator"], "grid from gradcam");
  EXPECT_EQ(record()["cost"]["forward"], 41) << "four passes a step, and Grad-CAM's";
  EXPECT_EQ(record()["cost"]["backward"], 41);
  EXPECT_EQ(run_actmatch({"verify", result()}).status, 0);
  for (const std::string start : {"activation-matching", "no-such-method"}) {
    write(tmp / "bad.json", R"({"name": "bad", "weights": {"ce": 1}, "generator": {"kind": "grid", "start": ")" + start + "\"}}");
    const Outcome bad = explain({"--recipe", tmp / "bad.json"});
    EXPECT_EQ(bad.status, 1);
    EXPECT_NE(bad.err.find(start[0] == 'a' ? "begins from its own method" : "no-such-method"), std::string::npos) << bad.err;
  }
}

TEST_F(Methods, RefuseWhatTheyDoNotKnow) {
  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    const Outcome run = explain(more);
    EXPECT_EQ(run.status, 1);
    for (const std::string& part : parts) EXPECT_NE(run.err.find(part), std::string::npos) << "'" << part << "' is not in: " << run.err;
  };
  refused({"--method", "grad-cam"}, {"no method 'grad-cam'", "gradcam"});
  refused({"--method", "gradcam", "--generator", "unet"}, {"'gradcam' has no generator"});
  refused({"--method", "gradcam", "--steps", "5"}, {"'gradcam' has no steps"});
  refused({"--method", "rise", "--recipe", "paper"}, {"paper", "activation-matching"});
  write(tmp / "bad.json", R"({"method": "rise", "mask": 20})");
  refused({"--recipe", tmp / "bad.json"}, {"'mask'", "not a key"});
  EXPECT_NE(run_actmatch({"explain", "--help"}).out.find("integrated-gradients"), std::string::npos);
}

}  // namespace
}  // namespace actmatch::e2e
