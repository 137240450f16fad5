#include <limits>
#include <optional>

#include "onnx_import/ops/ops.h"
#include "onnx_import/ops/rebatch.h"

namespace actmatch::onnx_import {
namespace {

constexpr int64_t kAnyCount = std::numeric_limits<int64_t>::max() / 8;

// Fills in zeros (the input's extent there) and one -1 (what remains); nothing, with the reason, where that is not possible.
std::optional<Shape> complete_target(const Shape& shape, std::vector<int64_t> target, bool allow_zero, std::string& reason) {
  const std::string text = to_string(target);
  size_t inferred = target.size();
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] == 0 && !allow_zero && i < shape.size()) {
      target[i] = shape[i];
    } else if (target[i] == -1 && inferred == target.size()) {
      inferred = i;
    } else if (target[i] < 0 || (target[i] == 0 && !allow_zero)) {
      reason = "the target " + text + " does not fit the input " + to_string(shape);
      return std::nullopt;
    }
  }
  if (inferred == target.size()) return target;
  target[inferred] = 1;
  const int64_t rest = bounded_count(target, kAnyCount), count = bounded_count(shape, kAnyCount);
  if (rest == 0 || count % rest != 0) {
    reason = "its input of shape " + to_string(shape) + " cannot be reshaped to " + text + " (-1: what remains)";
    return std::nullopt;
  }
  target[inferred] = count / rest;
  return target;
}

void lower_reshape(NodeContext& c, const std::vector<int64_t>& given, bool allow_zero) {
  const ValueId x = c.input(0);
  const Shape shape = c.shape(x);
  std::string reason;
  const Shape *declared = c.declared_shape(0), *output = c.declared_output();
  if (declared && output) {
    // A target computed from the batch fits as it is; one that the exporter has written down does not know of it.
    const auto growth = find_growth(*declared, shape);
    if (growth && complete_target(*declared, given, allow_zero, reason) == *output)
      if (const auto grown = grow_reshape(*declared, *growth, *output)) return c.result(ReshapeAttrs{*grown}, {x});
  }
  std::optional<Shape> target = complete_target(shape, given, allow_zero, reason);
  if (!target) throw Unsupported(reason);
  if (*target == shape) return c.alias(x);
  c.result(ReshapeAttrs{*std::move(target)}, {x});
}

}  // namespace

void lower_reshape_1(NodeContext& c) { lower_reshape(c, c.attributes.integers("shape"), false); }
void lower_reshape_5(NodeContext& c) { lower_reshape(c, c.integers(1, "the target shape"), false); }

void lower_reshape_14(NodeContext& c) { lower_reshape(c, c.integers(1, "the target shape"), c.attributes.flag("allowzero", false)); }

}  // namespace actmatch::onnx_import
