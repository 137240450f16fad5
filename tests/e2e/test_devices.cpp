// One program with a GPU, without one, and with all that can be wrong with one. The GPU is a module of the tests.
#include <actmatch/actmatch.hpp>

#include "engine/image/npy.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

Environment modules(const std::string& kind) { return {"ACTMATCH_MODULE_PATH", module_folder(kind)}; }

nlohmann::json devices() { return nlohmann::json::parse(devices_json()); }

std::vector<std::string> explain(const std::string& out, std::vector<std::string> more) {
  more.push_back("--quiet");
  return quick_explain(example("images/dotted_disc.png"), out, more);
}

TEST(Devices, ListsTheProcessorAndSaysWhyThereIsNoGpu) {
  // What is wrong, and words of the reason.
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"none", {"libactmatch_cuda.so", "ACTMATCH_MODULE_PATH"}},
      {"needy", {"libactmatch_that_is_missing.so"}},
      {"text", {"cannot be loaded"}},
      {"other", {"is no module"}},
      {"stale", {"another build", "0.0.9"}},
      {"nodriver", {"no NVIDIA driver"}},
      {"nodevice", {"shows no GPU"}},
      {"throws", {"deep inside"}},
  };
  for (const auto& [kind, words] : cases) {
    SCOPED_TRACE(kind);
    const auto set = modules(kind);
    const Outcome run = run_actmatch({"devices"});
    EXPECT_EQ(run.status, 0);
    EXPECT_EQ(run.err, "");
    EXPECT_NE(run.out.find("\ncpu "), std::string::npos) << run.out;
    EXPECT_EQ(run.out.find("cuda:"), std::string::npos) << run.out;
    EXPECT_NE(run.out.find("\nno cuda device: "), std::string::npos) << run.out;
    for (const std::string& word : words) EXPECT_NE(run.out.find(word), std::string::npos) << word << " is not in " << run.out;
    const auto list = devices();
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0]["name"], "cpu");
    EXPECT_EQ(list[0]["precisions"], nlohmann::json{"fp32"});
    EXPECT_EQ(list[1]["name"], "cuda");
    EXPECT_FALSE(list[1]["missing"].get<std::string>().empty());

    const TemporaryFolder tmp;
    const Outcome refused = run_actmatch(explain(tmp / "out", {"--device", "cuda"}));
    EXPECT_EQ(refused.status, 1);
    expect_one_line(refused);
    for (const std::string& word : words) EXPECT_NE(refused.err.find(word), std::string::npos) << word << " is not in " << refused.err;
    EXPECT_FALSE(fs::exists(tmp / "out"));
    // auto takes the CPU, and says nothing about it.
    const Outcome quiet = run_actmatch(explain(tmp / "out", {"--device", "auto"}));
    EXPECT_EQ(quiet.status, 0);
    EXPECT_EQ(quiet.err, "");
    EXPECT_EQ(json_of(tmp / "out/dotted_disc/result.json")["device"], "cpu");
  }
}

TEST(Devices, ListsGpusFirst) {
  const auto set = modules("fake_gpu");
  const Outcome run = run_actmatch({"devices"});
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.err, "");
  const auto list = devices();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0]["name"], "cuda:0");
  EXPECT_EQ(list[0]["description"], "Fake GPU, compute capability 0.0");
  EXPECT_EQ(list[0]["precisions"], (nlohmann::json{"fp32", "tf32", "bf16"}));
  EXPECT_EQ(list[1]["name"], "cuda:1");
  EXPECT_EQ(list[1]["description"], "Other fake GPU, 1 GiB");
  EXPECT_EQ(list[2]["name"], "cpu");
  for (const char* words : {"cuda:0", "Fake GPU, compute capability 0.0", "cuda:1", "cpu", "fp32 tf32 bf16"})
    EXPECT_NE(run.out.find(words), std::string::npos) << words;
  EXPECT_EQ(run.out.find("no cuda"), std::string::npos);
}

TEST(Devices, NamesChooseThem) {
  const auto set = modules("fake_gpu");
  const TemporaryFolder tmp;
  for (const auto& [name, taken] : std::vector<std::pair<std::string, std::string>>{
           {"auto", "cuda:0"}, {"cuda", "cuda:0"}, {"cuda:0", "cuda:0"}, {"cuda:1", "cuda:1"}, {"cpu", "cpu"}}) {
    const Outcome run = run_actmatch(explain(tmp / name, {"--device", name}));
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_EQ(json_of(tmp / name + "/dotted_disc/result.json")["device"], taken);
    EXPECT_EQ(nlohmann::json::parse(run_actmatch({"inspect", shapes_model(), "--json", "--device", name}).out)["device"], taken);
  }
  // A GPU that gives the same numbers gives the same mask.
  EXPECT_EQ(contents(tmp / "cpu/dotted_disc/mask.png"), contents(tmp / "cuda:1/dotted_disc/mask.png"));
  Outcome run = run_actmatch(explain(tmp / "out", {"--device", "cuda:2"}));
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  for (const char* words : {"no device 'cuda:2'", "cuda:0 (Fake GPU)", "cuda:1 (Other fake GPU)", "cpu"})
    EXPECT_NE(run.err.find(words), std::string::npos) << run.err;
  for (const char* name : {"cuda:", "cuda:x", "cuda:1x", "cuda:-1", "cuda:99999999999", "gpu", ""}) {
    run = run_actmatch(explain(tmp / "out", {"--device", name}));
    EXPECT_EQ(run.status, 1) << name;
    expect_one_line(run);
    EXPECT_NE(run.err.find("no device '" + std::string(name) + "'"), std::string::npos) << run.err;
  }
  EXPECT_FALSE(fs::exists(tmp / "out"));
}

