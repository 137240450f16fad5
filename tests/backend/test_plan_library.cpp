// How a plan is chosen, with a library and a clock of the test's: which candidates are built and timed, which is taken, what is remembered
// and what happens when something fails.
#include "engine/backend/cuda/plan_library.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "engine/core/lost_device.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::cuda {
namespace {

using test::expect_error;

const PlanMachine kMachine{"a device", 90, 91900};

PlanKey usual_key() {
  PlanKey key;
  key.shape = {2, 64, 56, 56, 64, 3, 3, {1, 1}, {1, 1, 1, 1}};
  key.bias = true;
  key.activation = ConvActivation::kRelu;
  return key;
}

PlanKey backward_key(bool fused) {
  PlanKey key = usual_key();
  key.pass = ConvPass::kBackwardData;
  key.bias = false;
  key.residual = fused;
  key.activation = fused ? ConvActivation::kRelu : ConvActivation::kNone;
  return key;
}

// What the test's library knows about one engine.
struct Engine {
  double microseconds = 1.0;  // what the clock says
  bool slow_to_build = false;
  bool builds = true, runs = true;
  size_t workspace = 0;
  bool fits = true;  // into the device's memory
};

// Everything that happens, and everything that was prepared to happen.
struct World {
  std::map<PlanKey, std::map<int64_t, Engine>> engines;  // offered in the order of their numbers
  std::map<PlanKey, std::vector<int64_t>> built, timed;
  std::vector<PlanKey> asked;
  bool memory = true, device = true;
  int benches = 0;
  std::vector<std::string> notices;
  double rest = 0.0;           // what the clock says of the kernel for what is not fused
  std::vector<PlanKey> rests;  // whose rest was timed
};

struct FakePlan : BuiltPlan {
  FakePlan(Engine the_engine, int64_t the_number) : engine(the_engine), number(the_number) {}
  size_t workspace_bytes() const override { return engine.workspace; }
  void run(const ConvTensors&, void*) override { ++runs; }
  Engine engine;
  int64_t number;
  int runs = 0;
};

struct FakeBuilder : PlanBuilder {
  explicit FakeBuilder(World& the_world) : world(the_world) {}
  std::string name() const override { return "a library"; }
  Candidates candidates(const PlanKey& key) override {
    world.asked.push_back(key);
    Candidates found;
    for (const auto& [number, engine] : world.engines[key]) found.list.push_back({{number, {{2, 7}}}, engine.slow_to_build});
    found.summary = std::to_string(found.list.size()) + " candidates";
    return found;
  }
  std::unique_ptr<BuiltPlan> build(const PlanKey& key, const EngineChoice& choice) override {
    world.built[key].push_back(choice.engine);
    const auto engine = world.engines[key].find(choice.engine);
    if (engine == world.engines[key].end() || !engine->second.builds || choice.knobs != std::map<int64_t, int64_t>{{2, 7}})
      throw Error(ErrorCode::kUnsupported, "engine " + std::to_string(choice.engine) + " does not build");
    return std::make_unique<FakePlan>(engine->second, choice.engine);
  }
  World& world;
};

struct FakeTimer : PlanTimer {
  explicit FakeTimer(World& the_world) : world(the_world) {}
  struct FakeBench : Bench {
    FakeBench(World& the_world, const PlanKey& the_key) : world(the_world), key(the_key) { ++world.benches; }
    ~FakeBench() override { --world.benches; }
    double microseconds(BuiltPlan& plan, double) override {
      const auto& fake = dynamic_cast<FakePlan&>(plan);
      world.timed[key].push_back(fake.number);
      if (!world.device) throw LostDevice("the device was lost");
      if (!fake.engine.fits) throw Error(ErrorCode::kOutOfMemory, "no memory for engine " + std::to_string(fake.number));
      if (!fake.engine.runs) throw Error(ErrorCode::kUnsupported, "engine " + std::to_string(fake.number) + " does not run");
      return fake.engine.microseconds;
    }
    double rest_microseconds() override {
      world.rests.push_back(key);
      return world.rest;
    }
    World& world;
    PlanKey key;
  };
  std::unique_ptr<Bench> prepare(const PlanKey& key) override {
    if (!world.memory) throw Error(ErrorCode::kOutOfMemory, "out of memory");
    return std::make_unique<FakeBench>(world, key);
  }
  World& world;
};

class Library : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(world_.benches, 0) << "the memory for timing is given back"; }
  std::unique_ptr<PlanLibrary> open(const PlanLibrary::Limits& limits = {}) {
    const auto notice = [this](const std::string& line) { world_.notices.push_back(line); };
    return std::make_unique<PlanLibrary>(std::make_unique<FakeBuilder>(world_), std::make_unique<FakeTimer>(world_),
                                         PlanCache(path_, kMachine, notice), limits, notice);
  }
  // The engine of the runner: "a library engine 3 {2=7}" -> 3; 0 for none.
  static int64_t engine_of(const std::shared_ptr<ConvRunner>& runner) {
    const std::string prefix = "a library engine ", suffix = " {2=7}";
    if (!runner) return 0;
    const std::string text = runner->description();
    EXPECT_EQ(text.substr(0, prefix.size()), prefix);
    EXPECT_EQ(text.substr(text.size() - suffix.size()), suffix);
    return std::stoll(text.substr(prefix.size()));
  }
  void expect_one_notice(const std::vector<std::string>& parts) {
    ASSERT_EQ(world_.notices.size(), 1u);
    for (const std::string& part : parts) EXPECT_NE(world_.notices[0].find(part), std::string::npos) << world_.notices[0];
    EXPECT_EQ(world_.notices[0].find('\n'), std::string::npos);
  }

  test::TemporaryFolder folder_;
  std::string path_ = folder_ / "plans.json";
  World world_;
};

