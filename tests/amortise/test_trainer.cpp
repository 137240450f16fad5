// A generator that pictures share: its gradient, and that a training is a function of its plan alone.
#include "engine/amortise/trainer.h"

#include "engine/amortise/checkpoint.h"
#include "tests/explain/objective_bench.h"
#include "tests/explain/tape_backend.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::test {
namespace {

constexpr double kBeta1 = 0.9;

TrainingPlan quick_plan(int64_t batch = 2, int64_t steps = 6) {
  TrainingPlan plan;
  plan.recipe = still_recipe();
  plan.recipe.generator.cell = 2;
  plan.recipe.steps = steps;
  plan.recipe.weights.ce = 1;
  plan.recipe.weights.act = 0.5;
  plan.batch = batch;
  plan.seed = kSeed;
  return plan;
}

// Some pictures, each with its objective by definition.
std::vector<ObjectiveBench> benches(size_t count, UnaryKind activation) {
  std::vector<ObjectiveBench> all;
  all.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    ObjectiveBench& bench = all.emplace_back(activation);
    bench.problem = problem_for(bench.classifier, noise_image(bench.classifier.shape(), 40 + static_cast<uint32_t>(i), 2.0f), 0.1f);
    bench.z_x = bench.probe.logits(bench.problem.x);
    bench.taps_x = {bench.probe.tap(0), bench.probe.tap(1)};
  }
  return all;
}

std::vector<Problem> problems_of(const std::vector<ObjectiveBench>& all) {
  std::vector<Problem> problems;
  for (const ObjectiveBench& bench : all) problems.push_back(bench.problem);
  return problems;
}

std::vector<float> logits_of(const Graph& graph, const std::vector<float>& x) {
  const auto program = cpu().compile(graph, {});
  cpu().upload(program->data(graph.inputs()[0]), x.data(), x.size());
  program->forward();
  std::vector<float> s(kPixels);
  cpu().download(s.data(), program->data(graph.outputs()[0]), s.size());
  return s;
}

// The shared parameters' gradient is that of the mean loss. The masks are soft and without a schedule, so that the loss is smooth but for
// the generator's own ReLUs, and its threshold does not move with the parameters.
TEST(Trainer, GradientOfTheSharedParametersIsTheMeanLosss) {
  auto all = benches(3, UnaryKind::kSoftplus);
  const std::vector<Problem> problems = problems_of(all);
  TrainingPlan plan = quick_plan(3);
  plan.recipe.area.enabled = false;
  plan.recipe.soft_until = 1;
  plan.recipe.weights.area = 0.7;
  plan.recipe.weights.kl = 0.3;
  plan.learning_rate = 0;
  Trainer trainer(all[0].classifier, plan);
  TrainingState begin = trainer.state();
  for (auto& [name, values] : begin.arrays)  // first weights let little through eight layers; a gain makes gradients that can be measured
    if (name.rfind("parameter/", 0) == 0 && name.ends_with("weight"))
      for (float& v : values) v *= 2.4f;
  trainer.restore(begin);
  const TrainingLosses losses = trainer.step(problems);
  const TrainingState after = trainer.state();  // Adam's first moment after one step is (1 - beta1) times the gradient
  ASSERT_EQ(after.arrays.at("parameter/decoder3.weight"), begin.arrays.at("parameter/decoder3.weight")) << "no rate, no change";

  // The mean loss in double for parameters that are moved along one array's gradient.
  const auto loss = [&](const std::string& name, double distance) {
    TrainingState moved = begin;
    auto& values = moved.arrays.at("parameter/" + name);
    const auto& first = after.arrays.at("first/" + name);
    for (size_t i = 0; i < values.size(); ++i) values[i] += static_cast<float>(distance * first[i] / (1 - kBeta1));
    trainer.restore(moved);
    const Graph graph = trainer.graph();
    double sum = 0;
    for (ObjectiveBench& bench : all) {
      std::vector<double> soft;
      for (float s : logits_of(graph, bench.problem.x)) soft.push_back(1 / (1 + std::exp(-static_cast<double>(s))));
      Terms t = bench.image_terms(plan.recipe, soft, 0);
      t.merge(bench.mask_terms(plan.recipe, soft));
      for (const auto& [term, weight] : weights_of(plan.recipe)) sum += weight * t[term];
    }
    return sum / static_cast<double>(all.size());
  };
  EXPECT_NEAR(losses.total(), loss("decoder3.bias", 0), 1e-5);
  size_t checked = 0;
  for (const auto& [key, first] : after.arrays) {
    if (key.rfind("first/", 0) != 0) continue;
    const std::string name = key.substr(6);
    double square = 0, length = 0;
    for (float g : first) square += g * g / ((1 - kBeta1) * (1 - kBeta1));
    for (float v : begin.arrays.at("parameter/" + name)) length += v * v;
    // So far that the loss changes by 2e-4 either way, at most a fiftieth of the parameters' length: float logits leave some 3e-7 of the
    // loss uncertain, and the ReLUs' kinks take a few percent.
    const double distance = std::min(2e-4 / square, 0.02 * std::sqrt(length / square));
    const double slope = (loss(name, distance) - loss(name, -distance)) / (2 * distance);
    ASSERT_GT(square * distance, 5e-6) << name << ": a difference that small tests nothing";
    EXPECT_NEAR(slope / square, 1, 0.05 + 3e-7 / (square * distance)) << name << " " << square * distance;
    ++checked;
  }
  EXPECT_EQ(checked, 16u) << "weights and biases of eight layers";
}

