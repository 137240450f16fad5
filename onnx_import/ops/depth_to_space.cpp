#include "onnx_import/ops/ops.h"

namespace actmatch::onnx_import {
namespace {

// Splits the input into 6-D blocks, permutes them and joins them again.
void rearrange(NodeContext& c, Shape blocks, std::vector<int64_t> perm, Shape joined) {
  const ValueId parts = c.reshape(c.input(0), std::move(blocks));
  c.result(ReshapeAttrs{std::move(joined)}, {c.step(TransposeAttrs{std::move(perm)}, {parts})});
}

const Shape& image_shape(const NodeContext& c) {
  const Shape& shape = c.shape(c.input(0));
  if (shape.size() != 4) throw Unsupported("its input must be NCHW, not " + to_string(shape));
  return shape;
}

int64_t block_size(const NodeContext& c) {
  if (!c.attributes.has("blocksize")) throw Unsupported("attribute 'blocksize' is missing; the file is damaged");
  return c.attributes.integer("blocksize", 1, 1, 1024);
}

}  // namespace

void lower_depth_to_space(NodeContext& c) {
  const int64_t b = block_size(c);
  const std::string mode = c.attributes.text("mode", "DCR");
  const Shape s = image_shape(c);
  if (s[1] % (b * b) != 0) throw Unsupported("its " + std::to_string(s[1]) + " channels do not divide into blocks of " + std::to_string(b));
  const int64_t depth = s[1] / (b * b);
  const Shape joined{s[0], depth, s[2] * b, s[3] * b};
  if (mode == "DCR") return rearrange(c, {s[0], b, b, depth, s[2], s[3]}, {0, 3, 4, 1, 5, 2}, joined);
  if (mode == "CRD") return rearrange(c, {s[0], depth, b, b, s[2], s[3]}, {0, 1, 4, 2, 5, 3}, joined);
  throw Unsupported("attribute 'mode' is '" + mode + "', which is not defined");
}

namespace {

void space_to_depth(NodeContext& c, const std::string& mode) {
  const int64_t b = block_size(c);
  const Shape s = image_shape(c);
  if (s[2] % b != 0 || s[3] % b != 0)
    throw Unsupported("its input " + to_string(s) + " does not divide into blocks of " + std::to_string(b));
  const Shape blocks{s[0], s[1], s[2] / b, b, s[3] / b, b}, joined{s[0], s[1] * b * b, s[2] / b, s[3] / b};
  if (mode == "DCR") return rearrange(c, blocks, {0, 3, 5, 1, 2, 4}, joined);
  if (mode == "CRD") return rearrange(c, blocks, {0, 1, 3, 5, 2, 4}, joined);
  throw Unsupported("attribute 'mode' is '" + mode + "', which is not defined");
}

}  // namespace

void lower_space_to_depth_1(NodeContext& c) { space_to_depth(c, "DCR"); }
void lower_space_to_depth_28(NodeContext& c) { space_to_depth(c, c.attributes.text("mode", "DCR")); }

}  // namespace actmatch::onnx_import