TEST_F(Library, TakesTheQuickest) {
  world_.engines[usual_key()] = {{1, {9.0}}, {2, {5.0, false, true, true, 4096}}, {3, {7.0}}};
  const auto library = open();
  const std::shared_ptr<ConvRunner> runner = library->find(usual_key());
  EXPECT_EQ(engine_of(runner), 2);
  EXPECT_EQ(runner->microseconds(), 5.0);
  EXPECT_EQ(runner->workspace_bytes(), 4096u);
  EXPECT_EQ(world_.timed[usual_key()], (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(library->find(usual_key()), runner) << "runners of equal keys are shared";
  EXPECT_EQ(world_.asked.size(), 1u);
  EXPECT_TRUE(world_.notices.empty());
}

// Two plans that take the same time would be exchanged by noise from one day to the next.
TEST_F(Library, StaysWithThePreferredPlanWhereAnotherIsHardlyQuicker) {
  world_.engines[usual_key()] = {{1, {10.0}}, {2, {9.9}}, {3, {9.85}}};
  EXPECT_EQ(engine_of(open()->find(usual_key())), 1);
  path_ = "";
  world_.engines[usual_key()][3].microseconds = 9.7;
  EXPECT_EQ(engine_of(open()->find(usual_key())), 3);
  world_.engines[usual_key()][2].microseconds = std::nan("");
  EXPECT_EQ(engine_of(open()->find(usual_key())), 3) << "a time that is none never wins";
}

TEST_F(Library, TimesOnlyTheFirstFew) {
  for (int64_t number = 1; number <= 30; ++number) world_.engines[usual_key()][number] = {100.0 / static_cast<double>(number)};
  for (int64_t number : {2, 3}) world_.engines[usual_key()][number].builds = false;  // those do not count
  PlanLibrary::Limits limits;
  limits.timed = 5;
  EXPECT_EQ(engine_of(open(limits)->find(usual_key())), 7);
  EXPECT_EQ(world_.timed[usual_key()], (std::vector<int64_t>{1, 4, 5, 6, 7}));
}

TEST_F(Library, BuildsOnlyAFewOfThoseThatAreSlowToBuild) {
  for (int64_t number = 1; number <= 6; ++number) world_.engines[usual_key()][number] = {10.0, true};
  world_.engines[usual_key()][1].builds = false;
  world_.engines[usual_key()][7] = {20.0};
  PlanLibrary::Limits limits;
  limits.slow_to_build = 3;
  EXPECT_EQ(engine_of(open(limits)->find(usual_key())), 2);
  EXPECT_EQ(world_.built[usual_key()], (std::vector<int64_t>{1, 2, 3, 7})) << "a failed one took its time too";
}

TEST(PlanSearch, IsAsWideAsTheEnvironmentSays) {
  const PlanLibrary::Limits usual;
  ::unsetenv("ACTMATCH_PLAN_SEARCH");
  EXPECT_EQ(PlanLibrary::Limits::from_environment().timed, usual.timed);
  for (const char* none : {"", "1,0", "25,3"}) {
    ::setenv("ACTMATCH_PLAN_SEARCH", none, 1);
    const PlanLibrary::Limits limits = PlanLibrary::Limits::from_environment();
    EXPECT_EQ(limits.timed, *none ? std::atoi(none) : usual.timed);
    EXPECT_EQ(limits.slow_to_build, *none ? std::atoi(std::strchr(none, ',') + 1) : usual.slow_to_build);
    EXPECT_EQ(limits.workspace_bytes, usual.workspace_bytes);
  }
  for (const char* wrong : {"1", "1,", "0,0", "1,-1", "a,1", "1,2,3", "1 ,2", ",", "99999999999,1"}) {
    ::setenv("ACTMATCH_PLAN_SEARCH", wrong, 1);
    expect_error(ErrorCode::kInvalidArgument, {"ACTMATCH_PLAN_SEARCH is '" + std::string(wrong) + "'", "'10,4'"},
                 [] { PlanLibrary::Limits::from_environment(); });
  }
  ::unsetenv("ACTMATCH_PLAN_SEARCH");
}

TEST_F(Library, PassesOverWhatFailsOrNeedsTooMuch) {
  world_.engines[usual_key()] = {{1, {1.0, false, false}}, {2, {2.0, false, true, false}}, {3, {3.0, false, true, true, 1001}}, {4, {4.0}}};
  PlanLibrary::Limits limits;
  limits.workspace_bytes = 1000;
  EXPECT_EQ(engine_of(open(limits)->find(usual_key())), 4);
  EXPECT_TRUE(world_.notices.empty()) << world_.notices[0];
}

TEST_F(Library, NoPlanIsSaidOnce) {
  auto library = open();
  EXPECT_EQ(library->find(usual_key()), nullptr);
  EXPECT_EQ(library->find(usual_key()), nullptr);
  EXPECT_EQ(world_.asked.size(), 1u) << "nor is it asked for again";
  expect_one_notice({"no plan of a library", describe(usual_key()), "own kernels", "0 candidates"});

  world_.notices.clear();
  world_.engines[usual_key()] = {{1, {1.0, false, false}}, {2, {2.0, false, true, false}}};
  library = open();
  EXPECT_EQ(library->find(usual_key()), nullptr);
  expect_one_notice({"no plan of a library", "engine 2 does not run"});
}

TEST_F(Library, ALostDeviceIsNotABadPlan) {
  world_.engines[usual_key()] = {{1, {1.0}}, {2, {2.0}}};
  world_.device = false;
  const auto library = open();
  expect_error(ErrorCode::kIo, {"the device was lost"}, [&] { library->find(usual_key()); });
}

TEST_F(Library, RemembersItsChoice) {
  world_.engines[usual_key()] = {{1, {9.0}}, {2, {5.0}}};
  open()->find(usual_key());
  world_.timed.clear(), world_.asked.clear(), world_.built.clear();
  world_.engines[usual_key()][1].microseconds = 1.0;  // not looked at any more
  const std::shared_ptr<ConvRunner> runner = open()->find(usual_key());
  EXPECT_EQ(engine_of(runner), 2);
  EXPECT_EQ(runner->microseconds(), 5.0);
  EXPECT_TRUE(world_.asked.empty());
  EXPECT_TRUE(world_.timed.empty());
  EXPECT_EQ(world_.built[usual_key()], std::vector<int64_t>{2});
}

TEST_F(Library, WhatIsRememberedButNoLongerBuildsIsTimedAgain) {
  world_.engines[usual_key()] = {{1, {9.0}}, {2, {5.0}}};
  open()->find(usual_key());
  world_.engines[usual_key()][2].builds = false;
  EXPECT_EQ(engine_of(open()->find(usual_key())), 1);
  expect_one_notice({"timed again", "engine 2 does not build"});
  world_.notices.clear();
  world_.timed.clear();
  EXPECT_EQ(engine_of(open()->find(usual_key())), 1);
  EXPECT_TRUE(world_.timed.empty()) << "the new choice replaced the old one in the file";
  EXPECT_TRUE(world_.notices.empty());
}

TEST_F(Library, WhatIsRememberedButOverTheLimitIsTimedAgain) {
  world_.engines[usual_key()] = {{1, {9.0}}, {2, {5.0, false, true, true, 4096}}};
  EXPECT_EQ(engine_of(open()->find(usual_key())), 2);
  PlanLibrary::Limits limits;
  limits.workspace_bytes = 1000;
  EXPECT_EQ(engine_of(open(limits)->find(usual_key())), 1);
  expect_one_notice({"timed again", "4096 bytes of workspace", "limit of 1000"});
}

TEST_F(Library, WithoutMemoryForTimingTheFirstIsTakenAndNotRemembered) {
  world_.engines[usual_key()] = {{1, {9.0, false, false}}, {2, {5.0}}, {3, {1.0}}};
  world_.memory = false;
  const std::shared_ptr<ConvRunner> runner = open()->find(usual_key());
  EXPECT_EQ(engine_of(runner), 2);
  EXPECT_EQ(runner->microseconds(), 0.0);
  expect_one_notice({"too little memory to time plans", describe(usual_key())});
  world_.memory = true;
  EXPECT_EQ(engine_of(open()->find(usual_key())), 3);
}

TEST_F(Library, AChoiceForWantOfMemoryIsNotRemembered) {
  world_.engines[usual_key()] = {{1, {1.0, false, true, true, 4096, false}}, {2, {5.0}}};
  EXPECT_EQ(engine_of(open()->find(usual_key())), 2);
  world_.engines[usual_key()][1].fits = true;
  EXPECT_EQ(engine_of(open()->find(usual_key())), 1) << "with memory again";
}

TEST_F(Library, WhereNoPlanFitsTheMemoryThatIsTheError) {
  world_.engines[usual_key()] = {{1, {1.0, false, true, true, 4096, false}}, {2, {1.0, false, false}}};
  const auto library = open();
  expect_error(ErrorCode::kOutOfMemory, {describe(usual_key()), "smaller batch"}, [&] { library->find(usual_key()); });
  world_.engines[usual_key()][1].fits = true;
  EXPECT_EQ(engine_of(library->find(usual_key())), 1) << "and a later question is a new one";
}

// dgrad with everything fused against a plain one and a kernel after it.
TEST_F(Library, FusesBackwardOnlyWhereThatIsQuicker) {
  const PlanKey fused = backward_key(true), plain = backward_key(false);
  world_.engines[plain] = {{1, {10.0}}};
  world_.engines[fused] = {{5, {13.0, true}}};
  world_.rest = 4.0;
  EXPECT_EQ(engine_of(open()->find(fused)), 5);
  EXPECT_EQ(world_.rests, std::vector<PlanKey>{fused});
  path_ = folder_ / "anew.json";
  world_.rest = 2.5;
  const auto library = open();
  EXPECT_EQ(library->find(fused), nullptr);
  EXPECT_EQ(library->find(fused), nullptr);
  EXPECT_EQ(world_.rests.size(), 2u) << "once for a key";
  EXPECT_EQ(engine_of(library->find(plain)), 1);
  EXPECT_TRUE(world_.notices.empty()) << "nothing is missing: " << world_.notices[0];
}

// The file has all three times, so the next run decides alike, whatever its clock would say.
TEST_F(Library, RemembersWhetherFusingPays) {
  const PlanKey fused = backward_key(true), plain = backward_key(false);
  for (const double rest : {4.0, 2.5}) {
    path_ = folder_ / (std::to_string(rest) + ".json");
    world_.engines[plain] = {{1, {10.0}}};
    world_.engines[fused] = {{5, {13.0}}};
    world_.rest = rest;
    const int64_t first = engine_of(open()->find(fused));
    EXPECT_EQ(first, rest == 4.0 ? 5 : 0);
    world_.engines[plain][1].microseconds = rest == 4.0 ? 1.0 : 100.0;
    world_.rest = rest == 4.0 ? 1.0 : 100.0;
    world_.timed.clear(), world_.rests.clear(), world_.asked.clear();
    const auto again = open();
    EXPECT_EQ(engine_of(again->find(fused)), first);
    EXPECT_EQ(engine_of(again->find(plain)), 1);
    EXPECT_TRUE(world_.timed.empty() && world_.rests.empty() && world_.asked.empty());
  }
  EXPECT_TRUE(world_.notices.empty()) << world_.notices[0];
}

// A file written by hand: without the time of the rest there is nothing to decide by.
TEST_F(Library, AFusedPlanWithoutTheTimeOfTheRestIsTimedAgain) {
  const PlanKey fused = backward_key(true), plain = backward_key(false);
  world_.engines[plain] = {{1, {10.0}}};
  world_.engines[fused] = {{5, {13.0}}};
  world_.rest = 2.5;
  PlanCache cache(path_, kMachine, {});
  cache.put(fused, {{5, {{2, 7}}}, 0, 1.0, {}});
  cache.put(plain, {{1, {{2, 7}}}, 0, 10.0, {}});
  ASSERT_TRUE(cache.save());
  EXPECT_EQ(open()->find(fused), nullptr);
  EXPECT_EQ(world_.timed[fused], std::vector<int64_t>{5});
  EXPECT_TRUE(world_.timed[plain].empty());
  expect_one_notice({"timed again", describe(fused), "no time of the rest"});
  world_.notices.clear(), world_.timed.clear();
  EXPECT_EQ(open()->find(fused), nullptr);
  EXPECT_TRUE(world_.timed.empty() && world_.notices.empty()) << "the file is whole again";
}

TEST_F(Library, AFusionThatIsNotOfferedIsNoNews) {
  world_.engines[backward_key(false)] = {{1, {10.0}}};
  const auto library = open();
  EXPECT_EQ(library->find(backward_key(true)), nullptr);
  EXPECT_TRUE(world_.notices.empty()) << world_.notices[0];
  EXPECT_EQ(engine_of(library->find(backward_key(false))), 1);
  world_.engines.clear();
  path_ = "";
  const auto empty = open();
  EXPECT_EQ(empty->find(backward_key(true)), nullptr);
  EXPECT_TRUE(world_.notices.empty()) << world_.notices[0];
  EXPECT_EQ(empty->find(backward_key(false)), nullptr);
  expect_one_notice({"no plan of a library"});
}

TEST_F(Library, AFusionWithoutAPlainPlanStays) {
  world_.engines[backward_key(true)] = {{5, {13.0}}};
  world_.rest = 0.1;
  EXPECT_EQ(engine_of(open()->find(backward_key(true))), 5);
}

// A clip at 6 against a plain ReLU and a kernel for the clip.
TEST_F(Library, FusesAClipOnlyWhereThatIsQuicker) {
  PlanKey clipped = usual_key();
  clipped.activation = ConvActivation::kClippedRelu;
  clipped.ceiling = 6.0f;
  world_.engines[usual_key()] = {{1, {10.0}}};
  world_.engines[clipped] = {{4, {25.0}}};
  world_.rest = 5.0;
  EXPECT_EQ(open()->find(clipped), nullptr);
  EXPECT_EQ(world_.rests, std::vector<PlanKey>{clipped});
  path_ = folder_ / "anew.json";
  world_.rest = 20.0;
  EXPECT_EQ(engine_of(open()->find(clipped)), 4);
  EXPECT_TRUE(world_.notices.empty()) << world_.notices[0];
}

TEST_F(Library, PlainKeysAreNotCompared) {
  world_.engines[usual_key()] = {{1, {10.0}}};
  world_.engines[backward_key(false)] = {{1, {10.0}}};
  EXPECT_EQ(engine_of(open()->find(usual_key())), 1);
  EXPECT_EQ(engine_of(open()->find(backward_key(false))), 1);
  EXPECT_TRUE(world_.rests.empty());
}

}  // namespace
}  // namespace actmatch::cuda
