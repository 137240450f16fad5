// An explainer by command: trained, stopped and gone on with, used in one pass and as a beginning; and everything that is refused.
#include <actmatch/actmatch.hpp>

#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

using nlohmann::json;

class TrainTest : public ::testing::Test {
 protected:
  // Twelve pictures, ten of them trained on: ten steps in all.
  std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    std::vector<std::string> all{
        "train", shapes_model(), "--images", example("images"), "--out", explainer_,  "--epochs", "5",      "--validation-share",
        "0.2",   "--batch",      "5",        "--recipe",        recipe_, "--threads", "1",        "--seed", "4"};
    for (const std::string& argument : more) {
      const auto given = argument.rfind("--", 0) == 0 ? std::find(all.begin(), all.end(), argument) : all.end();
      if (given != all.end()) all.erase(given, given + 2);  // the one that follows takes its place
    }
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  TrainTest() { write(recipe_, R"({"name": "quick", "learning_rate": 0.001, "soft_until": 1, "weights": {"ce": 1}})"); }
  TemporaryFolder tmp_;
  std::string explainer_ = tmp_ / "explainer.onnx", recipe_ = tmp_ / "recipe.json", out_ = tmp_ / "out";
};

TEST_F(TrainTest, AnswersInOnePassAndIsABeginning) {
  const Outcome trained = run_actmatch(arguments());
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_NE(trained.out.find("epoch 5/5: loss"), std::string::npos) << trained.out;
  EXPECT_NE(trained.out.find("10 steps on 10 pictures"), std::string::npos) << trained.out;
  EXPECT_FALSE(fs::exists(explainer_ + ".checkpoint"));

  // One pass; the record says so, and can be verified.
  const std::string picture = example("images/striped_disc.png");
  const std::vector<std::string> explain{"explain", shapes_model(), picture, "--out", out_, "--generator", explainer_, "--threads", "1"};
  const Outcome once = run_actmatch(explain);
  ASSERT_EQ(once.status, 0) << once.err;
  json record = json_of(out_ + "/striped_disc/result.json");
  EXPECT_EQ(record["method"], "amortised");
  EXPECT_EQ(record["options"]["generator"], explainer_);
  EXPECT_EQ(record["feasible"], true);
  const Outcome verified = run_actmatch({"verify", out_ + "/striped_disc/result.json", "--threads", "1"});
  EXPECT_EQ(verified.status, 0) << verified.out;
  EXPECT_NE(verified.out.find("soft_mask"), std::string::npos) << verified.out;

  // Steps make it a beginning. Without a rate nothing moves: the soft mask ranks pixels as the explainer's cells do, unlike a cold start's.
  write(recipe_, R"({"name": "still", "learning_rate": 0, "weights": {"ce": 1}})");
  auto from = explain;
  from.insert(from.end(), {"--steps", "3", "--recipe", recipe_});
  ASSERT_EQ(run_actmatch(from).status, 0);
  record = json_of(out_ + "/striped_disc/result.json");
  EXPECT_EQ(record["method"], "activation-matching");
  EXPECT_EQ(record["generator"], "grid from " + explainer_);
  EXPECT_EQ(record["steps"], 3);
  const double warm = record["pruned_from_area"];
  std::erase(from, "--generator"), std::erase(from, explainer_);
  ASSERT_EQ(run_actmatch(from).status, 0);
  EXPECT_NE(json_of(out_ + "/striped_disc/result.json")["pruned_from_area"], warm);
}

TEST_F(TrainTest, StoppedItGoesOnToTheSameFile) {
  ASSERT_EQ(run_actmatch(arguments()).status, 0);
  const std::string whole = contents(explainer_);
  fs::remove(explainer_);

  const Outcome stopped = run_actmatch(arguments(), "epoch 2/5: loss");
  ASSERT_EQ(stopped.status, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos) << stopped.err;
  EXPECT_FALSE(fs::exists(explainer_));
  ASSERT_TRUE(fs::exists(explainer_ + ".checkpoint"));

  Outcome again = run_actmatch(arguments());
  EXPECT_EQ(again.status, 1);
  expect_one_line(again);
  EXPECT_NE(again.err.find("not finished"), std::string::npos) << "nothing is overwritten by mistake: " << again.err;
  again = run_actmatch(arguments({"--resume", "--seed", "5"}));
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("another seed (4, now 5)"), std::string::npos) << again.err;

  const Outcome resumed = run_actmatch(arguments({"--resume"}));
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  // Weights are the same bits. The loss in the record is the last epoch's mean, which was made in one go both times.
  EXPECT_TRUE(contents(explainer_) == whole);

  again = run_actmatch(arguments({"--resume"}));
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("leave --resume out"), std::string::npos) << again.err;
}

TEST_F(TrainTest, PicturesThatCannotBeReadAreSaidAndLeftOut) {
  const std::string folder = tmp_ / "pictures";
  fs::create_directory(folder);
  for (const char* name : {"a.png", "b.png", "c.png"}) fs::copy_file(example("images/dotted_disc.png"), folder + "/" + name);
  write(folder + "/d.png", "no picture");
  const Outcome trained = run_actmatch(arguments({"--images", folder, "--validation", example("images"), "--epochs", "2", "--batch", "4"}));
  EXPECT_EQ(trained.status, 1);
  EXPECT_NE(trained.err.find("d.png"), std::string::npos) << trained.err;
  EXPECT_NE(trained.err.find("1 pictures could not be used"), std::string::npos) << trained.err;
  EXPECT_TRUE(fs::exists(explainer_));
}

