#include <fstream>
#include <sstream>
#include <stdexcept>

#include "engine/backend/cuda/ops/conv_shapes.h"
#include "tests/backend/cuda/networks.h"

namespace actmatch::cuda {
namespace {

const std::string kSource = ACTMATCH_SOURCE_DIR;

std::ifstream open(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return file;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

ConvActivation activation_named(const std::string& name) {
  if (name == "none") return ConvActivation::kNone;
  if (name == "relu") return ConvActivation::kRelu;
  if (name == "relu6") return ConvActivation::kClippedRelu;
  throw std::runtime_error("unknown activation '" + name + "'");
}

// C H W  K R S  stride (2)  pads (4)  dilation (2)  groups  bias residual activation networks
SharedLayer layer_from(const std::string& line) {
  SharedLayer shared;
  Layer& layer = shared.layer;
  ConvShape& s = layer.shape;
  std::string activation, networks;
  std::istringstream in(line);
  in >> s.C >> s.H >> s.W >> s.K >> s.R >> s.S >> s.strides[0] >> s.strides[1];
  for (int64_t& pad : s.pads) in >> pad;
  in >> s.dilations[0] >> s.dilations[1] >> s.groups >> layer.bias >> layer.residual >> activation >> networks;
  if (!in || !(in >> std::ws).eof()) throw std::runtime_error("not a convolution: " + line);
  layer.after = activation_named(activation);
  shared.networks = split(networks, ',');
  return shared;
}

bool has_own_kernel(const ConvShape& s) {
  const ConvAttrs attrs{s.strides, s.pads, s.dilations, s.groups};
  return is_depthwise(attrs, Shape{s.N, s.C, s.H, s.W}, Shape{s.K, s.C / s.groups, s.R, s.S});
}

}  // namespace

std::vector<SharedLayer> layers_of_library(const std::string& library, int& depthwise) {
  std::ifstream file = open(kSource + "/tests/data/cuda/" + library + "_convolutions.txt");
  std::vector<SharedLayer> layers;
  depthwise = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    SharedLayer layer = layer_from(line);
    if (has_own_kernel(layer.layer.shape))
      ++depthwise;
    else
      layers.push_back(std::move(layer));
  }
  return layers;
}

std::set<std::string> supported_networks(const std::string& library) {
  std::ifstream file = open(kSource + "/onnx_import/SUPPORTED_MODELS.md");
  std::set<std::string> names;
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = split(line, '|');
    if (cells.size() > 2 && (cells[2] + " ").find(" " + library + " ") != std::string::npos)
      names.insert(split(cells[1].substr(1), ' ').front());  // "resnet50 (fixed batch)" is the same network
  }
  return names;
}

}  // namespace actmatch::cuda
