#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/steps.h"
#include "onnx_import/ops/window.h"

namespace actmatch::onnx_import {

// Adds up columns, each the elements of a block, where the blocks lie in an image: a transposed convolution whose filter number i puts its
// input at position i of the block.
void lower_col2im(NodeContext& c) {
  const std::vector<int64_t> image = c.integers(1, "the image's shape"), block = c.integers(2, "the block's shape");
  if (image.size() != 2 || block.size() != 2) throw Unsupported("only images with two axes are supported");
  for (int64_t extent : {image[0], image[1], block[0], block[1]})
    if (extent < 1 || extent > AttributeReader::kLargest) throw Unsupported("an extent of " + std::to_string(extent) + " is out of range");
  const Shape shape = c.shape(c.input(0));
  const int64_t area = bounded_count(block, 4096);
  if (shape.size() != 3 || shape[1] % area != 0)
    throw Unsupported("its columns " + to_string(shape) + " do not divide into blocks of " + to_string(block));
  Window window = read_window(c, 2, block);
  read_pads(c, window);
  ConvTransposeAttrs attrs;
  Shape blocks;
  for (size_t i = 0; i < 2; ++i) {
    const int64_t room = image[i] + window.before[i] + window.after[i] - window.span(i);
    if (room < 0) throw Unsupported("the block is larger than the padded image");
    blocks.push_back(room / window.strides[i] + 1);
    attrs.output_padding[i] = room % window.strides[i];
  }
  if (bounded_count(blocks, INT64_MAX) != shape[2])
    throw Unsupported("its " + std::to_string(shape[2]) + " columns are not the " + to_string(blocks) + " blocks of the image");
  const PlaneWindow plane = plane_of(window);
  attrs.strides = plane.strides;
  attrs.pads = plane.pads;
  attrs.dilations = plane.dilations;
  bounded_count({area, area});
  Tensor weights(DType::kF32, {area, 1, block[0], block[1]});
  for (int64_t i = 0; i < area; ++i) weights.data<float>()[i * area + i] = 1.0f;
  const int64_t channels = shape[1] / area;
  const ValueId columns = c.reshape(c.input(0), {shape[0] * channels, area, blocks[0], blocks[1]});
  const ValueId y = c.step(attrs, {columns, c.constant(std::move(weights))});
  c.result(ReshapeAttrs{{shape[0], channels, image[0], image[1]}}, {y});
}

}  // namespace actmatch::onnx_import
