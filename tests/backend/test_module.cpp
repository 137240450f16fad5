// Modules of all kinds, good and broken ones: the good one is a backend like any other, each broken one says in a line what is wrong.
#include "engine/backend/module.h"

#include <cstdlib>
#include <filesystem>

#include "engine/backend/kernels.h"
#include "engine/core/lost_device.h"
#include "tests/support/expect_error.h"

namespace actmatch {
namespace {

using test::expect_error;

std::string folder(const std::string& name) { return std::string(ACTMATCH_BINARY_DIR) + "/test_modules/" + name; }
std::string file(const std::string& name) { return folder(name) + "/libactmatch_cuda.so"; }

class ModulePath : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* value = std::getenv("ACTMATCH_MODULE_PATH")) before_ = value, had_ = true;
  }
  void TearDown() override { had_ ? set(before_) : static_cast<void>(::unsetenv("ACTMATCH_MODULE_PATH")); }
  static void set(const std::string& path) { ::setenv("ACTMATCH_MODULE_PATH", path.c_str(), 1); }

 private:
  std::string before_;
  bool had_ = false;
};

TEST(Module, GivesABackendLikeAnyOther) {
  const BackendModule module = BackendModule::load(file("fake_gpu"));
  EXPECT_EQ(module.path(), file("fake_gpu"));
  const auto devices = module.devices();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[1].index, 1);
  EXPECT_EQ(devices[0].name, "Fake GPU");

  const auto backend = module.make_backend({1, Precision::kBf16, {}});
  EXPECT_EQ(backend->name(), "cuda:1");
  EXPECT_EQ(backend->precision(), Precision::kBf16);
  Graph graph;
  const ValueId x = graph.add_input("x", DType::kF32, {4});
  graph.mark_output(graph.add_node("relu", UnaryAttrs{UnaryKind::kRelu, 0, 0}, {x}));
  const auto program = backend->compile(graph, {});
  const float in[] = {-1, 2, -3, 4};
  float out[4];
  backend->upload(program->data(x), in, 4);
  program->forward();
  backend->download(out, program->data(graph.outputs()[0]), 4);
  EXPECT_EQ(std::vector<float>(out, out + 4), (std::vector<float>{0, 2, 0, 4}));
  float* memory = backend->allocate(4);
  backend->kernels().fill(memory, 7.0f, 4);
  backend->download(out, memory, 4);
  EXPECT_EQ(out[3], 7.0f);
  backend->release(memory);
}

// What a backend of a module throws is caught on this side as what it is, also after the module's handle is gone.
TEST(Module, ErrorsOfItsBackendComeAcross) {
  ::setenv("ACTMATCH_FAKE_GPU_BYTES", "1000", 1);
  const auto backend = BackendModule::load(file("fake_gpu")).make_backend({});
  ::unsetenv("ACTMATCH_FAKE_GPU_BYTES");
  EXPECT_EQ(backend->free_memory(), 1000u);
  expect_error(ErrorCode::kOutOfMemory, {"memory of the device"}, [&] { backend->allocate(1000); });
  float* memory = backend->allocate(100);
  EXPECT_EQ(backend->free_memory(), 600u);
  backend->release(memory);
}

// Its type too, which says that nothing else will work on the device, either.
TEST(Module, ALostDeviceComesAcross) {
  ::setenv("ACTMATCH_FAKE_GPU_LOST", "/", 1);  // a file that there is
  const auto backend = BackendModule::load(file("fake_gpu")).make_backend({});
  ::unsetenv("ACTMATCH_FAKE_GPU_LOST");
  float* memory = backend->allocate(1);
  const float number = 1;
  try {
    backend->upload(memory, &number, 1);
    ADD_FAILURE() << "the device is there";
  } catch (const Error& error) {
    EXPECT_NE(dynamic_cast<const LostDevice*>(&error), nullptr);
    EXPECT_TRUE(ends_the_run(error));
  }
  backend->release(memory);
}

TEST(Module, NoticesComeAcross) {
  ::setenv("ACTMATCH_FAKE_GPU_NOTICE", "plans are measured anew", 1);
  std::vector<std::string> heard;
  const BackendModule module = BackendModule::load(file("fake_gpu"));
  module.make_backend({0, Precision::kF32, [&](const std::string& text) { heard.push_back(text); }});
  module.make_backend({});  // nobody listens
  ::unsetenv("ACTMATCH_FAKE_GPU_NOTICE");
  EXPECT_EQ(heard, std::vector<std::string>{"plans are measured anew"});
}

