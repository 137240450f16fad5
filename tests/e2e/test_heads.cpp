// The shipped classifier with other ends and other inputs: what is recognised, explained and verified is the same decision.
#include <actmatch/actmatch.hpp>

#include "onnx/onnx.pb.h"
#include "tests/e2e/command.h"

namespace actmatch::e2e {
namespace {

class Net {
 public:
  Net() {
    proto_.ParseFromString(contents(shapes_model()));
    output_ = graph().output(0).name();
    input_ = graph().input(0).name();
  }
  onnx::GraphProto& graph() { return *proto_.mutable_graph(); }
  const std::string& input() const { return input_; }

  onnx::TensorProto& tensor(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
    auto& t = *graph().add_initializer();
    t.set_name(name);
    t.set_data_type(onnx::TensorProto::FLOAT);
    for (int64_t d : dims) t.add_dims(d);
    for (float v : values) t.add_float_data(v);
    return t;
  }
  onnx::TensorProto& integers(const std::string& name, const std::vector<int64_t>& values) {
    auto& t = *graph().add_initializer();
    t.set_name(name);
    t.set_data_type(onnx::TensorProto::INT64);
    t.add_dims(static_cast<int64_t>(values.size()));
    for (int64_t v : values) t.add_int64_data(v);
    return t;
  }
  // A node behind the output, whose result is the new output.
  onnx::NodeProto& behind(const std::string& op, const std::vector<std::string>& more = {}) {
    auto& node = *graph().add_node();
    node.set_op_type(op);
    node.add_input(output_);
    for (const auto& name : more) node.add_input(name);
    node.add_output(output_ += "_");
    graph().mutable_output(0)->set_name(output_);
    graph().mutable_output(0)->mutable_type()->mutable_tensor_type()->clear_shape();
    return node;
  }
  // A node in front of the input.
  onnx::NodeProto& in_front(const std::string& op, const std::vector<std::string>& more = {}) {
    const std::string inner = input_ + "_n" + std::to_string(graph().node_size());
    for (auto& node : *graph().mutable_node())
      for (auto& input : *node.mutable_input())
        if (input == input_) input = inner;
    auto& node = *graph().add_node();
    node.set_op_type(op);
    node.add_input(input_);
    for (const auto& name : more) node.add_input(name);
    node.add_output(inner);
    return node;
  }
  static void set(onnx::NodeProto& node, const std::string& name, const std::vector<int64_t>& values) {
    auto& attribute = *node.add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INTS);
    for (int64_t v : values) attribute.add_ints(v);
  }
  std::string save(const TemporaryFolder& tmp) {
    write(tmp / "net.onnx", proto_.SerializeAsString());
    fs::copy_file(example("shapes96.preprocess.json"), tmp / "net.preprocess.json", fs::copy_options::skip_existing);
    return tmp / "net.onnx";
  }

