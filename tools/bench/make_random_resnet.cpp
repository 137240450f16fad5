// Writes ResNet-18 or ResNet-50 (v1.5: the stride sits in the 3x3 convolution) as an ONNX file with random weights, batch normalisation
// folded as exporters leave it: for timing where no export is at hand. Speed does not depend on the weights as long as numbers keep their
// size from layer to layer: He et al.'s variance 2 / fan in, less at the end of a residual branch, so that sixteen additions do not pile
// up.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "onnx/onnx.pb.h"

namespace {

constexpr double kBranchGain = 0.3;  // of a branch's last convolution

class ResNetMaker {
 public:
  ResNetMaker(int depth, int64_t size, int64_t classes, uint64_t seed) : random_(seed) {
    model_.set_ir_version(8);
    model_.set_producer_name("make_random_resnet");
    model_.add_opset_import()->set_version(13);
    graph_ = model_.mutable_graph();
    graph_->set_name("resnet" + std::to_string(depth));
    add_end(graph_->add_input(), "input", {3, size, size});
    add_end(graph_->add_output(), "logits", {classes});
    build(depth == 50, classes);
  }

  const onnx::ModelProto& model() const { return model_; }

 private:
  static void add_end(onnx::ValueInfoProto* value, const char* name, const std::vector<int64_t>& extents) {
    value->set_name(name);
    auto* type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("N");
    for (int64_t extent : extents) type->mutable_shape()->add_dim()->set_dim_value(extent);
  }

  // Evenly distributed numbers of the given standard deviation, the same on every platform.
  std::string weights(const std::string& name, const std::vector<int64_t>& extents, double deviation) {
    auto* tensor = graph_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    int64_t count = 1;
    for (int64_t extent : extents) {
      tensor->add_dims(extent);
      count *= extent;
    }
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values) v = static_cast<float>(std::sqrt(12.0) * deviation * (static_cast<double>(random_() >> 11) * 0x1p-53 - 0.5));
    tensor->set_raw_data(values.data(), values.size() * sizeof(float));
    return name;
  }

  onnx::NodeProto* node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs) {
    auto* n = graph_->add_node();
    n->set_op_type(op);
    n->set_name(name);
    for (const auto& input : inputs) n->add_input(input);
    n->add_output(name);
    return n;
  }
  static void integers(onnx::NodeProto* n, const char* name, const std::vector<int64_t>& values) {
    auto* attribute = n->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (int64_t v : values) attribute->add_ints(v);
  }

  std::string conv(const std::string& name, const std::string& x, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                   double gain = 1) {
    const double deviation = gain * std::sqrt(2.0 / static_cast<double>(in * kernel * kernel));
    const std::string w = weights(name + ".weight", {out, in, kernel, kernel}, deviation), b = weights(name + ".bias", {out}, 0.05);
    auto* n = node("Conv", name, {x, w, b});
    const int64_t pad = kernel / 2;
    integers(n, "kernel_shape", {kernel, kernel});
    integers(n, "strides", {stride, stride});
    integers(n, "pads", {pad, pad, pad, pad});
    return name;
  }
  std::string relu(const std::string& x) { return node("Relu", x + ".relu", {x})->output(0); }

  std::string block(const std::string& name, const std::string& x, int64_t in, int64_t width, int64_t out, int64_t stride,
                    bool bottleneck) {
    std::string branch;
    if (bottleneck) {
      branch = relu(conv(name + ".conv1", x, in, width, 1, 1));
      branch = relu(conv(name + ".conv2", branch, width, width, 3, stride));
      branch = conv(name + ".conv3", branch, width, out, 1, 1, kBranchGain);
    } else {
      branch = relu(conv(name + ".conv1", x, in, width, 3, stride));
      branch = conv(name + ".conv2", branch, width, out, 3, 1, kBranchGain);
    }
    const std::string skip = in == out && stride == 1 ? x : conv(name + ".downsample", x, in, out, 1, stride, std::sqrt(0.5));
    return relu(node("Add", name + ".add", {branch, skip})->output(0));
  }

  void build(bool bottleneck, int64_t classes) {
    std::string x = relu(conv("conv1", "input", 3, 64, 7, 2));
    auto* pool = node("MaxPool", "maxpool", {x});
    integers(pool, "kernel_shape", {3, 3});
    integers(pool, "strides", {2, 2});
    integers(pool, "pads", {1, 1, 1, 1});
    x = "maxpool";
    const std::vector<int> blocks = bottleneck ? std::vector<int>{3, 4, 6, 3} : std::vector<int>{2, 2, 2, 2};
    int64_t channels = 64;
    for (int stage = 0; stage < 4; ++stage) {
      const int64_t width = int64_t{64} << stage, out = bottleneck ? 4 * width : width;
      for (int i = 0; i < blocks[static_cast<size_t>(stage)]; ++i) {
        const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i);
        x = block(name, x, channels, width, out, i == 0 && stage > 0 ? 2 : 1, bottleneck);
        channels = out;
      }
    }
    node("GlobalAveragePool", "avgpool", {x});
    node("Flatten", "flatten", {"avgpool"});
    const std::string w = weights("fc.weight", {classes, channels}, 2 / std::sqrt(static_cast<double>(channels)));
    const std::string b = weights("fc.bias", {classes}, 0.05);
    auto* gemm = node("Gemm", "logits", {"flatten", w, b});
    auto* transpose = gemm->add_attribute();
    transpose->set_name("transB");
    transpose->set_type(onnx::AttributeProto::INT);
    transpose->set_i(1);
  }

  std::mt19937_64 random_;
  onnx::ModelProto model_;
  onnx::GraphProto* graph_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  int depth = 50;
  int64_t size = 224, classes = 1000;
  uint64_t seed = 1;
  std::string out;
  CLI::App app{"Writes a ResNet with random weights as an ONNX file, for timing"};
  app.add_option("DEPTH", depth, "18 or 50")->required()->check(CLI::IsMember({18, 50}));
  app.add_option("--out", out, "the file")->required();
  app.add_option("--size", size, "extent of the pictures")->capture_default_str()->check(CLI::Range(32, 4096));
  app.add_option("--classes", classes, "number of classes")->capture_default_str()->check(CLI::Range(2, 1000000));
  app.add_option("--seed", seed, "of the weights")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const ResNetMaker maker(depth, size, classes, seed);
  std::ofstream file(out, std::ios::binary);
  if (!maker.model().SerializeToOstream(&file) || !file.flush()) {
    std::fprintf(stderr, "make_random_resnet: cannot write %s\n", out.c_str());
    return 1;
  }
  return 0;
}
