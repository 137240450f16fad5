// The convolutions of the supported networks, as the CUDA backend will ask for them: from layer tables (torchvision's classifiers, whose
// weights are nowhere at hand), from graphs (ONNX files, the generators) and from lists of all that the classifiers of a library have.
// What kernels/depthwise.cu does (is_depthwise in ops/conv_shapes.h) is left out.
#pragma once

#include <compare>
#include <iosfwd>
#include <set>
#include <string>
#include <vector>

#include "engine/backend/cuda/conv_key.h"
#include "engine/graph/graph.h"

namespace actmatch::cuda {

// One convolution of a network: its shape for one picture, and what stands around it.
struct Layer {
  ConvShape shape;
  ConvActivation after = ConvActivation::kRelu;   // on its output, together with the residual
  ConvActivation before = ConvActivation::kNone;  // on its input: a derivative that its backward pass may take along
  bool residual = false;                          // a skip connection ends here
  bool skip = false;                              // its input is read elsewhere too: another gradient arrives there
  bool bias = true;                               // folded batch norm
  // A transposed convolution: `shape` is that of the convolution whose backward pass it is. Nothing is fused to it.
  bool transposed = false;

  auto operator<=>(const Layer&) const = default;
};

void PrintTo(const Layer& layer, std::ostream* out);

struct Network {
  std::string name;
  std::set<Layer> layers;  // each kind of convolution once
  int depthwise = 0;       // convolutions that were left out; not known of tables
};

// One kind of convolution and the networks that have it.
struct SharedLayer {
  Layer layer;
  std::vector<std::string> networks;
};

// He et al. 2016 (18 and 50 layers, CIFAR), Simonyan and Zisserman 2015 (D), Howard et al. 2017, Sandler et al. 2018, Iandola et al. 2016
// (version 1.1), Huang et al. 2017 (121 layers); as torchvision has them where it does.
std::vector<Network> networks_from_tables();
Network network_from_table(const std::string& name);

// A graph of batch 1.
Network network_from_graph(const std::string& name, const Graph& graph);
// The classifiers of examples/ and, where ACTMATCH_DATA (by default ../shared/data beside the source) has them, real ones.
std::vector<Network> networks_from_files();
// The generators csae and unet for a picture of 224 x 224.
std::vector<Network> networks_of_generators();

// The kinds of convolution in the classifiers of a library ("torchvision", "timm", "keras"), as tests/data/cuda/*_convolutions.txt list
// them, and how many of that list were left out. Of what stands around a convolution only what its forward pass takes along is known.
std::vector<SharedLayer> layers_of_library(const std::string& library, int& depthwise);
// The library's networks of onnx_import/SUPPORTED_MODELS.md.
std::set<std::string> supported_networks(const std::string& library);

// What is asked for at one batch; `fused`: with all that stands around it.
PlanKey key_of(const Layer& layer, ConvPass pass, ConvPrecision precision, int64_t batch, bool fused);

}  // namespace actmatch::cuda