TEST(Trainer, ABatchsGradientIsTheMeanOfItsPictures) {
  auto all = benches(2, UnaryKind::kRelu);
  const std::vector<Problem> problems = problems_of(all);
  TrainingPlan plan = quick_plan(2);
  plan.recipe.area.start = plan.recipe.area.end = 0.3;  // the same area, whichever place in a batch
  TrainingPlan alone = plan;
  alone.batch = 1;
  const auto gradients = [&](const TrainingPlan& p, std::span<const Problem> shown) {
    Trainer trainer(all[0].classifier, p);
    trainer.step(shown);
    return trainer.state().arrays;
  };
  const auto both = gradients(plan, problems), first = gradients(alone, std::span(problems).first(1)),
             second = gradients(alone, std::span(problems).last(1)), lacking = gradients(plan, std::span(problems).first(1));
  double difference = 0;
  for (const auto& [name, values] : both) {
    if (name.rfind("first/", 0) != 0) continue;
    double largest = 1e-12;
    for (float v : values) largest = std::max(largest, std::abs(static_cast<double>(v)));
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(values[i], (first.at(name)[i] + second.at(name)[i]) / 2, 1e-4 * largest) << name;  // sums in another order
      ASSERT_NEAR(lacking.at(name)[i], first.at(name)[i], 1e-4 * largest) << "the last picture stands for those that lack";
      difference = std::max(difference, std::abs(static_cast<double>(first.at(name)[i]) - second.at(name)[i]) / largest);
    }
  }
  EXPECT_GT(difference, 0.1) << "the pictures pull in different directions";
}

// The pictures of a step, and the steps from `first` on.
void run_steps(Trainer& trainer, const std::vector<Problem>& problems, int64_t first, int64_t last) {
  for (int64_t step = first; step < last; ++step) {
    const Problem shown[] = {problems[static_cast<size_t>(step) % problems.size()],
                             problems[static_cast<size_t>(step + 1) % problems.size()]};
    trainer.step(shown);
  }
}

TEST(Trainer, GoingOnFromACheckpointGivesTheBitsOfAnUninterruptedTraining) {
  auto all = benches(3, UnaryKind::kRelu);
  const std::vector<Problem> problems = problems_of(all);
  TrainingPlan plan = quick_plan();
  plan.recipe.weights.rob = 0.5;
  plan.recipe.robust_backgrounds = 2;
  plan.recipe.soft_until = 0.5;  // the break falls where masks become hard
  Trainer whole(all[0].classifier, plan);
  run_steps(whole, problems, 0, 6);

  const TemporaryFolder folder;
  {
    Trainer begun(all[0].classifier, plan);
    run_steps(begun, problems, 0, 3);
    write_checkpoint(folder / "c", {{}, begun.state()});
  }
  Trainer resumed(all[0].classifier, plan);
  resumed.look(std::span(problems).first(1), 0);  // nor does looking change anything
  resumed.restore(read_checkpoint(folder / "c").state);
  EXPECT_EQ(resumed.steps_done(), 3);
  run_steps(resumed, problems, 3, 6);
  EXPECT_EQ(resumed.state().arrays, whole.state().arrays);

  plan.seed += 1;
  Trainer other(all[0].classifier, plan);
  run_steps(other, problems, 0, 6);
  EXPECT_NE(other.state().arrays, whole.state().arrays) << "another seed is another training";
}