TEST_F(TrainTest, WhatDoesNotGoTogetherIsRefusedInOneLine) {
  const auto refused = [&](const std::vector<std::string>& command, int status, const std::string& what) {
    const Outcome outcome = run_actmatch(command);
    EXPECT_EQ(outcome.status, status) << what << ": " << outcome.err;
    expect_one_line(outcome);
    EXPECT_NE(outcome.err.find(what), std::string::npos) << outcome.err;
  };
  refused(arguments({"--generator", "grid"}), 2, "grid");
  refused(arguments({"--epochs", "0"}), 2, "--epochs");
  refused(arguments({"--images", tmp_ / "nowhere"}), 1, "nowhere");
  refused(arguments({"--resume"}), 1, "leave --resume out");
  refused(arguments({"--head", "sigmoid"}), 1, "each label by itself");
  write(recipe_, R"({"name": "other", "method": "rise"})");
  refused(arguments(), 1, "another method");
  write(recipe_, R"({"name": "wild", "weights": {"ce": 1}})");
  refused(arguments({"--learning-rate", "1000", "--epochs", "50", "--quiet"}), 1, "smaller learning rate");

  const auto explain = [&](const std::string& generator, std::vector<std::string> more = {}) {
    std::vector<std::string> all{"explain", shapes_model(), example("images/dotted_disc.png"), "--out", out_, "--generator", generator};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  refused(explain("cse"), 2, "cse");
  refused(explain(tmp_ / "missing.onnx"), 1, "missing.onnx");
  refused(explain(shapes_model()), 1, "no trained explainer");
  refused(explain(shapes_model(), {"--method", "gradcam"}), 1, "has no generator");
  refused(explain("csae", {"--method", "amortised"}), 1, "file of a trained explainer");
  refused({"explain", shapes_model(), example("images/dotted_disc.png"), "--out", out_, "--method", "amortised"}, 1,
          "--generator FILE.onnx");

  // An explainer of this model, used with another one and with pictures that become other numbers.
  write(recipe_, R"({"name": "quick", "learning_rate": 0.001, "weights": {"ce": 1}})");
  ASSERT_EQ(run_actmatch(arguments({"--epochs", "1", "--validation-share", "0"})).status, 0);
  refused(explain(explainer_, {"--preprocess", "unit"}), 1, "another preprocessing");
  refused(explain(explainer_, {"--recipe", "paper"}), 1, "only a recipe with a grid");
  const std::string other = tmp_ / "other.onnx";
  write(other, contents(shapes_model()) + std::string("\x12\x01x", 3));  // producer_name: the same net in another file
  fs::copy_file(example("shapes96.preprocess.json"), tmp_ / "other.preprocess.json");
  auto command = explain(explainer_);
  command[1] = other;
  refused(command, 1, "trained for another model");
}

TEST_F(TrainTest, EvaluationsTakeItAsAMethod) {
  ASSERT_EQ(run_actmatch(arguments({"--epochs", "1", "--validation-share", "0"})).status, 0);
  const std::string table = tmp_ / "pictures.csv", run = tmp_ / "run";
  write(table, "image\n" + example("images/dotted_disc.png") + "\n");
  const Outcome made = run_actmatch({"evaluate", shapes_model(), "--images", table, "--out", run, "--methods", "amortised,center",
                                     "--metrics", "area", "--generator", explainer_, "--threads", "1"});
  EXPECT_EQ(made.status, 0) << made.err;
  EXPECT_NE(made.out.find("2 records made"), std::string::npos) << made.out;
  EXPECT_EQ(json_of(run + "/run.json")["generator_sha256"].get<std::string>().size(), 64u);
}

TEST_F(TrainTest, InAProgram) {
  const Model model(shapes_model(), "cpu", 1);
  TrainingOptions options;
  options.images = example("images");
  options.out = explainer_;
  options.epochs = 2, options.batch = 5;
  options.validation_share = 0.2;
  options.checkpoint_seconds = 0;
  int64_t calls = 0;
  try {
    train(model, options, [&](const TrainingProgress& p) { return ++calls, p.step < 3; });
    ADD_FAILURE() << "it was stopped";
  } catch (const Failure& e) {
    EXPECT_EQ(e.status(), ACTMATCH_CANCELLED);
  }
  options.resume = true;
  TrainingProgress last{};
  const actmatch_training_outcome outcome = train(model, options, [&](const TrainingProgress& p) { return last = p, true; });
  EXPECT_EQ(outcome.steps, 4);
  EXPECT_EQ(outcome.pictures, 10);
  EXPECT_EQ(outcome.validation_pictures, 2);
  EXPECT_EQ(outcome.unreadable, 0u);
  EXPECT_EQ(last.validated_epoch, 2);
  EXPECT_EQ(last.step, last.steps);
  EXPECT_GT(outcome.validation_area, 0);
  EXPECT_LE(outcome.validation_area, 1);
  ExplainOptions explain;
  explain.generator = explainer_;
  Explainer explainer(model, explain);
  EXPECT_EQ(json::parse(explainer.info())["method"], "amortised");
  EXPECT_GT(explainer.run(example("images/dotted_disc.png")).explanation().area, 0);
  // A name that is none of the generators is no file either.
  explain.generator = "gird";
  EXPECT_THROW(Explainer(model, explain), Failure);
}

}  // namespace
}  // namespace actmatch::e2e
