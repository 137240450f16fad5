// The file that remembers plans: what is put is found again, by others too; damage and rivals cost entries at most, never the program.
#include "engine/backend/cuda/plan_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/core/error.h"
#include "engine/image/file.h"
#include "tests/support/temporary_folder.h"

namespace actmatch::cuda {
namespace {

const PlanMachine kH200{"NVIDIA H200", 90, 91900};

PlanKey key_number(int64_t n) {
  PlanKey key;
  key.shape = {n, 64, 56, 56, 64, 3, 3, {1, 1}, {1, 1, 1, 1}};
  key.bias = true;
  key.activation = ConvActivation::kRelu;
  return key;
}

PlanRecord record_number(int64_t n) {
  return {{n, {{2, 4 * n}, {13, 0}}}, static_cast<size_t>(1000 * n), 0.1 * static_cast<double>(n), {}};
}
PlanRecord fused_record_number(int64_t n) {
  PlanRecord record = record_number(n);
  record.rest_microseconds = 0.25 * static_cast<double>(n);
  return record;
}

class PlanCacheFile : public ::testing::Test {
 protected:
  PlanCache open(const PlanMachine& machine = kH200) {
    return {path_, machine, [this](const std::string& line) { notices_.push_back(line); }};
  }
  std::string text() const {
    const std::vector<std::byte> bytes = read_file(path_);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // The file counts as empty, one line says so with `part` in it, and the cache works again after the next save.
  void expect_ignored_and_rebuilt(const std::string& part) {
    notices_.clear();
    PlanCache cache = open();
    EXPECT_FALSE(cache.find(key_number(1)));
    ASSERT_EQ(notices_.size(), 1u);
    EXPECT_NE(notices_[0].find(path_), std::string::npos) << notices_[0];
    EXPECT_NE(notices_[0].find(part), std::string::npos) << notices_[0];
    EXPECT_EQ(notices_[0].find('\n'), std::string::npos) << notices_[0];
    cache.put(key_number(2), record_number(2));
    EXPECT_TRUE(cache.save());
    notices_.clear();
    EXPECT_EQ(open().find(key_number(2)), record_number(2));
    EXPECT_TRUE(notices_.empty()) << notices_[0];
  }
  void write_good_file() {
    std::filesystem::remove(path_);
    PlanCache cache = open();
    cache.put(key_number(1), record_number(1));
    ASSERT_TRUE(cache.save());
  }

  test::TemporaryFolder folder_;
  std::string path_ = folder_ / "plans.json";
  std::vector<std::string> notices_;
};

TEST_F(PlanCacheFile, FindsWhatWasPutAlsoInTheNextRun) {
  PlanCache first = open();
  EXPECT_FALSE(first.find(key_number(1)));
  first.put(key_number(1), record_number(1));
  first.put(key_number(3), record_number(3));
  EXPECT_EQ(first.find(key_number(1)), record_number(1));
  EXPECT_FALSE(open().find(key_number(1))) << "it is written by save() only";
  EXPECT_TRUE(first.save());

  PlanCache second = open();
  EXPECT_EQ(second.find(key_number(1)), record_number(1));
  EXPECT_EQ(second.find(key_number(3)), record_number(3));
  EXPECT_FALSE(second.find(key_number(2)));
  second.put(key_number(1), record_number(7));
  EXPECT_TRUE(second.save());
  EXPECT_EQ(open().find(key_number(1)), record_number(7));
  second.put(key_number(2), fused_record_number(2));
  EXPECT_TRUE(second.save());
  EXPECT_EQ(open().find(key_number(2)), fused_record_number(2));
  EXPECT_TRUE(notices_.empty()) << notices_[0];
}

TEST_F(PlanCacheFile, IsJsonForPeople) {
  write_good_file();
  const nlohmann::json file = nlohmann::json::parse(text());
  EXPECT_EQ(file.at("version"), 2);
  const nlohmann::json& machine = file.at("machines").at(0);
  EXPECT_EQ(machine.at("device"), "NVIDIA H200");
  EXPECT_EQ(machine.at("compute_capability"), 90);
  EXPECT_EQ(machine.at("cudnn"), 91900);
  const nlohmann::json& plan =
      machine.at("plans").at("forward fp32 x 1x56x56x64 w 64x3x3x64 stride 1x1 pad 1,1,1,1 dilation 1x1 groups 1 + bias + relu");
  EXPECT_EQ(plan, (nlohmann::json{{"engine", 1}, {"knobs", {{"2", 4}, {"13", 0}}}, {"workspace_bytes", 1000}, {"microseconds", 0.1}}));
  EXPECT_NE(text().find("\n  "), std::string::npos) << "no line breaks";
  PlanCache cache = open();
  cache.put(key_number(2), fused_record_number(2));
  ASSERT_TRUE(cache.save());
  EXPECT_EQ(nlohmann::json::parse(text()).at("machines").at(0).at("plans").at(describe(key_number(2))).at("rest_microseconds"), 0.5);
}

TEST_F(PlanCacheFile, KeepsMachinesApart) {
  write_good_file();
  const PlanMachine others[] = {{"NVIDIA H100", 90, 91900}, {"NVIDIA H200", 80, 91900}, {"NVIDIA H200", 90, 92000}};
  for (const PlanMachine& other : others) {
    PlanCache cache = open(other);
    EXPECT_FALSE(cache.find(key_number(1)));
    cache.put(key_number(1), record_number(5));
    EXPECT_TRUE(cache.save());
  }
  EXPECT_EQ(open().find(key_number(1)), record_number(1));
  for (const PlanMachine& other : others) EXPECT_EQ(open(other).find(key_number(1)), record_number(5));
}

TEST_F(PlanCacheFile, EveryFieldOfTheKeyTellsPlansApart) {
  std::vector<PlanKey> keys(1, key_number(2));
  const auto variant = [&](auto change) { change(keys.emplace_back(keys.front())); };
  variant([](PlanKey& k) { k.pass = ConvPass::kBackwardData; });
  variant([](PlanKey& k) { k.pass = ConvPass::kBackwardFilter; });
  variant([](PlanKey& k) { k.precision = ConvPrecision::kTf32; });
  variant([](PlanKey& k) { k.precision = ConvPrecision::kBf16; });
  variant([](PlanKey& k) { k.bias = false; });
  variant([](PlanKey& k) { k.residual = true; });
  variant([](PlanKey& k) { k.activation = ConvActivation::kNone; });
  variant([](PlanKey& k) { k.activation = ConvActivation::kClippedRelu, k.ceiling = 6.0f; });
  variant([](PlanKey& k) { k.activation = ConvActivation::kClippedRelu, k.ceiling = std::nextafter(6.0f, 7.0f); });
  for (int64_t ConvShape::*size :
       {&ConvShape::N, &ConvShape::C, &ConvShape::H, &ConvShape::W, &ConvShape::K, &ConvShape::R, &ConvShape::S, &ConvShape::groups})
    variant([&](PlanKey& k) { ++(k.shape.*size); });
  for (size_t i = 0; i < 2; ++i) variant([&](PlanKey& k) { ++k.shape.strides[i]; });
  for (size_t i = 0; i < 2; ++i) variant([&](PlanKey& k) { ++k.shape.dilations[i]; });
  for (size_t i = 0; i < 4; ++i) variant([&](PlanKey& k) { ++k.shape.pads[i]; });
  std::set<std::string> names;
  for (const PlanKey& key : keys) EXPECT_TRUE(names.insert(describe(key)).second) << describe(key);
}

TEST_F(PlanCacheFile, DamagedFilesAreIgnoredAndRebuilt) {
  write_good_file();
  const std::string good = text();
  // Cut off anywhere before the last brace: never a crash, never an entry.
  for (size_t length = 0; length < good.rfind('}'); length += 1 + length / 7) {
    SCOPED_TRACE(length);
    write_file_atomically(path_, good.substr(0, length));
    expect_ignored_and_rebuilt("damaged");
  }
  write_file_atomically(path_, std::string("\x7f"
                                           "ELF\0\xff\xfe",
                                           7));
  expect_ignored_and_rebuilt("damaged");
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = good;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    write_file_atomically(path_, changed.replace(at, from.size(), to));
  };
  replaced("\"engine\": 1", "\"engine\": -1");
  expect_ignored_and_rebuilt("engine");
  replaced("\"engine\": 1", "\"engine\": \"one\"");
  expect_ignored_and_rebuilt("engine");
  replaced("\"engine\": 1", "\"motor\": 1");
  expect_ignored_and_rebuilt("engine");
  replaced("\"2\": 4", "\"two\": 4");
  expect_ignored_and_rebuilt("knob");
  replaced("\"2\": 4", "\"2\": 4.5");
  expect_ignored_and_rebuilt("knob");
  replaced("\"microseconds\": 0.1", "\"microseconds\": -0.1");
  expect_ignored_and_rebuilt("microseconds");
  replaced("\"microseconds\": 0.1", "\"microseconds\": 1e999");
  expect_ignored_and_rebuilt("damaged");
  replaced("\"microseconds\": 0.1", "\"microseconds\": 0.1, \"rest_microseconds\": -1.0");
  expect_ignored_and_rebuilt("rest_microseconds");
  replaced("\"microseconds\": 0.1", "\"microseconds\": 0.1, \"rest_microseconds\": \"long\"");
  expect_ignored_and_rebuilt("damaged");
  replaced("\"machines\": [", "\"machines\": [7,");
  expect_ignored_and_rebuilt("damaged");
}

TEST_F(PlanCacheFile, OtherFormatsAndVersionsAreStale) {
  write_good_file();
  const std::string good = text();
  for (const char* version : {"0", "1", "3", "\"2\"", "null"}) {
    std::string changed = good;
    write_file_atomically(path_, changed.replace(changed.find("\"version\": 2"), 12, std::string("\"version\": ") + version));
    expect_ignored_and_rebuilt(std::string("version ") + version);
  }
  std::string changed = good;
  write_file_atomically(path_, changed.replace(changed.find("cuDNN plans"), 11, "wine list"));
  expect_ignored_and_rebuilt("another format");
}

TEST_F(PlanCacheFile, AFileThatCannotBeWrittenIsNotFatal) {
  write_file_atomically(folder_ / "plain", "x");
  for (const std::string& path :
       {folder_ / "plain/plans.json", folder_.path()}) {  // below a file, and a folder: root cannot write there either
    notices_.clear();
    PlanCache cache(path, kH200, [this](const std::string& line) { notices_.push_back(line); });
    notices_.clear();
    cache.put(key_number(1), record_number(1));
    EXPECT_FALSE(cache.save());
    ASSERT_FALSE(notices_.empty());
    EXPECT_NE(notices_.back().find("not remembered"), std::string::npos) << notices_.back();
    EXPECT_EQ(cache.find(key_number(1)), record_number(1)) << "it still serves this run";
  }
  PlanCache none("", kH200, [](const std::string& line) { ADD_FAILURE() << line; });
  none.put(key_number(1), record_number(1));
  EXPECT_TRUE(none.save());
  EXPECT_EQ(none.find(key_number(1)), record_number(1));
}

TEST_F(PlanCacheFile, CreatesItsFolder) {
  path_ = folder_ / "a/b/plans.json";
  write_good_file();
  EXPECT_EQ(open().find(key_number(1)), record_number(1));
}

TEST_F(PlanCacheFile, WritersDoNotLoseEachOthersPlans) {
  PlanCache early = open();  // reads before the other writes
  write_good_file();
  early.put(key_number(2), record_number(2));
  EXPECT_TRUE(early.save());
  EXPECT_EQ(open().find(key_number(1)), record_number(1));
  EXPECT_EQ(early.find(key_number(1)), record_number(1)) << "saving takes over what others found";

  constexpr int kWriters = 4, kRounds = 12;
  std::vector<pid_t> children;
  for (int writer = 0; writer < kWriters; ++writer) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {  // no assertions here: what matters is what the file holds in the end
      bool well = true;
      for (int round = 0; round < kRounds; ++round) {
        PlanCache cache(path_, kH200, [&](const std::string&) { well = false; });
        const int64_t n = 100 * (writer + 1) + round;
        cache.put(key_number(n), record_number(n));
        well = cache.save() && well;
      }
      ::_exit(well ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "a writer saw a damaged file or could not save";
  }
  const PlanCache all = open();
  for (int writer = 0; writer < kWriters; ++writer)
    for (int round = 0; round < kRounds; ++round) {
      const int64_t n = 100 * (writer + 1) + round;
      EXPECT_EQ(all.find(key_number(n)), record_number(n)) << n;
    }
  EXPECT_EQ(all.find(key_number(1)), record_number(1));
  EXPECT_TRUE(notices_.empty()) << notices_[0];
}

TEST_F(PlanCacheFile, TheDefaultPathFollowsTheEnvironment) {
  ::setenv("HOME", "/home/someone", 1);
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("ACTMATCH_PLAN_CACHE");
  EXPECT_EQ(default_plan_cache_path(), "/home/someone/.cache/actmatch/cudnn_plans.json");
  ::setenv("XDG_CACHE_HOME", "/caches", 1);
  EXPECT_EQ(default_plan_cache_path(), "/caches/actmatch/cudnn_plans.json");
  ::setenv("ACTMATCH_PLAN_CACHE", "/x/y.json", 1);
  EXPECT_EQ(default_plan_cache_path(), "/x/y.json");
  ::setenv("ACTMATCH_PLAN_CACHE", "", 1);
  EXPECT_EQ(default_plan_cache_path(), "");
  for (const char* name : {"ACTMATCH_PLAN_CACHE", "XDG_CACHE_HOME", "HOME"}) ::unsetenv(name);
  EXPECT_EQ(default_plan_cache_path(), "");
}

}  // namespace
}  // namespace actmatch::cuda
