#include <cstdlib>
#include <filesystem>

#include "engine/backend/cuda/ops/conv_shapes.h"
#include "engine/explain/generator.h"
#include "onnx_import/importer.h"
#include "tests/backend/cuda/networks.h"

namespace actmatch::cuda {
namespace {

// A ReLU, plain or clipped; others are not fused.
ConvActivation activation_of(const Node& node) {
  const auto* unary = std::get_if<UnaryAttrs>(&node.attrs);
  if (!unary) return ConvActivation::kNone;
  if (unary->kind == UnaryKind::kRelu) return ConvActivation::kRelu;
  return unary->kind == UnaryKind::kClip && unary->alpha == 0.0f ? ConvActivation::kClippedRelu : ConvActivation::kNone;
}

class Reader {
 public:
  explicit Reader(const Graph& graph) : graph_(graph), consumers_(graph.consumers()) {}

  // What follows a convolution: a sum with what is there by then, and an activation, as long as nothing else reads what lies between.
  void read_after(NodeId conv, Layer& layer) const {
    ValueId y = graph_.node(conv).output;
    if (const NodeId next = only_reader(y); next >= 0) {
      const auto* binary = std::get_if<BinaryAttrs>(&graph_.node(next).attrs);
      if (binary && binary->kind == BinaryKind::kAdd) {
        const std::vector<ValueId>& operands = graph_.node(next).inputs;
        const Value& other = graph_.value(operands[0] == y ? operands[1] : operands[0]);
        if (other.kind == ValueKind::kActivation && other.producer < conv && other.shape == graph_.value(y).shape) {
          layer.residual = true;
          y = graph_.node(next).output;
        }
      }
    }
    layer.after = ConvActivation::kNone;
    if (const NodeId next = only_reader(y); next >= 0) layer.after = activation_of(graph_.node(next));
  }
  void read_before(NodeId conv, Layer& layer) const {
    const ValueId x = graph_.node(conv).inputs[0];
    layer.skip = consumers_[static_cast<size_t>(x)].size() > 1;
    if (const NodeId producer = graph_.value(x).producer; producer >= 0) layer.before = activation_of(graph_.node(producer));
  }

 private:
  NodeId only_reader(ValueId value) const {
    for (ValueId output : graph_.outputs())
      if (output == value) return -1;
    const std::vector<NodeId>& readers = consumers_[static_cast<size_t>(value)];
    return readers.size() == 1 ? readers.front() : -1;
  }

  const Graph& graph_;
  std::vector<std::vector<NodeId>> consumers_;
};

std::string data_folder() {
  const char* set = std::getenv("ACTMATCH_DATA");
  return set ? set : ACTMATCH_SOURCE_DIR "/../shared/data";
}

}  // namespace

Network network_from_graph(const std::string& name, const Graph& graph) {
  Network network{name, {}, 0};
  const Reader reader(graph);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    Layer layer;
    ConvShape& s = layer.shape;
    const auto sizes_of = [&](ValueId image, ValueId weights, const auto& attrs) {
      const Shape &x = graph.value(image).shape, &w = graph.value(weights).shape;
      s = {x[0], x[1], x[2], x[3], w[0], w[2], w[3], attrs.strides, attrs.pads, attrs.dilations, attrs.groups};
    };
    if (const auto* conv = std::get_if<ConvAttrs>(&node.attrs)) {
      sizes_of(node.inputs[0], node.inputs[1], *conv);
      if (is_depthwise(*conv, graph.value(node.inputs[0]).shape, graph.value(node.inputs[1]).shape)) {
        ++network.depthwise;
        continue;
      }
      layer.bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
      reader.read_after(static_cast<NodeId>(i), layer);
      reader.read_before(static_cast<NodeId>(i), layer);
    } else if (const auto* transposed = std::get_if<ConvTransposeAttrs>(&node.attrs)) {
      sizes_of(node.output, node.inputs[1], *transposed);
      layer = {s, ConvActivation::kNone, ConvActivation::kNone, false, false, false, true};
    } else {
      continue;
    }
    network.layers.insert(layer);
  }
  return network;
}

std::vector<Network> networks_from_files() {
  std::vector<Network> networks;
  const auto add = [&networks](const std::string& path) {
    const std::string name = std::filesystem::path(path).stem().string();
    networks.push_back(network_from_graph(name, onnx_import::Model::from_file(path).build({1, {}, {}})));
  };
  add(ACTMATCH_SOURCE_DIR "/examples/shapes96.onnx");
  for (const char* file : {"mobilenet_v1_0.25_224", "mobilenet_v2_1.0_224", "resnet20_cifar10_bn", "resnet56_cifar10_folded",
                           "resnet8_cifar10_mlperf_tiny", "squeezenet1.1_fp32", "vit_mnist"})
    if (const std::string path = data_folder() + "/models/" + file + ".onnx"; std::filesystem::exists(path)) add(path);
  return networks;
}

std::vector<Network> networks_of_generators() {
  std::vector<Network> networks;
  for (GeneratorKind kind : {GeneratorKind::kCsae, GeneratorKind::kUnet}) {
    GeneratorSpec spec;
    spec.kind = kind;
    networks.push_back(network_from_graph(name_of(kind), build_generator(spec, 1, 3, 224, 224, 1).graph));
  }
  return networks;
}

}  // namespace actmatch::cuda
