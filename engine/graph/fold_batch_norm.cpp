// Frozen batch norm, and whatever else multiplies and shifts the channels of a convolution by constants, moves into the weights:
//   s (w * x + b) + t = (s w) * x + (s b + t),   batch norm: s = gamma / sqrt(variance + epsilon), t = beta - s mean
// Computed in double and rounded once, so that the folded net is as close to the original as its weights' precision allows.
#include <cmath>
#include <optional>

#include "engine/graph/passes.h"
#include "engine/graph/rewriter.h"

namespace actmatch {
namespace {

struct Affine {  // by channel
  std::vector<double> scale, shift;
};

const float* constant_data(const Graph& graph, ValueId id) { return graph.value(id).constant->data<float>(); }

// The constants of a per-channel operand: broadcast over everything but the channel axis of x. A constant of one element counts too.
std::optional<std::vector<double>> channel_constant(const Graph& graph, ValueId id, const Shape& x) {
  if (!graph.is_constant(id) || graph.value(id).dtype != DType::kF32) return std::nullopt;
  const Shape& c = graph.value(id).shape;
  if (c.size() > x.size() || x.size() < 2) return std::nullopt;
  const size_t lead = x.size() - c.size();
  for (size_t i = 0; i < c.size(); ++i)
    if (c[i] != 1 && (lead + i != 1 || c[i] != x[1])) return std::nullopt;
  const Tensor& t = *graph.value(id).constant;
  std::vector<double> values(static_cast<size_t>(x[1]));
  for (size_t i = 0; i < values.size(); ++i) values[i] = t.data<float>()[t.count() == 1 ? 0 : i];
  return values;
}

// Which input is x where the node is y = scale x + shift.
size_t affine_slot(const Graph& graph, const Node& node) {
  return node.op() == OpKind::kBinary && graph.is_constant(node.inputs[0]) ? 1 : 0;
}

// Reads the node as y = scale x + shift.
std::optional<Affine> as_affine(const Graph& graph, const Node& node) {
  for (size_t i = 1; node.op() != OpKind::kBinary && i < node.inputs.size(); ++i)
    if (!graph.is_constant(node.inputs[i])) return std::nullopt;
  if (node.op() == OpKind::kBatchNorm) {
    const double epsilon = std::get<BatchNormAttrs>(node.attrs).epsilon;
    const float *gamma = constant_data(graph, node.inputs[1]), *beta = constant_data(graph, node.inputs[2]),
                *mean = constant_data(graph, node.inputs[3]), *variance = constant_data(graph, node.inputs[4]);
    Affine a;
    for (int64_t c = 0; c < graph.value(node.output).shape[1]; ++c) {
      a.scale.push_back(gamma[c] / std::sqrt(variance[c] + epsilon));
      a.shift.push_back(beta[c] - mean[c] * a.scale.back());
    }
    return a;
  }
  if (node.op() == OpKind::kScaleShift) {
    const auto scale = graph.value(node.inputs[1]).constant->view<float>(), shift = graph.value(node.inputs[2]).constant->view<float>();
    return Affine{{scale.begin(), scale.end()}, {shift.begin(), shift.end()}};
  }
  if (node.op() != OpKind::kBinary) return std::nullopt;
  const BinaryKind kind = std::get<BinaryAttrs>(node.attrs).kind;
  const size_t slot = affine_slot(graph, node);
  const bool constant_first = slot == 1;
  const Value &x = graph.value(node.inputs[slot]), &y = graph.value(node.output);
  if (x.shape != y.shape || x.dtype != DType::kF32 || y.dtype != DType::kF32) return std::nullopt;
  auto c = channel_constant(graph, node.inputs[1 - slot], x.shape);
  if (!c) return std::nullopt;
  const std::vector<double> zeros(c->size(), 0.0), ones(c->size(), 1.0);
  switch (kind) {
    case BinaryKind::kAdd: return Affine{ones, *c};
    case BinaryKind::kMul: return Affine{*c, zeros};
    case BinaryKind::kSub:
      if (constant_first) return Affine{std::vector<double>(c->size(), -1.0), *c};
      for (double& v : *c) v = -v;
      return Affine{ones, *c};
    case BinaryKind::kDiv:
      if (constant_first) return std::nullopt;
      for (double& v : *c) v = 1 / v;
      return Affine{*c, zeros};
    default: return std::nullopt;
  }
}

Tensor to_tensor(const std::vector<double>& values) {
  Tensor t(DType::kF32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) t.data<float>()[i] = static_cast<float>(values[i]);
  return t;
}

// The output channel that element i of a weight tensor contributes to.
size_t output_channel(const Node& conv, const Shape& w, int64_t i) {
  const int64_t row = i / (w[1] * w[2] * w[3]);
  if (conv.op() == OpKind::kConv) return static_cast<size_t>(row);
  const int64_t rows_per_group = w[0] / std::get<ConvTransposeAttrs>(conv.attrs).groups;
  return static_cast<size_t>(row / rows_per_group * w[1] + i / (w[2] * w[3]) % w[1]);
}

Tensor scaled_weights(const Node& conv, const Tensor& w, const Affine& affine) {
  Tensor scaled(DType::kF32, w.shape());
  const float* from = w.data<float>();
  float* to = scaled.data<float>();
  const int64_t plane = w.shape()[2] * w.shape()[3];  // of one channel
  for (int64_t first = 0; first < w.count(); first += plane) {
    const double scale = affine.scale[output_channel(conv, w.shape(), first)];
    for (int64_t i = first; i < first + plane; ++i) to[i] = static_cast<float>(from[i] * scale);
  }
  return scaled;
}

bool is_frozen_conv(const Graph& graph, const Node& node) {
  if (node.op() != OpKind::kConv && node.op() != OpKind::kConvTranspose) return false;
  if (has_instances(graph.value(node.inputs[1]).shape)) return false;  // a channel's weights are many
  for (size_t i = 1; i < node.inputs.size(); ++i)
    if (node.inputs[i] != kNoValue && !graph.is_constant(node.inputs[i])) return false;
  return true;
}

class Folder {
 public:
  Folder(Graph& graph, const std::vector<ValueId>& keep, bool structure_only)
      : graph_(graph), rewriter_(graph, keep), structure_only_(structure_only) {}