TEST(Devices, AGpuThatFailsIsAnErrorAlsoForAuto) {
  const auto set = modules("fake_gpu");
  const Environment small("ACTMATCH_FAKE_GPU_BYTES", "1000");
  const TemporaryFolder tmp;
  const Outcome run = run_actmatch(explain(tmp / "out", {}));
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("memory"), std::string::npos) << run.err;
}

#if defined(ACTMATCH_TEST_FAKE_CUDA)
// The CUDA backend itself, on a GPU that answers so many calls and none after that: one line, and no attempt with fewer pictures.
TEST(Devices, AGpuThatIsLostEndsTheRun) {
  const auto set = modules("fake_cuda");
  EXPECT_EQ(devices()[0]["name"], "cuda:0");
  const TemporaryFolder tmp;
  const Environment cache("ACTMATCH_PLAN_CACHE", tmp / "plans");
  for (const char* calls : {"1", "40", "400", "1500"}) {
    SCOPED_TRACE(calls);
    const Environment lost("ACTMATCH_FAKE_CUDA_CALLS", calls);
    for (const char* batch : {"1", "2"}) {
      auto words = explain(tmp / "out", {"--device", "cuda", "--batch", batch});
      words.insert(words.begin() + 2, example("images/striped_star.png"));
      const Outcome run = run_actmatch(words);
      EXPECT_EQ(run.status, 1);
      expect_one_line(run);
      EXPECT_NE(run.err.find("the GPU is lost to this program: "), std::string::npos) << run.err;
      EXPECT_NE(run.err.find("unspecified launch failure; start the program again"), std::string::npos) << run.err;
      EXPECT_FALSE(fs::exists(tmp / "out/dotted_disc"));
    }
  }
}
#endif

TEST(Precision, ReachesDeviceAndRecord) {
  const auto set = modules("fake_gpu");
  const TemporaryFolder tmp;
  for (const char* precision : {"fp32", "tf32", "bf16"}) {
    const Outcome run = run_actmatch(explain(tmp / precision, {"--precision", precision}));
    EXPECT_EQ(run.status, 0) << run.err;
    const std::string record = tmp / precision + "/dotted_disc/result.json";
    EXPECT_EQ(json_of(record)["precision"], precision);
    EXPECT_NE(contents(tmp / precision + "/index.html").find(std::string("cuda:0, ") + precision), std::string::npos);
    EXPECT_EQ(run_actmatch({"verify", record}).status, 0);
    EXPECT_EQ(run_actmatch({"verify", record, "--device", "cuda:1", "--precision", precision}).status, 0);
    // Where the device does not have it, fp32 measures.
    EXPECT_EQ(run_actmatch({"verify", record, "--device", "cpu"}).status, 0);
    const Outcome cpu = run_actmatch({"verify", record, "--device", "cpu", "--precision", precision});
    EXPECT_EQ(cpu.status, precision == std::string("fp32") ? 0 : 1);
    if (cpu.status) expect_one_line(cpu);
  }
  const Outcome run =
      run_actmatch({"run", shapes_model(), "--input", tmp / "x.npy", "--out", tmp / "y", "--device", "cpu", "--precision", "bf16"});
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("fp32 only"), std::string::npos) << run.err;
  write_npy(tmp / "x.npy", Tensor(DType::kF32, {1, 3, 96, 96}));
  EXPECT_EQ(run_actmatch({"run", shapes_model(), "--input", tmp / "x.npy", "--out", tmp / "y", "--precision", "bf16"}).status, 0);
}

// What rounding makes of a number is allowed for, and no more than that.
TEST(Precision, VerifyAllowsForTheRoundingOfTheRecord) {
  const TemporaryFolder tmp;
  ASSERT_EQ(run_actmatch(explain(tmp / "out", {})).status, 0);
  const std::string record = tmp / "out/dotted_disc/result.json";
  const auto original = nlohmann::ordered_json::parse(contents(record));
  const auto holds = [&](const char* precision, double factor) {
    auto json = original;
    json["precision"] = precision;
    json["p_x"] = original["p_x"].get<double>() * factor;
    write(record, json.dump());
    return run_actmatch({"verify", record, "--quiet"}).status == 0;
  };
  EXPECT_TRUE(holds("fp32", 1.0005));
  EXPECT_FALSE(holds("fp32", 1.002));
  EXPECT_TRUE(holds("tf32", 1.01));
  EXPECT_FALSE(holds("tf32", 1.04));
  EXPECT_TRUE(holds("bf16", 0.9));
  EXPECT_FALSE(holds("bf16", 0.8));
  auto json = original;
  json["precision"] = "int4";
  write(record, json.dump());
  const Outcome run = run_actmatch({"verify", record});
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("'precision'"), std::string::npos) << run.err;
}

TEST(Notices, ReachTheListenerAndTheTerminal) {
  const auto set = modules("fake_gpu");
  const Environment notice("ACTMATCH_FAKE_GPU_NOTICE", "plans are measured anew");
  std::vector<std::string> heard;
  ModelOptions options;
  options.device = "cuda";
  options.notice = [&](const std::string& text) { heard.push_back(text); };
  const Model model(shapes_model(), options);
  EXPECT_EQ(heard, std::vector<std::string>{"plans are measured anew"});
  const TemporaryFolder tmp;
  auto words = quick_explain(example("images/dotted_disc.png"), tmp / "out");
  EXPECT_NE(run_actmatch(words).err.find("actmatch: plans are measured anew\n"), std::string::npos);
  words.push_back("--quiet");
  EXPECT_EQ(run_actmatch(words).err, "");
}

}  // namespace
}  // namespace actmatch::e2e
