// `actmatch run` and `actmatch inspect`.
#include <cmath>

#include "engine/image/file.h"
#include "engine/image/npy.h"
#include "tests/e2e/command.h"
#include "tests/onnx/model_maker.h"

namespace actmatch::e2e {
namespace {

using onnx_import::ModelMaker;

std::vector<float> floats(const std::string& path) {
  const Tensor t = read_npy(path);
  return {t.view<float>().begin(), t.view<float>().end()};
}

// z = a W + b, s = softmax(z): no picture anywhere, two inputs, a name with characters that files should not have.
std::string two_inputs(const TemporaryFolder& tmp) {
  ModelMaker m;
  m.input("a", {-1, 2}).input("b:0", {-1, 3}).floats("W", {2, 3}, {1, 2, 3, 4, 5, 6});
  m.node("MatMul", {"a", "W"}, {"m"}).node("Add", {"m", "b:0"}, {"z/out"}).node("Relu", {"b:0"}, {"r"}).output("z/out").output("r");
  write(tmp / "m.onnx", m.proto.SerializeAsString());
  write_npy(tmp / "a.npy", Tensor::of<float>({2, 2}, std::vector<float>{1, 2, 3, 4}));
  write_npy(tmp / "b.npy", Tensor::of<int64_t>({2, 3}, std::vector<int64_t>{10, -20, 30, 40, 50, 60}));  // whole numbers are fine
  return tmp / "m.onnx";
}

TEST(Run, OutputsAndGradients) {
  const TemporaryFolder tmp;
  const std::string model = two_inputs(tmp);
  const std::vector<std::string> inputs{"run", model, "--input", "a=" + (tmp / "a.npy"), "--input", "b:0=" + (tmp / "b.npy")};
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = inputs;
    all.insert(all.end(), more.begin(), more.end());
    return run_actmatch(all);
  };
  Outcome outcome = run({"--out", tmp / "plain"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(files_under(tmp / "plain"), (std::vector<std::string>{"r.npy", "z_out.npy"}));
  // Small whole numbers: float arithmetic is exact.
  EXPECT_EQ(floats(tmp / "plain/z_out.npy"), (std::vector<float>{19, -8, 45, 59, 76, 93}));
  EXPECT_EQ(floats(tmp / "plain/r.npy"), (std::vector<float>{10, 0, 30, 40, 50, 60}));

  outcome = run({"--out", tmp / "sum", "--gradient", "z/out"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(files_under(tmp / "sum"), (std::vector<std::string>{"grad_a.npy", "grad_b_0.npy", "r.npy", "z_out.npy"}));
  EXPECT_EQ(floats(tmp / "sum/grad_a.npy"), (std::vector<float>{6, 15, 6, 15}));
  EXPECT_EQ(floats(tmp / "sum/grad_b_0.npy"), (std::vector<float>(6, 1)));

  outcome = run({"--out", tmp / "class", "--gradient", "z/out:1"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(floats(tmp / "class/grad_a.npy"), (std::vector<float>{2, 5, 2, 5}));
  EXPECT_EQ(floats(tmp / "class/grad_b_0.npy"), (std::vector<float>{0, 1, 0, 0, 1, 0}));

  // r does not depend on a: its gradient there is zero.
  outcome = run({"--out", tmp / "part", "--gradient", "r", "--quiet"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(floats(tmp / "part/grad_a.npy"), (std::vector<float>(4, 0)));
  EXPECT_EQ(floats(tmp / "part/grad_b_0.npy"), (std::vector<float>{1, 0, 1, 1, 1, 1}));
}

TEST(Run, Refusals) {
  const TemporaryFolder tmp;
  const std::string model = two_inputs(tmp), a = "a=" + (tmp / "a.npy"), b = "b:0=" + (tmp / "b.npy");
  write(tmp / "bad.npy", "not an array");
  write_npy(tmp / "wrong.npy", Tensor::of<float>({2, 5}, std::vector<float>(10)));
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--input", a}, "'b:0' is missing"},
      {{"--input", a, "--input", a, "--input", b}, "given twice"},
      {{"--input", tmp / "a.npy", "--input", b}, "NAME=FILE"},
      {{"--input", a, "--input", "b:0=" + (tmp / "bad.npy")}, "bad.npy"},
      {{"--input", a, "--input", "b:0=" + (tmp / "none.npy")}, "none.npy"},
      {{"--input", "a=" + (tmp / "wrong.npy"), "--input", b}, "2x5"},
      {{"--input", a, "--input", b, "--gradient", "nothing"}, "no such output"},
      {{"--input", a, "--input", b, "--gradient", "z/out:3"}, "no column 3"},
      {{"--input", a, "--input", b, "--gradient", "z/out:x"}, "class index"},
  };
  for (const auto& [flags, words] : cases) {
    std::vector<std::string> all{"run", model, "--out", tmp / "out"};
    all.insert(all.end(), flags.begin(), flags.end());
    const Outcome outcome = run_actmatch(all);
    EXPECT_EQ(outcome.status, 1) << words;
    expect_one_line(outcome);
    EXPECT_NE(outcome.err.find(words), std::string::npos) << "'" << words << "' is missing in: " << outcome.err;
    EXPECT_FALSE(fs::exists(tmp / "out"));
  }
}

TEST(Inspect, TellsWhatIsInTheModel) {
  const Outcome text = run_actmatch({"inspect", shapes_model()});
  ASSERT_EQ(text.status, 0) << text.err;
  for (const char* word : {"parameters", "multiply-adds", "taps", "96x96", "Conv"})
    EXPECT_NE(text.out.find(word), std::string::npos) << word << " is missing in:\n" << text.out;
  const Outcome json = run_actmatch({"inspect", shapes_model(), "--json"});
  ASSERT_EQ(json.status, 0);
  const auto info = nlohmann::json::parse(json.out);
  EXPECT_EQ(info["classifier"]["channels"], 3);
  EXPECT_EQ(info["classifier"]["height"], 96);
  EXPECT_EQ(info["classifier"]["classes"], 10);
  EXPECT_EQ(info["classifier"]["softmax"], false);
  EXPECT_FALSE(info["classifier"]["taps"].empty());
  EXPECT_TRUE(info["unsupported"].empty());
  EXPECT_GT(info["parameters"].get<int64_t>(), 100000);
  int64_t counted = 0;
  for (const auto& [op, count] : info["operators"].items()) counted += count.get<int64_t>();
  EXPECT_EQ(info["nodes"], counted);
}

// A model whose size can be counted by hand.
TEST(Inspect, CountsMultiplyAddsAndParameters) {
  const TemporaryFolder tmp;
  ModelMaker m;
  m.input("x", {1, 3, 8, 8}).filled("w", {4, 3, 1, 1}, 0.5f).node("Conv", {"x", "w"}, {"c"}).node("GlobalAveragePool", {"c"}, {"g"});
  m.node("Flatten", {"g"}, {"z"}).node("Softmax", {"z"}, {"p"}).output("p");
  write(tmp / "m.onnx", m.proto.SerializeAsString());
  const auto info = nlohmann::json::parse(run_actmatch({"inspect", tmp / "m.onnx", "--json"}).out);
  EXPECT_EQ(info["parameters"], 12);
  EXPECT_EQ(info["multiply_adds"], 8 * 8 * 4 * 3);
  EXPECT_EQ(info["nodes"], 4);
  EXPECT_EQ(info["classifier"]["softmax"], true);
  EXPECT_EQ(info["inputs"][0]["shape"], (nlohmann::json{1, 3, 8, 8}));
}

}  // namespace
}  // namespace actmatch::e2e
