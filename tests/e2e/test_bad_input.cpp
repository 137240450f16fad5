// Every kind of bad input: one line with cause and cure, a status that is not zero, and no output.
#include <sys/resource.h>

#include <csignal>

#include "tests/e2e/command.h"
#include "tests/onnx/model_maker.h"

namespace actmatch::e2e {
namespace {

using onnx_import::ModelMaker;

// A classifier of 4 classes for 3-channel 16x16 pictures; `channels` and `weight` make it a bad one.
ModelMaker small_classifier(int64_t channels = 3, float weight = 0.1f) {
  ModelMaker m;
  m.input("x", {-1, channels, 16, 16}).filled("w", {4, channels, 3, 3}, weight);
  m.node("Conv", {"x", "w"}, {"c"}).node("GlobalAveragePool", {"c"}, {"g"}).node("Flatten", {"g"}, {"z"}).output("z");
  return m;
}

class BadInput : public testing::Test {
 protected:
  void SetUp() override { fs::copy(example("images/dotted_disc.png"), tmp / "good.png"); }
  std::string save(const std::string& name, const ModelMaker& model) const {
    write(tmp / name, model.proto.SerializeAsString());
    return tmp / name;
  }
  // `explain` with these arguments must fail, say each of `words`, and leave nothing behind.
  void expect_failure(const std::vector<std::string>& arguments, int status, const std::vector<std::string>& words) const {
    std::vector<std::string> all{"explain"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Outcome run = run_actmatch(all);
    EXPECT_EQ(run.status, status) << run.err;
    expect_one_line(run);
    for (const std::string& word : words) EXPECT_NE(run.err.find(word), std::string::npos) << "'" << word << "' is missing in: " << run.err;
    EXPECT_FALSE(fs::exists(tmp / "out")) << run.err;
  }
  void expect_bad_model(const std::string& model, const std::vector<std::string>& words) const {
    expect_failure({model, tmp / "good.png", "--out", tmp / "out", "--preprocess", "unit", "--steps", "2"}, 1, words);
  }
  void expect_bad_flags(const std::vector<std::string>& flags, int status, const std::vector<std::string>& words) const {
    std::vector<std::string> all{shapes_model(), tmp / "good.png", "--out", tmp / "out", "--steps", "2"};
    all.insert(all.end(), flags.begin(), flags.end());
    expect_failure(all, status, words);
  }
  TemporaryFolder tmp;
};

TEST_F(BadInput, TheSmallClassifierItselfIsGood) {
  const Outcome run = run_actmatch({"explain", save("m.onnx", small_classifier()), tmp / "good.png", "--out", tmp / "out", "--preprocess",
                                    "unit", "--steps", "2", "--quiet"});
  EXPECT_EQ(run.status, 0) << run.err;
}

TEST_F(BadInput, Models) {
  expect_bad_model(tmp / "missing.onnx", {"missing.onnx", "does not exist"});
  write(tmp / "text.onnx", "hello, I am a text");
  expect_bad_model(tmp / "text.onnx", {"text.onnx"});
  const std::string whole = contents(shapes_model());
  write(tmp / "cut.onnx", whole.substr(0, whole.size() / 2));
  expect_bad_model(tmp / "cut.onnx", {"cut.onnx"});
  write(tmp / "empty.onnx", "");
  expect_bad_model(tmp / "empty.onnx", {"empty.onnx"});
  expect_bad_model(tmp / "", {});  // a folder
  expect_bad_model(save("nan.onnx", small_classifier(3, std::nanf(""))), {"NaN"});
  expect_bad_model(save("channels.onnx", small_classifier(4)), {"no image-like input", "1x4x16x16"});
}

TEST_F(BadInput, UnsupportedOperatorsAreAllNamed) {
  ModelMaker m;
  m.input("x", {1, 3, 16, 16}).node("NoSuchOperator", {"x"}, {"a"}).node("NeitherThis", {"a"}, {"b"}).output("b");
  m.proto.mutable_graph()->mutable_node(0)->set_name("first_node");
  m.proto.mutable_graph()->mutable_node(1)->set_name("second_node");
  const std::string path = save("ops.onnx", m);
  expect_bad_model(path, {"first_node", "NoSuchOperator", "second_node", "NeitherThis", "opset 13"});
  const Outcome inspect = run_actmatch({"inspect", path});
  EXPECT_EQ(inspect.status, 1);
  EXPECT_NE(inspect.out.find("first_node"), std::string::npos) << inspect.out;
  EXPECT_NE(inspect.out.find("second_node"), std::string::npos) << inspect.out;
}

TEST_F(BadInput, NoImageLikeInput) {
  ModelMaker m;
  m.input("tokens", {1, 12}).filled("w", {12, 4}, 0.5f).node("MatMul", {"tokens", "w"}, {"z"}).output("z");
  expect_bad_model(save("text.onnx", m), {"no image-like input", "tokens", "1x12"});
}

TEST_F(BadInput, Pictures) {
  const auto expect_bad_picture = [&](const std::string& path, const std::vector<std::string>& words) {
    expect_failure({shapes_model(), path, "--out", tmp / "out", "--steps", "2"}, 1, words);
  };
  write(tmp / "text.png", "hello");
  expect_bad_picture(tmp / "text.png", {"text.png"});
  const std::string whole = contents(tmp / "good.png");
  write(tmp / "cut.png", whole.substr(0, whole.size() / 2));
  expect_bad_picture(tmp / "cut.png", {"cut.png"});
  expect_bad_picture(tmp / "missing.png", {"missing.png", "check the path"});
  fs::create_directory(tmp / "empty");
  expect_bad_picture(tmp / "empty", {"no picture in the folder"});
}

TEST_F(BadInput, Flags) {
  expect_bad_flags({"--class", "hexagon"}, 1, {"no class 'hexagon'"});
  expect_bad_flags({"--class", "striped"}, 1, {"fits several", "0 'striped disc'", "3 'striped square'"});
  expect_bad_flags({"--class", "dotted dics"}, 1, {"did you mean 1 'dotted disc'"});
  expect_bad_flags({"--class", "10"}, 1, {"classes 0 to 9"});
  expect_bad_flags({"--class=-1"}, 1, {"no class -1"});
  expect_bad_flags({"--tau", "nan"}, 1, {"tau"});
  expect_bad_flags({"--recipe", "none-such"}, 1, {"none-such", "default", "paper"});
  expect_bad_flags({"--preprocess", "none-such"}, 1, {"none-such", "imagenet", "caffe"});
  write(tmp / "labels.txt", "one\ntwo\n");
  expect_bad_flags({"--labels", tmp / "labels.txt"}, 1, {"names 2 classes", "has 10"});
  expect_bad_flags({"--labels", tmp / "none.txt"}, 1, {"none.txt"});
  expect_bad_flags({"--device", "cuda"}, 1, {"libactmatch_cuda.so", "cpu"});
  expect_bad_flags({"--device", "tpu"}, 1, {"no device 'tpu'", "auto"});
  expect_bad_flags({"--precision", "bf16"}, 1, {"fp32 only", "bf16", "actmatch devices"});
  expect_bad_flags({"--device", "cpu", "--precision", "tf32"}, 1, {"fp32 only", "tf32"});
  expect_bad_flags({"--resize", "none", "--resize-ratio", "9"}, 2, {"--resize-ratio"});
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{{"--steps", "0"},
                                                                                     {"--steps", "many"},
                                                                                     {"--tau", "1.5"},
                                                                                     {"--rho", "0"},
                                                                                     {"--backgrounds", "0"},
                                                                                     {"--tile", "0"},
                                                                                     {"--instances", "0"},
                                                                                     {"--threads", "-1"},
                                                                                     {"--seed", "x"},
                                                                                     {"--generator", "gan"},
                                                                                     {"--precision", "fp16"},
                                                                                     {"--batch", "0"},
                                                                                     {"--batch", "many"},
                                                                                     {"--no-such-flag"}})
    expect_bad_flags(flags, 2, {"--help", flags.front()});
}

TEST_F(BadInput, UnwritableOutput) {
  write(tmp / "file", "");
  for (const std::string& out : {tmp / "file", tmp / "file/below", std::string("/proc/actmatch")}) {
    const Outcome run = run_actmatch(quick_explain(tmp / "good.png", out));
    EXPECT_EQ(run.status, 1) << out;
    expect_one_line(run);
    EXPECT_NE(run.err.find("--out"), std::string::npos) << run.err;
  }
}

// A limit on the size of a file refuses a write in the middle, as a full disk does. The pictures are smaller than it, soft_mask.npy is not.
TEST_F(BadInput, FullDisk) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);  // inherited by the program, which then sees EFBIG
  const struct rlimit limit { 30000, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::vector<std::string> words = quick_explain(tmp / "good.png", tmp / "out");
  words.push_back("--quiet");
  const Outcome run = run_actmatch(words);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(run.status, 1);
  expect_one_line(run);
  EXPECT_NE(run.err.find("soft_mask.npy"), std::string::npos) << run.err;
  for (const auto& entry : fs::recursive_directory_iterator(tmp / "out"))
    EXPECT_FALSE(entry.is_regular_file()) << entry.path() << " was left";
}

TEST_F(BadInput, CommandLines) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {}, {"explode"}, {"explain"}, {"explain", shapes_model()}, {"verify"}, {"run", shapes_model()}, {"inspect"}}) {
    const Outcome run = run_actmatch(words);
    EXPECT_EQ(run.status, 2);
    expect_one_line(run);
    EXPECT_NE(run.err.find("--help"), std::string::npos) << run.err;
  }
  for (const char* command : {"explain", "inspect", "run", "verify", "devices"}) {
    const Outcome help = run_actmatch({command, "--help"});
    EXPECT_EQ(help.status, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_NE(help.out.find("Example:"), std::string::npos) << help.out;
    EXPECT_NE(help.out.find("Exit status:"), std::string::npos) << help.out;
  }
}

}  // namespace
}  // namespace actmatch::e2e
