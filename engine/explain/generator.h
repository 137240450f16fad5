// The generator: the small trainable net g whose output s = g(x) are the mask's logits. Trained from scratch for one image.
#pragma once

#include <cstdint>
#include <string>

#include "engine/graph/graph.h"

namespace actmatch {

enum class GeneratorKind {
  kCsae,  // four 3x3 stride-2 conv+ReLU 32/64/128/256, four 4x4 stride-2 transposed conv 128/64/32/1 (1.08 M parameters)
  kUnet,  // four stages of two 3x3 conv+ReLU 32/64/128/256 with 2x2 max-pool, 512 bottleneck, four 2x2 stride-2 transposed conv with skip
          // concatenation and two 3x3 conv+ReLU, 1x1 head (7.76 M parameters)
  kGrid,  // no net: a low-resolution grid of logits, upsampled
};
GeneratorKind generator_kind(const std::string& name);  // "csae", "unet", "grid"; throws kInvalidArgument
const char* name_of(GeneratorKind kind);

struct GeneratorSpec {
  GeneratorKind kind = GeneratorKind::kGrid;
  int64_t cell = 8;            // grid, shared nets: pixels a cell covers; the grid has ceil(extent / cell) cells
  bool smooth = true;          // likewise: bilinear upsampling; otherwise each cell is a flat tile
  float initial_logit = 0.0f;  // the mask's logits before the first step: the grid's cells, or the bias of the last layer
  std::string start{};  // grid: a method by name, or the file of a trained explainer, whose map of the picture is the first one; empty:
                        // initial_logit
  double start_spread = 3.0;  // their standard deviation then; the explainer's own says nothing
};

struct Generator {
  Graph graph;
  ValueId image = kNoValue;   // input [batch, C, H, W]; kNoValue for the grid
  ValueId logits = kNoValue;  // output [batch, 1, H, W]
  int64_t parameters = 0;     // of one image, or shared by all
};

// Weights are drawn from `seed` as PyTorch initialises these layers: uniform in +-1/sqrt(fan in). Images whose extents are not multiples of
// 16 are padded for the nets (edge values) and the result is cropped.
//
// In a batch every image trains a generator of its own: parameters then have the images as their first axis (the grid always has), which
// the convolutions know as instances (op.h). Each begins as the only image of a batch of one does, so an image's result does not depend on
// its neighbours.
//
// A shared generator is one net for all images, whose parameters are those of one image. What it says of a pixel it says of the whole cell:
// its output is averaged over cells and upsampled as a grid is, because the gradient at single pixels is mostly noise, which one picture's
// optimisation smooths away and a net would learn. Of kSharedOrder only the order of the pixels counts: each image's cells are brought to
// mean 0 and deviation 1, without which the logits grow until the sigmoid passes no gradient.
enum class Sharing : uint8_t { kNone, kShared, kSharedOrder };
Generator build_generator(const GeneratorSpec& spec, int64_t batch, int64_t channels, int64_t height, int64_t width, uint64_t seed,
                          Sharing sharing = Sharing::kNone);

}  // namespace actmatch
