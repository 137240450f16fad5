// The real classifiers of the data folder: they import, and at any batch.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "onnx_import/importer.h"

namespace actmatch::onnx_import {
namespace {

std::string model_path(const std::string& file) {
  const char* data = std::getenv("ACTMATCH_DATA");
  return (data ? std::string(data) : std::string(ACTMATCH_SOURCE_DIR "/../shared/data")) + "/models/" + file;
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there; set ACTMATCH_DATA"

struct Case {
  const char* file;
  const char* input;
  Shape image;  // without the batch
  const char* output;
  Shape result;  // without the batch
  int64_t opset, parameters;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.file; }

class RealModel : public testing::TestWithParam<Case> {};

TEST_P(RealModel, BuildsAtSeveralBatches) {
  const Case& c = GetParam();
  const std::string path = model_path(c.file);
  SKIP_WITHOUT(path);
  const Model model = Model::from_file(path);
  EXPECT_EQ(model.opset(), c.opset);
  EXPECT_EQ(model.parameter_count(), c.parameters);
  ASSERT_EQ(model.inputs().size(), 1u);
  EXPECT_EQ(model.inputs()[0].name, c.input);
  EXPECT_TRUE(model.problems().empty());
  for (int64_t batch : {0, 1, 3}) {
    const Graph graph = model.build({.batch = batch});
    Shape image = c.image, result = c.result;
    image.insert(image.begin(), std::max<int64_t>(batch, 1));
    result.insert(result.begin(), std::max<int64_t>(batch, 1));
    ASSERT_EQ(graph.inputs().size(), 1u);
    EXPECT_EQ(graph.value(graph.inputs()[0]).shape, image);
    ASSERT_EQ(graph.outputs().size(), 1u);
    EXPECT_EQ(graph.value(graph.outputs()[0]).shape, result);
    EXPECT_EQ(graph.value(graph.outputs()[0]).name, c.output);
    for (const Node& node : graph.nodes()) {
      EXPECT_EQ(graph.value(node.output).dtype, DType::kF32) << node.name << ": only data is left to compute";
      EXPECT_NE(node.op(), OpKind::kBatchNorm) << node.name;
    }
  }
}

// Parameters as in the data folder's README, with the unfolded batch norms' four vectors, and what exporters left beside the weights.
INSTANTIATE_TEST_SUITE_P(Data, RealModel,
                         testing::Values(Case{"squeezenet1.1_fp16.onnx", "data_0", {3, 224, 224}, "softmaxout_1", {1000, 1, 1}, 7, 1235496},
                                         Case{"squeezenet1.1_fp32.onnx", "data_0", {3, 224, 224}, "logits", {1000}, 13, 1235496},
                                         Case{"mobilenet_v1_0.25_224.onnx", "input", {3, 224, 224}, "prob", {1000}, 13, 467390},
                                         Case{"mobilenet_v2_1.0_224.onnx", "input", {3, 224, 224}, "logits", {1000}, 13, 3487886},
                                         Case{"resnet20_cifar10_bn.onnx", "input", {3, 32, 32}, "logits", {10}, 13, 271100},
                                         Case{"resnet20_cifar10_rawexport.onnx", "input", {3, 32, 32}, "logits", {10}, 13, 271098},
                                         Case{"resnet56_cifar10_folded.onnx", "input", {3, 32, 32}, "logits", {10}, 13, 850988},
                                         Case{"resnet8_cifar10_mlperf_tiny.onnx", "input", {3, 32, 32}, "logits", {10}, 13, 77706},
                                         Case{"vit_mnist.onnx", "input", {1, 28, 28}, "logits", {10}, 13, 213693}),
                         [](const auto& test) {
                           std::string name = test.param.file;
                           for (char& ch : name)
                             if (!isalnum(static_cast<unsigned char>(ch))) ch = '_';
                           return name;
                         });

// The raw export differs from the tidy file by chains of Shape, Constant, Gather, ... which all have to be gone.
TEST(RealModels, RawExportFoldsToTheTidyGraph) {
  const std::string raw = model_path("resnet20_cifar10_rawexport.onnx"), tidy = model_path("resnet20_cifar10_bn.onnx");
  SKIP_WITHOUT(raw);
  for (int64_t batch : {1, 3}) {
    const Graph a = Model::from_file(raw).build({.batch = batch}), b = Model::from_file(tidy).build({.batch = batch});
    ASSERT_EQ(a.nodes().size(), b.nodes().size()) << a.dump();
    for (size_t i = 0; i < a.nodes().size(); ++i) {
      EXPECT_EQ(a.nodes()[i].op(), b.nodes()[i].op()) << a.nodes()[i].name;
      EXPECT_EQ(a.value(a.nodes()[i].output).shape, b.value(b.nodes()[i].output).shape) << a.nodes()[i].name;
    }
  }
}

TEST(RealModels, HalfWeightsAreWidenedExactly) {
  const std::string half = model_path("squeezenet1.1_fp16.onnx"), full = model_path("squeezenet1.1_fp32.onnx");
  SKIP_WITHOUT(half);
  const Model model = Model::from_file(half);
  EXPECT_TRUE(model.inputs()[0].stored_as_half);
  EXPECT_EQ(model.inputs()[0].dtype, DType::kF32);
  EXPECT_FALSE(Model::from_file(full).inputs()[0].stored_as_half);
  const Graph a = model.build(), b = Model::from_file(full).build();
  int convolutions = 0;
  for (size_t i = 0; i < std::min(a.nodes().size(), b.nodes().size()); ++i) {
    if (a.nodes()[i].op() != OpKind::kConv) continue;
    ASSERT_EQ(b.nodes()[i].op(), OpKind::kConv);
    ++convolutions;
    for (size_t input : {1u, 2u}) {
      const Tensor &p = *a.value(a.nodes()[i].inputs[input]).constant, &q = *b.value(b.nodes()[i].inputs[input]).constant;
      ASSERT_EQ(p.shape(), q.shape());
      EXPECT_TRUE(std::equal(p.view<float>().begin(), p.view<float>().end(), q.view<float>().begin())) << a.nodes()[i].name;
    }
  }
  EXPECT_EQ(convolutions, 26);
}

TEST(RealModels, GraphsOfSeveralBatchesShareTheWeights) {
  const std::string path = model_path("squeezenet1.1_fp32.onnx");
  SKIP_WITHOUT(path);
  const Model model = Model::from_file(path);
  const Graph a = model.build({.batch = 1}), b = model.build({.batch = 4});
  const auto first_weights = [](const Graph& g) { return g.value(g.nodes()[0].inputs[1]).constant.get(); };
  EXPECT_EQ(first_weights(a), first_weights(b));
}

// A tap in front of a batch norm keeps the convolution from swallowing it.
TEST(RealModels, TapsSurvive) {
  const std::string path = model_path("resnet20_cifar10_bn.onnx");
  SKIP_WITHOUT(path);
  const Model model = Model::from_file(path);
  const Graph plain = model.build();
  const std::string tap = "/conv1/Conv_output_0";
  const Graph tapped = model.build({.keep_values = {tap}});
  const ValueId id = tapped.find(tap);
  ASSERT_NE(id, kNoValue);
  EXPECT_GE(tapped.value(id).producer, 0);
  EXPECT_EQ(tapped.nodes().size(), plain.nodes().size() + 1);
}

}  // namespace
}  // namespace actmatch::onnx_import