TEST(Trainer, TapsWithoutDistancesAreRefused) {
  ObjectiveBench bench;
  TrainingPlan plan = quick_plan();
  plan.recipe.weights.act = 1;
  plan.recipe.taps.distances.clear();
  const std::string message = error_of([&] { Trainer(bench.classifier, plan); }, ErrorCode::kInvalidArgument);
  EXPECT_NE(message.find("distances"), std::string::npos) << message;
}

TEST(Trainer, LookingTrainsNothingAndSaysTheSameAgain) {
  auto all = benches(2, UnaryKind::kRelu);
  const std::vector<Problem> problems = problems_of(all);
  Trainer trainer(all[0].classifier, quick_plan());
  run_steps(trainer, problems, 0, 2);
  const TrainingState before = trainer.state();
  const TrainingLosses first = trainer.look(problems, 0), again = trainer.look(problems, 0), others = trainer.look(problems, 7);
  EXPECT_EQ(first.terms, again.terms);
  EXPECT_NE(first.terms, others.terms) << "other pictures have other areas";
  EXPECT_EQ(trainer.state().arrays, before.arrays);
  EXPECT_EQ(trainer.state().steps_done, 2);
  // The map that the trained graph gives is the one that was looked at.
  const auto alone = logits_of(trainer.graph(), problems[1].x), looked = trainer.logits(1);
  for (size_t i = 0; i < alone.size(); ++i) ASSERT_NEAR(alone[i], looked[i], 1e-5);
  double mean = 0, square = 0;
  for (float v : looked) mean += v / kPixels, square += v * v / kPixels;
  EXPECT_LT(std::abs(mean), 0.5) << "brought to mean 0 and deviation 1 over a picture's cells, then upsampled and cropped";
  EXPECT_GT(square, 0.1);
}

// A step is recorded once and replayed: nothing that changes from step to step may stay as it was.
TEST(Trainer, ReplayedStepsAreTheSameSteps) {
  auto all = benches(3, UnaryKind::kRelu);
  const std::vector<Problem> problems = problems_of(all);
  TrainingPlan plan = quick_plan();
  plan.recipe.weights.rob = 0.5;
  plan.recipe.robust_backgrounds = 1;
  Trainer plain(all[0].classifier, plan);
  run_steps(plain, problems, 0, 6);
  TapeBackend tape(cpu());
  Classifier classifier(tape, conv_classifier(kSize, UnaryKind::kRelu));
  Trainer taped(classifier, plan);
  run_steps(taped, problems, 0, 6);
  EXPECT_EQ(tape.recordings, 1);
  EXPECT_EQ(tape.replays, 5);
  EXPECT_EQ(taped.state().arrays, plain.state().arrays);
}

TEST(Trainer, FallsOnPicturesItIsTrainedOn) {
  auto all = benches(2, UnaryKind::kRelu);
  const std::vector<Problem> problems = problems_of(all);
  TrainingPlan plan = quick_plan(2, 60);
  plan.recipe.soft_until = 1;
  plan.learning_rate = 3e-3;
  Trainer trainer(all[0].classifier, plan);
  const double before = trainer.look(problems, 0).total();
  run_steps(trainer, problems, 0, 60);
  EXPECT_LT(trainer.look(problems, 0).total(), before);
}

TEST(Trainer, WhatCannotBeIsRefused) {
  ObjectiveBench bench;
  TrainingPlan plan = quick_plan();
  Trainer trainer(bench.classifier, plan);
  TrainingState state = trainer.state();
  state.arrays.at("first/encoder1.bias").pop_back();
  expect_error(ErrorCode::kFormat, {"'first/encoder1.bias'", "another generator"}, [&] { trainer.restore(state); });
  plan.learning_rate = 1e30;
  Trainer wild(bench.classifier, plan);
  expect_error(ErrorCode::kInvalidArgument, {"the loss became", "learning rate"}, [&] {
    for (int i = 0; i < 6; ++i) wild.step(std::span(&bench.problem, 1));
  });
}

}  // namespace
}  // namespace actmatch::test