 private:
  onnx::ModelProto proto_;
  std::string output_, input_;
};

std::string picture() { return example("images/striped_star.png"); }
constexpr int kStar = 6;  // its class

nlohmann::json inspected(const std::string& model, std::vector<std::string> flags = {}) {
  flags.insert(flags.begin(), {"inspect", model, "--json"});
  const Outcome run = run_actmatch(flags);
  EXPECT_EQ(run.status, 0) << run.err;
  return nlohmann::json::parse(run.out);
}

// The record of an explanation, which has been verified.
nlohmann::json explained(const std::string& model, const TemporaryFolder& tmp, std::vector<std::string> flags = {}) {
  flags.insert(flags.begin(), {"explain", model, picture(), "--out", tmp / "out", "--steps", "20", "--backgrounds", "4", "--threads", "1"});
  const Outcome run = run_actmatch(flags);
  EXPECT_EQ(run.status, 0) << run.err;
  const std::string record = tmp / "out/striped_star/result.json";
  const Outcome verified = run_actmatch({"verify", record, "--threads", "1"});
  EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
  return json_of(record);
}

nlohmann::json plain_record() {
  static const nlohmann::json record = [] {
    const TemporaryFolder tmp;
    return explained(Net().save(tmp), tmp);
  }();
  return record;
}

void expect_same(const nlohmann::json& record, const nlohmann::json& wanted) {
  for (const char* key : {"class_index", "p_x", "p_e", "area", "background_stability", "feasible", "minimal_tile"})
    EXPECT_EQ(record[key], wanted[key]) << key;
}

TEST(Heads, SoftmaxAndItsLogarithmAreSeenThrough) {
  for (const char* end : {"Softmax", "LogSoftmax"}) {
    const TemporaryFolder tmp;
    Net net;
    net.behind(end);
    const std::string model = net.save(tmp);
    const auto info = inspected(model);
    EXPECT_EQ(info["classifier"]["head"], "softmax");
    EXPECT_EQ(info["classifier"]["softmax"], true);
    expect_same(explained(model, tmp), plain_record());
  }
}

TEST(Heads, ScoresAsAMap) {
  const TemporaryFolder tmp;
  Net net;
  net.integers("axes", {2, 3});
  net.behind("Unsqueeze", {"axes"});
  const std::string model = net.save(tmp);
  EXPECT_EQ(inspected(model)["classifier"]["classes"], 10);
  expect_same(explained(model, tmp), plain_record());
}

TEST(Heads, LabelsAreDecidedOneByOne) {
  const TemporaryFolder tmp;
  Net net;
  net.behind("Sigmoid");
  const std::string model = net.save(tmp);
  const auto info = inspected(model);
  EXPECT_EQ(info["classifier"]["head"], "sigmoid");
  EXPECT_EQ(info["classifier"]["sigmoid"], true);
  EXPECT_NE(run_actmatch({"inspect", model}).out.find("each decided by itself"), std::string::npos);
  const auto record = explained(model, tmp);  // the label with the highest score
  EXPECT_EQ(record["class_index"], kStar);
  EXPECT_EQ(record["head"], "sigmoid");
  EXPECT_GT(record["p_x"].get<double>(), 0.5);
  EXPECT_EQ(record["feasible"], true);
  EXPECT_GE(record["p_e"].get<double>(), 0.5 * record["p_x"].get<double>());
  const auto named = explained(model, tmp, {"--class", std::to_string(kStar)});
  expect_same(named, record);
  // The same logits with one winner, by choice: the plain classifier.
  const auto chosen = explained(model, tmp, {"--head", "softmax"});
  EXPECT_EQ(chosen["head"], "softmax");
  EXPECT_EQ(chosen["model_options"]["head"], "softmax");
  expect_same(chosen, plain_record());
  // And the other way round: plain logits whose labels are decided by themselves.
  expect_same(explained(Net().save(tmp), tmp, {"--head", "sigmoid"}), record);
}

TEST(Heads, OneScore) {
  const TemporaryFolder tmp;
  Net net;
  std::vector<float> pick(10, 0.0f);
  pick[kStar] = 1.0f;
  net.tensor("pick", {10, 1}, pick);
  net.behind("MatMul", {"pick"});
  net.behind("Sigmoid");
  const std::string model = net.save(tmp);
  const auto info = inspected(model);
  EXPECT_EQ(info["classifier"]["head"], "binary");
  EXPECT_EQ(info["classifier"]["classes"], 2);
  const auto record = explained(model, tmp);
  EXPECT_EQ(record["head"], "binary");
  EXPECT_EQ(record["class_index"], 1);
  EXPECT_GT(record["p_x"].get<double>(), 0.5);
  EXPECT_EQ(record["feasible"], true);
  const Outcome wrong = run_actmatch({"explain", model, picture(), "--out", tmp / "no", "--head", "softmax"});
  EXPECT_EQ(wrong.status, 1);
  expect_one_line(wrong);
}

TEST(Inputs, ChannelsLast) {
  const TemporaryFolder tmp;
  Net net;
  Net::set(net.in_front("Transpose"), "perm", {0, 3, 1, 2});
  auto& shape = *net.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  const auto channels = shape.dim(1), height = shape.dim(2), width = shape.dim(3);
  *shape.mutable_dim(1) = height;
  *shape.mutable_dim(2) = width;
  *shape.mutable_dim(3) = channels;
  const std::string model = net.save(tmp);
  EXPECT_EQ(inspected(model)["classifier"]["layout"], "nhwc");
  EXPECT_EQ(inspected(model)["classifier"]["taps"], inspected(shapes_model())["classifier"]["taps"]) << "the Transposes cancel";
  expect_same(explained(model, tmp), plain_record());
}

TEST(Inputs, SizesLeftOpenAndOtherInputs) {
  const TemporaryFolder tmp;
  Net net;
  auto& shape = *net.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  shape.mutable_dim(2)->set_dim_param("H");
  shape.mutable_dim(3)->set_dim_param("W");
  auto& other = *net.graph().add_input();
  other = net.graph().input(0);
  other.set_name("gain");
  other.mutable_type()->mutable_tensor_type()->mutable_shape()->clear_dim();
  net.behind("Mul", {"gain"});
  const std::string model = net.save(tmp);
  const Outcome open = run_actmatch({"explain", model, picture(), "--out", tmp / "no"});
  EXPECT_EQ(open.status, 1);
  expect_one_line(open);
  EXPECT_NE(open.err.find("--input-shape"), std::string::npos) << open.err;
  const auto record = explained(model, tmp, {"--input-shape", "96x96", "--fix", "gain=1", "--input", net.input()});
  expect_same(record, plain_record());
  EXPECT_EQ(record["model_options"]["fixed"]["gain"], 1);
  EXPECT_EQ(record["model_options"]["input_shape"], "96x96");
}

TEST(Inputs, OwnNormalisationIsSaid) {
  const TemporaryFolder tmp;
  Net net;
  net.tensor("scale", {}, {1.0f / 255.0f});
  net.in_front("Mul", {"scale"});
  const std::string model = net.save(tmp);
  fs::remove(tmp / "net.preprocess.json");
  const auto info = inspected(model);
  EXPECT_EQ(info["classifier"]["takes"], "raw");
  const Outcome run =
      run_actmatch({"explain", model, picture(), "--out", tmp / "out", "--steps", "2", "--backgrounds", "2", "--threads", "1"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_NE(run.err.find("taking 'raw'"), std::string::npos) << run.err;
  EXPECT_EQ(json_of(tmp / "out/striped_star/result.json")["preprocess"]["preset"], "raw");
}

// A net of matrix products has no layer laid out in the plane, so no Grad-CAM: the optimisation begins from nothing.
TEST(Inputs, NoPlaneInside) {
  const TemporaryFolder tmp;
  onnx::ModelProto proto;
  proto.ParseFromString(contents(shapes_model()));
  onnx::GraphProto& graph = *proto.mutable_graph();
  const std::string input = graph.input(0).name(), output = graph.output(0).name();
  graph.clear_node();
  graph.clear_initializer();
  graph.clear_value_info();
  auto& flatten = *graph.add_node();
  flatten.set_op_type("Flatten");
  flatten.add_input(input);
  flatten.add_output("flat");
  auto& product = *graph.add_node();
  product.set_op_type("MatMul");
  product.add_input("flat");
  product.add_input("weights");
  product.add_output(output);
  const int64_t classes = 10;
  auto& weights = *graph.add_initializer();
  weights.set_name("weights");
  weights.set_data_type(onnx::TensorProto::FLOAT);
  weights.add_dims(3 * 96 * 96);
  weights.add_dims(classes);
  for (int64_t i = 0; i < 3 * 96 * 96 * classes; ++i) weights.add_float_data(static_cast<float>((i * 7919 % 101) - 50) / 5000.0f);
  std::ofstream(tmp / "flat.onnx", std::ios::binary) << proto.SerializeAsString();
  const Outcome run = run_actmatch({"explain", tmp / "flat.onnx", example("images/striped_star.png"), "--preprocess", "imagenet", "--out",
                                    tmp / "out", "--steps", "10", "--tile", "24", "--threads", "1"});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(json_of(tmp / "out/striped_star/result.json")["generator"], "grid");
  const Outcome refused = run_actmatch({"explain", tmp / "flat.onnx", example("images/striped_star.png"), "--preprocess", "imagenet",
                                        "--out", tmp / "out2", "--method", "gradcam"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("no feature map"), std::string::npos) << refused.err;
}

TEST(Heads, OtherOutputs) {
  const TemporaryFolder tmp;
  Net net;
  const std::string logits = net.graph().output(0).name();
  net.behind("Softmax");
  net.behind("Floor");
  const std::string model = net.save(tmp);
  const auto record = explained(model, tmp, {"--output", logits});
  expect_same(record, plain_record());
  const Outcome wrong = run_actmatch({"inspect", model, "--output", "nothing"});
  EXPECT_NE((wrong.out + wrong.err).find("'nothing'"), std::string::npos) << wrong.out << wrong.err;
}

// Labels that are decided one by one are explained one picture after the other: each may fail by itself, but not for want of a device.
TEST(Heads, ALostDeviceEndsTheRunOfLabelsToo) {
  const TemporaryFolder tmp;
  Net net;
  net.behind("Sigmoid");
  const Environment module("ACTMATCH_MODULE_PATH", module_folder("fake_gpu")), lost("ACTMATCH_FAKE_GPU_LOST", tmp / "lost");
  ExplainOptions options;
  options.recipe = "one-mask";
  options.steps = 10;
  options.backgrounds = 4;
  Explainer explainer(Model(net.save(tmp), "cuda"), options);
  std::vector<size_t> got;
  try {
    explainer.run_batch(
        std::vector<Picture>(3, Picture{picture(), {}, 0, 0, ""}),
        [&](BatchItem item) {
          EXPECT_FALSE(item.failure);
          got.push_back(item.index);
          return true;
        },
        1,
        [&](const Progress& p) {
          if (p.picture == 1 && p.steps > 0) write(tmp / "lost", "");
          return true;
        });
    ADD_FAILURE() << "nothing was said";
  } catch (const Failure& e) {
    EXPECT_NE(std::string(e.what()).find("device is lost"), std::string::npos) << e.what();
  }
  EXPECT_EQ(got, std::vector<size_t>{0});
}

}  // namespace
}  // namespace actmatch::e2e
