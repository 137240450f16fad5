// Removes what does nothing, joins what can be joined: the debris that exporters leave between the layers.
#include <algorithm>

#include "engine/graph/op_rules.h"
#include "engine/graph/passes.h"
#include "engine/graph/rewriter.h"

namespace actmatch {
namespace {

template <class List>
bool all_equal(const List& list, int64_t value) {
  return std::all_of(std::begin(list), std::end(list), [&](int64_t v) { return v == value; });
}

// The output is the first input, element by element, in the same shape.
bool does_nothing(const Graph& graph, const Node& node) {
  const Value &x = graph.value(node.inputs[0]), &y = graph.value(node.output);
  if (x.shape != y.shape || x.dtype != y.dtype) return false;
  switch (node.op()) {
    case OpKind::kUnary: return std::get<UnaryAttrs>(node.attrs).kind == UnaryKind::kIdentity;
    case OpKind::kReshape:
    case OpKind::kExpand:
    case OpKind::kCast:
    case OpKind::kResize: return true;
    case OpKind::kConcat: return node.inputs.size() == 1;
    case OpKind::kTranspose: {
      const auto& perm = std::get<TransposeAttrs>(node.attrs).perm;
      return std::is_sorted(perm.begin(), perm.end());
    }
    case OpKind::kSlice: {  // of full size, so it can only be the whole axis forwards or backwards
      const auto& a = std::get<SliceAttrs>(node.attrs);
      for (size_t i = 0; i < x.shape.size(); ++i)
        if (x.shape[i] > 1 && a.steps[i] != 1) return false;
      return true;
    }
    case OpKind::kPad: {
      const auto& a = std::get<PadAttrs>(node.attrs);
      return all_equal(a.before, 0) && all_equal(a.after, 0);
    }
    case OpKind::kPool: {
      const auto& a = std::get<PoolAttrs>(node.attrs);
      return all_equal(a.kernel, 1) && all_equal(a.strides, 1) && all_equal(a.pads, 0);
    }
    case OpKind::kReduce: return std::get<ReduceAttrs>(node.attrs).axes.empty();
    default: return false;
  }
}

// The amounts of a zero padding of the two spatial axes, in the order of ConvAttrs::pads.
bool is_spatial_zero_pad(const Node& node, std::array<int64_t, 4>& amounts) {
  if (node.op() != OpKind::kPad) return false;
  const auto& a = std::get<PadAttrs>(node.attrs);
  if (a.mode != PadMode::kConstant || a.value != 0.0f || a.before.size() != 4) return false;
  for (size_t i = 0; i < 2; ++i)
    if (a.before[i] != 0 || a.after[i] != 0) return false;
  amounts = {a.before[2], a.before[3], a.after[2], a.after[3]};
  return std::all_of(amounts.begin(), amounts.end(), [](int64_t v) { return v >= 0; });
}

// Whether zeros put in front of the pool may become its own padding. A maximum pads with minus infinity, which is the same as zero
// only behind a relu (whose own gradient is zero where the choice between a zero and the padding would matter); a mean has to count
// the padding, and none of it may have been there before, since that would have been counted differently at the edge.
bool pool_takes_zeros(const PoolAttrs& a, const std::array<int64_t, 4>& zeros, const Node* before_pad) {
  if (a.ceil_mode || !all_equal(a.dilations, 1) || !all_equal(a.pads, 0)) return false;
  for (size_t i = 0; i < 4; ++i)
    if (zeros[i] >= a.kernel[i % 2]) return false;
  if (a.mode == PoolMode::kAverageIncludePad) return true;
  return a.mode == PoolMode::kMax && before_pad && before_pad->op() == OpKind::kUnary &&
         std::get<UnaryAttrs>(before_pad->attrs).kind == UnaryKind::kRelu;
}

// The node that makes the first input, or null.
const Node* previous_node(Rewriter& rewriter, const Node& node) {
  const NodeId p = rewriter.producer(node.inputs[0]);
  return p < 0 ? nullptr : &rewriter.node(static_cast<size_t>(p));
}

void merge_pad(Rewriter& rewriter, size_t n) {
  Node& node = rewriter.node(n);
  const Node* pad = previous_node(rewriter, node);
  std::array<int64_t, 4> zeros{};
  if (!pad || !is_spatial_zero_pad(*pad, zeros)) return;
  if (auto* conv = std::get_if<ConvAttrs>(&node.attrs)) {
    for (size_t i = 0; i < 4; ++i)
      if (conv->pads[i] + zeros[i] > kLargestAttribute) return;
    for (size_t i = 0; i < 4; ++i) conv->pads[i] += zeros[i];
  } else {
    auto& pool = std::get<PoolAttrs>(node.attrs);
    if (!pool_takes_zeros(pool, zeros, previous_node(rewriter, *pad))) return;
    pool.pads = zeros;
  }
  rewriter.set_input(n, 0, pad->inputs[0]);
}

// Of an axis that holds `inner` of the one before, `outer` takes its part.
SliceAttrs joined(const SliceAttrs& inner, SliceAttrs outer) {
  for (size_t i = 0; i < outer.sizes.size(); ++i) {
    const bool single = outer.sizes[i] <= 1;  // no second element: the step says nothing and could be any number
    outer.starts[i] = outer.sizes[i] == 0 ? 0 : inner.starts[i] + outer.starts[i] * (inner.sizes[i] <= 1 ? 1 : inner.steps[i]);
    outer.steps[i] = single ? 1 : outer.steps[i] * inner.steps[i];
  }
  return outer;
}

// A matrix product followed by the addition of one number a column is a product with a bias.
void merge_bias(Graph& graph, Rewriter& rewriter, size_t n) {
  const Node& node = rewriter.node(n);
  if (std::get<BinaryAttrs>(node.attrs).kind != BinaryKind::kAdd) return;
  const Shape y = graph.value(node.output).shape;
  for (size_t slot = 0; slot < 2; ++slot) {
    const ValueId product = node.inputs[slot], addend = node.inputs[1 - slot];
    const Value bias = graph.value(addend);
    if (!rewriter.private_to_one_reader(product) || graph.value(product).shape != y || bias.dtype != DType::kF32) continue;
    const auto maker = static_cast<size_t>(rewriter.producer(product));
    const Node& matmul = rewriter.node(maker);
    const bool has_bias = matmul.inputs.size() > 2 && matmul.inputs[2] != kNoValue;
    if (matmul.op() != OpKind::kMatMul || has_bias) continue;
    ValueId vector = addend;
    if (bias.kind == ValueKind::kConstant && !bias.shape.empty() && bias.shape.back() == y.back() && bias.constant->count() == y.back())
      vector = bias.shape.size() == 1 ? addend : graph.add_constant(bias.name + ".vector", bias.constant->reshaped({y.back()}));
    else if (bias.kind != ValueKind::kParameter || bias.shape != Shape{y.back()})
      continue;
    rewriter.set_input(maker, 2, vector);
    rewriter.absorb_into_producer(n, slot);
    return;
  }
}

// x^2 is x x, x^1 is x, x^(1/2) is the root: powers by a constant are dear, and everywhere in normalisations of old exports.
void simplify_power(const Graph& graph, Rewriter& rewriter, size_t n) {
  const Node& node = rewriter.node(n);
  if (std::get<BinaryAttrs>(node.attrs).kind != BinaryKind::kPow || !graph.is_constant(node.inputs[1])) return;
  const Value &x = graph.value(node.inputs[0]), &exponent = graph.value(node.inputs[1]);
  if (x.dtype != DType::kF32 || exponent.constant->count() != 1 || x.shape != graph.value(node.output).shape) return;
  const ValueId base = node.inputs[0];
  const float e = exponent.constant->data<float>()[0];
  if (e == 2.0f) rewriter.replace(n, BinaryAttrs{BinaryKind::kMul}, {base, base});
  if (e == 1.0f) rewriter.replace(n, UnaryAttrs{UnaryKind::kIdentity, 0, 0}, {base});
  if (e == 0.5f) rewriter.replace(n, UnaryAttrs{UnaryKind::kSqrt, 0, 0}, {base});
}

}  // namespace

void simplify(Graph& graph, const std::vector<ValueId>& keep) {
  Rewriter rewriter(graph, keep);
  for (size_t n = 0; n < rewriter.size(); ++n) {
    Node& node = rewriter.node(n);
    const Node* previous = previous_node(rewriter, node);
    switch (node.op()) {
      case OpKind::kReshape:
        if (previous && previous->op() == OpKind::kReshape) rewriter.set_input(n, 0, previous->inputs[0]);
        break;
      case OpKind::kTranspose:
        if (previous && previous->op() == OpKind::kTranspose) {
          const auto& inner = std::get<TransposeAttrs>(previous->attrs).perm;
          for (int64_t& axis : std::get<TransposeAttrs>(node.attrs).perm) axis = inner[static_cast<size_t>(axis)];
          rewriter.set_input(n, 0, previous->inputs[0]);
        }
        break;
      case OpKind::kSlice:
        if (previous && previous->op() == OpKind::kSlice)
          rewriter.replace(n, joined(std::get<SliceAttrs>(previous->attrs), std::get<SliceAttrs>(node.attrs)), previous->inputs);
        break;
      case OpKind::kConv:
      case OpKind::kPool: merge_pad(rewriter, n); break;
      case OpKind::kBinary:
        simplify_power(graph, rewriter, n);
        if (node.op() == OpKind::kBinary) merge_bias(graph, rewriter, n);
        break;
      default: break;
    }
    if (!rewriter.removed(n) && does_nothing(graph, node)) rewriter.bypass(n);
  }
  rewriter.commit();
}

}  // namespace actmatch
