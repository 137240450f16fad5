// `actmatch run` and `actmatch inspect`.
#include <cmath>
#include <cstring>

#include "engine/image/file.h"
#include "engine/image/npy.h"
#include "onnx_import/initializers.h"
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

// What is no picture: numbers of all types, no input at all, several outputs, a shape that is given like an array.
TEST(Run, NumbersOfAllTypes) {
  const TemporaryFolder tmp;
  ModelMaker m;
  m.input("x", {2, 3}).input("i", {2}, onnx::TensorProto::INT64).input("flag", {}, onnx::TensorProto::BOOL);
  m.input("target", {1}, onnx::TensorProto::INT64);
  m.node("Gather", {"x", "i"}, {"picked"}).set("axis", int64_t{1}).node("Not", {"flag"}, {"no"}).node("Add", {"i", "i"}, {"twice"});
  m.node("Reshape", {"x", "target"}, {"flat"}).node("ReduceSum", {"flat"}, {"total"}).set("keepdims", int64_t{0});
  m.output("picked").output("no").output("twice").output("flat").output("total");
  write(tmp / "m.onnx", m.proto.SerializeAsString());
  write_npy(tmp / "x.npy", Tensor::of<float>({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  write_npy(tmp / "i.npy", Tensor::of<int64_t>({2}, std::vector<int64_t>{2, -3}));
  write_npy(tmp / "flag.npy", Tensor::scalar<uint8_t>(0));
  write_npy(tmp / "target.npy", Tensor::of<float>({1}, std::vector<float>{-1}));  // whole numbers in floats are fine
  const std::vector<std::string> inputs{"run",     tmp / "m.onnx",
                                        "--input", "x=" + (tmp / "x.npy"),
                                        "--input", "i=" + (tmp / "i.npy"),
                                        "--input", "flag=" + (tmp / "flag.npy"),
                                        "--input", "target=" + (tmp / "target.npy")};
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = inputs;
    all.insert(all.end(), more.begin(), more.end());
    return run_actmatch(all);
  };
  Outcome outcome = run({"--out", tmp / "out"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(floats(tmp / "out/picked.npy"), (std::vector<float>{3, 1, 6, 4}));
  const Tensor no = read_npy(tmp / "out/no.npy"), twice = read_npy(tmp / "out/twice.npy");
  EXPECT_EQ(no.dtype(), DType::kBool);
  EXPECT_EQ(*no.data<uint8_t>(), 1);
  EXPECT_EQ(std::vector<int64_t>(twice.view<int64_t>().begin(), twice.view<int64_t>().end()), (std::vector<int64_t>{4, -6}));
  EXPECT_EQ(read_npy(tmp / "out/flat.npy").shape(), (Shape{6}));
  EXPECT_NE(outcome.out.find("twice"), std::string::npos) << "the table has whole numbers too: " << outcome.out;
  outcome = run({"--out", tmp / "slope", "--gradient", "picked"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(floats(tmp / "slope/grad_x.npy"), (std::vector<float>{1, 0, 1, 1, 0, 1}));
  EXPECT_FALSE(fs::exists(tmp / "slope/grad_i.npy"));
  outcome = run({"--out", tmp / "none", "--gradient", "twice"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("not of floats"), std::string::npos) << outcome.err;

  write_npy(tmp / "target.npy", Tensor::of<float>({1}, std::vector<float>{0.5f}));
  outcome = run({"--out", tmp / "half"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("'target' takes whole numbers"), std::string::npos) << outcome.err;

  ModelMaker constant;
  constant.node("Constant", {}, {"y"}).set("value_float", 1.5f).output("y");
  write(tmp / "c.onnx", constant.proto.SerializeAsString());
  outcome = run_actmatch({"run", tmp / "c.onnx", "--out", tmp / "constant"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(floats(tmp / "constant/y.npy"), (std::vector<float>{1.5f}));
}

// A sample of the ONNX project's own cases through the command; all of them run in the tests of the importer.
TEST(Run, NodeCasesOfTheOnnxProject) {
  const fs::path root = "/usr/share/libonnx-testdata/data/node";
  if (!fs::is_directory(root)) GTEST_SKIP() << "install libonnx-testdata";
  const auto read = [](const fs::path& path) {
    onnx::TensorProto proto;
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(proto.ParseFromIstream(&file)) << path;
    return proto;
  };
  for (const std::string name : {"test_abs",
                                 "test_argmax_default_axis_random",
                                 "test_and2d",
                                 "test_batchnorm_example",
                                 "test_constant",
                                 "test_conv_with_autopad_same",
                                 "test_cumsum_1d_reverse",
                                 "test_einsum_batch_matmul",
                                 "test_gathernd_example_int32",
                                 "test_gridsample",
                                 "test_isnan",
                                 "test_mod_int64_fmod",
                                 "test_onehot_with_axis",
                                 "test_reduce_prod_keepdims_random",
                                 "test_reshape_negative_dim",
                                 "test_resize_downsample_sizes_cubic",
                                 "test_scatter_elements_with_negative_indices",
                                 "test_split_variable_parts_2d",
                                 "test_top_k",
                                 "test_where_long_example"}) {
    SCOPED_TRACE(name);
    const TemporaryFolder tmp;
    const fs::path folder = root / name, data = folder / "test_data_set_0";
    onnx::ModelProto model;
    std::ifstream file(folder / "model.onnx", std::ios::binary);
    ASSERT_TRUE(model.ParseFromIstream(&file));
    std::vector<std::string> arguments{"run", (folder / "model.onnx").string(), "--out", tmp / "out"};
    for (int i = 0; i < model.graph().input_size(); ++i) {
      const std::string path = tmp / ("input_" + std::to_string(i) + ".npy");
      write_npy(path, onnx_import::read_tensor(read(data / ("input_" + std::to_string(i) + ".pb")), "the input"));
      arguments.insert(arguments.end(), {"--input", model.graph().input(i).name() + "=" + path});
    }
    const Outcome outcome = run_actmatch(arguments);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    for (int i = 0; i < model.graph().output_size(); ++i) {
      const Tensor expected = onnx_import::read_tensor(read(data / ("output_" + std::to_string(i) + ".pb")), "the output");
      const Tensor got = read_npy(tmp / ("out/" + model.graph().output(i).name() + ".npy"));
      ASSERT_EQ(got.dtype(), expected.dtype());
      ASSERT_EQ(got.shape(), expected.shape());
      if (got.dtype() == DType::kF32) {
        for (int64_t k = 0; k < got.count(); ++k) ASSERT_NEAR(got.data<float>()[k], expected.data<float>()[k], 1e-5);
      } else {
        EXPECT_EQ(std::memcmp(got.raw(), expected.raw(), got.bytes()), 0);
      }
    }
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