TEST(Module, WhatCannotBeLoaded) {
  expect_error(ErrorCode::kUnsupported, {folder("none"), "cannot be loaded", "No such file"}, [] { BackendModule::load(file("none")); });
  expect_error(ErrorCode::kUnsupported, {file("text"), "cannot be loaded"}, [] { BackendModule::load(file("text")); });
  expect_error(ErrorCode::kUnsupported, {file("needy"), "libactmatch_that_is_missing.so", "LD_LIBRARY_PATH"},
               [] { BackendModule::load(file("needy")); });
  expect_error(ErrorCode::kUnsupported, {file("other"), "is no module", kModuleEntry}, [] { BackendModule::load(file("other")); });
}

TEST(Module, OfAnotherBuild) {
  expect_error(ErrorCode::kUnsupported, {file("stale"), "another build", "actmatch 0.0.9", module_abi()},
               [] { BackendModule::load(file("stale")); });
}

TEST(Module, StampsAreOfThisVersion) {
  EXPECT_EQ(std::string(module_abi()).rfind("actmatch " ACTMATCH_TEST_VERSION ", build ", 0), 0u) << module_abi();
  EXPECT_EQ(std::string(module_abi()).size(), std::string("actmatch " ACTMATCH_TEST_VERSION ", build 0123456789ab").size());
}

TEST(Module, FailuresInside) {
  const auto devices = [](const std::string& name) { return BackendModule::load(file(name)).devices(); };
  const auto make = [](const std::string& name) { return BackendModule::load(file(name)).make_backend({}); };
  EXPECT_TRUE(devices("nodevice").empty());
  expect_error(ErrorCode::kUnsupported, {"no NVIDIA driver", file("nodriver")}, [&] { devices("nodriver"); });
  expect_error(ErrorCode::kInternal, {"deep inside", file("throws")}, [&] { devices("throws"); });
  expect_error(ErrorCode::kInternal, {"unknown exception", file("throws")}, [&] { make("throws"); });
  expect_error(ErrorCode::kInternal, {"unknown exception", file("throwsthrough")}, [&] { devices("throwsthrough"); });
  expect_error(ErrorCode::kOutOfMemory, {"out of memory", file("throwsthrough")}, [&] { make("throwsthrough"); });
  expect_error(ErrorCode::kInternal, {"does not say why", file("silent")}, [&] { devices("silent"); });
  expect_error(ErrorCode::kInternal, {"no backend", file("silent")}, [&] { make("silent"); });
}

TEST_F(ModulePath, SaysWhereModulesLie) {
  set(folder("none") + "::" + folder("fake_gpu") + ":/nowhere");
  EXPECT_EQ(module_folders(), (std::vector<std::string>{folder("none"), folder("fake_gpu"), "/nowhere"}));
  EXPECT_EQ(BackendModule::find("cuda").path(), file("fake_gpu"));
  // The first one counts, although the second would do: what is wrong is said, not passed over.
  set(folder("stale") + ":" + folder("fake_gpu"));
  expect_error(ErrorCode::kUnsupported, {"another build"}, [] { BackendModule::find("cuda"); });
  set(folder("none"));
  expect_error(ErrorCode::kUnsupported, {"libactmatch_cuda.so", folder("none"), "ACTMATCH_MODULE_PATH"},
               [] { BackendModule::find("cuda"); });
  set("");
  expect_error(ErrorCode::kUnsupported, {"names no folder"}, [] { BackendModule::find("cuda"); });
}

TEST_F(ModulePath, OtherwiseBesideTheProgramAndInItsPrefix) {
  ::unsetenv("ACTMATCH_MODULE_PATH");
  const auto folders = module_folders();
  ASSERT_GE(folders.size(), 2u);
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  EXPECT_EQ(folders[0], program.string());
  EXPECT_EQ(std::filesystem::path(folders[1]).filename(), "actmatch");
  EXPECT_EQ(folders[1].find(".."), std::string::npos) << folders[1];
  EXPECT_NE(folders[1].find("/lib"), std::string::npos) << folders[1];
  EXPECT_EQ(folders[1].rfind(program.parent_path().string(), 0), 0u) << "in the prefix that the program lies in: " << folders[1];
}

}  // namespace
}  // namespace actmatch