  void run() {
    for (size_t n = 0; n < rewriter_.size(); ++n) fold(n);
    rewriter_.commit();
  }

 private:
  void fold(size_t n) {
    const size_t slot = affine_slot(graph_, rewriter_.node(n));
    const bool is_batch_norm = rewriter_.node(n).op() == OpKind::kBatchNorm;
    const bool alone = rewriter_.private_to_one_reader(rewriter_.node(n).inputs[slot]);
    const auto previous = alone ? static_cast<size_t>(rewriter_.producer(rewriter_.node(n).inputs[slot])) : 0;
    const bool behind_conv = alone && is_frozen_conv(graph_, rewriter_.node(previous));
    const bool behind_affine = alone && rewriter_.node(previous).op() == OpKind::kScaleShift;
    if (!is_batch_norm && !behind_conv && !behind_affine) return;  // elsewhere the channels may be more than there is memory for
    const std::optional<Affine> affine = as_affine(graph_, rewriter_.node(n));
    if (!affine) return;
    if ((behind_conv && scale_conv(previous, *affine)) || (behind_affine && scale_scale_shift(previous, *affine)))
      return rewriter_.absorb_into_producer(n, slot);
    if (is_batch_norm) set_scale_shift(n, *affine);
  }

  ValueId add(const std::string& name, Tensor tensor) {
    return graph_.add_computed_constant(name, std::make_shared<const Tensor>(std::move(tensor)));
  }

  // These are as long as what the batch norm had: nothing is asked for them.
  void set_scale_shift(size_t n, const Affine& affine) {
    const std::string name = rewriter_.node(n).name;
    const ValueId x = rewriter_.node(n).inputs[0];
    const ValueId scale = add(name + ".scale", to_tensor(affine.scale));
    const ValueId shift = add(name + ".shift", to_tensor(affine.shift));
    rewriter_.replace(n, ScaleShiftAttrs{}, {x, scale, shift});
  }

  // False where weights that many convolutions share would be copied too often.
  bool scale_conv(size_t n, const Affine& affine) {
    const Node& conv = rewriter_.node(n);
    std::shared_ptr<const Tensor> w = graph_.value(conv.inputs[1]).constant;
    if (!structure_only_) {
      if (!graph_.afford({2 * w->count(), static_cast<int64_t>(w->bytes())})) return false;
      w = std::make_shared<const Tensor>(scaled_weights(conv, *w, affine));
    }
    std::vector<double> bias = affine.shift;
    if (conv.inputs.size() > 2 && conv.inputs[2] != kNoValue)
      for (size_t c = 0; c < bias.size(); ++c) bias[c] += affine.scale[c] * constant_data(graph_, conv.inputs[2])[c];
    const ValueId new_weight = graph_.add_computed_constant(conv.name + ".folded_weight", std::move(w));
    const ValueId new_bias = add(conv.name + ".folded_bias", to_tensor(bias));
    rewriter_.set_input(n, 1, new_weight);
    rewriter_.set_input(n, 2, new_bias);
    return true;
  }

  bool scale_scale_shift(size_t n, const Affine& affine) {
    std::optional<Affine> first = as_affine(graph_, rewriter_.node(n));
    if (!first) return false;
    for (size_t c = 0; c < first->scale.size(); ++c) {
      first->scale[c] *= affine.scale[c];
      first->shift[c] = first->shift[c] * affine.scale[c] + affine.shift[c];
    }
    set_scale_shift(n, *first);
    return true;
  }

  Graph& graph_;
  Rewriter rewriter_;
  bool structure_only_;
};

}  // namespace

void fold_batch_norm(Graph& graph, const std::vector<ValueId>& keep, bool structure_only) { Folder(graph, keep, structure_only).run(); }

}  // namespace actmatch
