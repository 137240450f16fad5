#include "engine/explain/classifier_ends.h"

#include <cmath>

#include "engine/core/error.h"

namespace actmatch {

namespace {

std::string describe_inputs(const Graph& graph) {
  std::string text;
  for (ValueId v : graph.inputs())
    text += (text.empty() ? "" : ", ") +
            ("'" + graph.value(v).name + "' " + to_string(graph.value(v).shape) + " " + name_of(graph.value(v).dtype));
  return text.empty() ? "none" : text;
}

struct Row {
  int64_t count = 0;  // of scores for each image; 0: this is no row of scores
  size_t axis = 1;    // that they lie on
};

// N x K with ones anywhere behind the batch (N x K x 1 x 1, N x 1 x 1 x K); N and N x 1 are one score for each image.
Row row_of(const Shape& shape, int64_t batch) {
  Row row{1, 1};
  if (shape.empty() || shape[0] != batch) return {};
  for (size_t i = 1; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    if (row.count != 1 || shape[i] < 1) return {};
    row = {shape[i], i};
  }
  return row;
}

bool is_unary(const Node& node, UnaryKind kind) { return node.op() == OpKind::kUnary && std::get<UnaryAttrs>(node.attrs).kind == kind; }

const Node* producer_of(const Graph& graph, ValueId v) {
  return graph.value(v).producer >= 0 ? &graph.node(graph.value(v).producer) : nullptr;
}

// z where the node is exp(z) / sum(exp(z)) over the scores: softmax as exporters of opsets before 13 write it.
ValueId written_out_softmax(const Graph& graph, const Node& node, int64_t batch) {
  if (node.op() != OpKind::kBinary || std::get<BinaryAttrs>(node.attrs).kind != BinaryKind::kDiv) return kNoValue;
  const Node *top = producer_of(graph, node.inputs[0]), *bottom = producer_of(graph, node.inputs[1]);
  if (!top || !bottom || !is_unary(*top, UnaryKind::kExp) || bottom->op() != OpKind::kReduce || bottom->inputs[0] != node.inputs[0])
    return kNoValue;
  const auto& reduce = std::get<ReduceAttrs>(bottom->attrs);
  const Row row = row_of(graph.value(node.inputs[0]).shape, batch);
  const bool whole_row = reduce.kind == ReduceKind::kSum && reduce.axes == std::vector<int64_t>{static_cast<int64_t>(row.axis)};
  return whole_row ? top->inputs[0] : kNoValue;
}

// Follows a row of scores back through what only moves it, to what makes probabilities of logits.
void find_logits(const Graph& graph, int64_t batch, ClassifierEnds& ends) {
  const int64_t scores = row_of(graph.value(ends.logits).shape, batch).count;
  ValueId v = ends.logits;
  while (const Node* node = producer_of(graph, v)) {
    const ValueId x = node->inputs[0];
    const Row row = x == kNoValue ? Row{} : row_of(graph.value(x).shape, batch);
    if (row.count != scores) return;
    if (node->op() == OpKind::kSoftmax && std::get<SoftmaxAttrs>(node->attrs).axis == static_cast<int64_t>(row.axis)) {
      ends.logits = x;
      ends.shape.ends_in_softmax = true;
      return;
    }
    if (is_unary(*node, UnaryKind::kSigmoid)) {
      ends.logits = x;
      ends.shape.ends_in_sigmoid = true;
      return;
    }
    if (const ValueId z = written_out_softmax(graph, *node, batch); z != kNoValue) {
      ends.logits = z;
      ends.shape.ends_in_softmax = true;
      return;
    }
    const bool moves = node->op() == OpKind::kReshape || node->op() == OpKind::kTranspose || is_unary(*node, UnaryKind::kIdentity);
    if (!moves && !is_unary(*node, UnaryKind::kLog)) return;  // a logarithm is looked behind: of a softmax it is log-softmax
    v = x;
  }
}

}  // namespace

const char* name_of(Head head) {
  switch (head) {
    case Head::kAuto: return "auto";
    case Head::kSoftmax: return "softmax";
    case Head::kSigmoid: return "sigmoid";
    case Head::kBinary: return "binary";
  }
  return "?";
}

Head head_of(const std::string& name) {
  for (Head head : {Head::kAuto, Head::kSoftmax, Head::kSigmoid, Head::kBinary})
    if (name == name_of(head)) return head;
  throw Error(ErrorCode::kInvalidArgument, "there is no head '" + name + "'; take auto, softmax, sigmoid or binary");
}

ClassifierEnds find_ends(const Graph& graph, Head head) {
  ClassifierEnds ends;
  for (ValueId v : graph.inputs()) {
    const Value& value = graph.value(v);
    if (value.dtype != DType::kF32 || value.shape.size() != 4) continue;
    const bool channels_first = value.shape[1] == 1 || value.shape[1] == 3;
    if (!channels_first || value.shape[2] < 2 || value.shape[3] < 2) continue;
    if (ends.input != kNoValue)
      throw Error(ErrorCode::kUnsupported,
                  "the model has several image inputs (" + describe_inputs(graph) +
                      "); say which one takes the picture (--input NAME) and what the others are (--fix NAME=VALUE)");
    ends.input = v;
  }
  if (ends.input == kNoValue)
    throw Error(ErrorCode::kUnsupported,
                "the model has no image-like input (N x 1 or 3 channels x H x W, or N x H x W x channels); its inputs: " +
                    describe_inputs(graph) + "; actmatch explains image classifiers");
  if (graph.inputs().size() > 1)
    throw Error(ErrorCode::kUnsupported, "the model has inputs beside the image (" + describe_inputs(graph) +
                                             "); say what they are (--fix NAME=VALUE), or make them constants when exporting");
  const Shape& image = graph.value(ends.input).shape;
  ends.shape.input_name = graph.value(ends.input).name;
  ends.shape.channels = image[1];
  ends.shape.height = image[2];
  ends.shape.width = image[3];
  ValueId single = kNoValue;  // an output of one score counts where there is no row
  for (ValueId v : graph.outputs()) {
    const Value& value = graph.value(v);
    const Row row = row_of(value.shape, image[0]);
    if (row.count < 1 || value.dtype != DType::kF32 || graph.is_constant(v)) continue;
    if (row.count == 1 && single == kNoValue) single = v;
    if (row.count < 2) continue;
    ends.logits = v;
    break;
  }
  if (ends.logits == kNoValue) ends.logits = single;
  if (ends.logits == kNoValue) {
    std::string outputs;
    for (ValueId v : graph.outputs())
      outputs += (outputs.empty() ? "" : ", ") + ("'" + graph.value(v).name + "' " + to_string(graph.value(v).shape));
    throw Error(ErrorCode::kUnsupported, "the model has no output of class scores (N x classes, or one score); its outputs: " + outputs +
                                             "; another value of the file can be taken with --output NAME");
  }
  ends.shape.output_name = graph.value(ends.logits).name;
  ends.shape.labels = row_of(graph.value(ends.logits).shape, image[0]).count;
  find_logits(graph, image[0], ends);
  const bool one = ends.shape.labels == 1;
  if (head == Head::kAuto) head = one ? Head::kBinary : ends.shape.ends_in_sigmoid ? Head::kSigmoid : Head::kSoftmax;
  if (head == Head::kSigmoid && one) head = Head::kBinary;
  if (one != (head == Head::kBinary))
    throw Error(ErrorCode::kInvalidArgument, std::string("the head '") + name_of(head) + "' does not fit the output '" +
                                                 ends.shape.output_name + "' of " + std::to_string(ends.shape.labels) +
                                                 (one ? " score; take binary" : " scores; take softmax or sigmoid"));
  if (ends.shape.ends_in_softmax && head != Head::kSoftmax)
    throw Error(ErrorCode::kInvalidArgument, std::string("the head '") + name_of(head) + "' does not fit the output '" +
                                                 ends.shape.output_name + "', which ends in a softmax; take softmax");
  ends.shape.head = head;
  ends.shape.classes = head == Head::kSoftmax ? ends.shape.labels : 2;
  if (head == Head::kBinary) ends.shape.labels = 2;
  return ends;
}

void add_decision(Graph& graph, ClassifierEnds& ends, int64_t label) {
  if (ends.shape.head == Head::kSoftmax) return;
  const Shape shape = graph.value(ends.logits).shape;
  const int64_t batch = shape[0], scores = row_of(shape, batch).count;
  ACTMATCH_CHECK(scores > 0 && (scores == 1 || (label >= 0 && label < scores)), "a label that the model does not have");
  const std::string name = graph.value(ends.logits).name + "#";
  ValueId z = ends.logits;
  if (shape != Shape{batch, scores}) z = graph.add_node(name + "row", ReshapeAttrs{{batch, scores}}, {z});
  if (scores > 1) z = graph.add_node(name + "label", SliceAttrs{{0, label}, {1, 1}, {batch, 1}}, {z});
  const std::vector<float> sides{0.0f, 1.0f};
  const ValueId pair = graph.add_constant(name + "sides", Tensor::of<float>({1, 2}, sides));
  ends.logits = graph.add_node(name + "decision", BinaryAttrs{BinaryKind::kMul}, {z, pair});  // (0, z)
}

std::string find_own_normalisation(const Graph& graph, ValueId input) {
  const auto readers = graph.consumers();
  const auto channels = static_cast<size_t>(graph.value(input).shape[1]);
  std::vector<double> scale(channels, 1.0), shift(channels, 0.0);  // of the input, by channel
  bool found = false;
  // Element c of a constant of one element or one a channel; nothing for others.
  const auto by_channel = [&](ValueId v, auto action) {
    if (!graph.is_constant(v) || graph.value(v).dtype != DType::kF32) return false;
    const auto values = graph.value(v).constant->view<float>();
    if (values.size() != 1 && values.size() != channels) return false;
    for (size_t c = 0; c < channels; ++c) action(c, static_cast<double>(values[values.size() == 1 ? 0 : c]));
    return found = true;
  };
  for (ValueId v = input; readers[static_cast<size_t>(v)].size() == 1;) {
    const Node& node = graph.node(readers[static_cast<size_t>(v)][0]);
    bool follows = node.op() == OpKind::kTranspose || node.op() == OpKind::kCast || is_unary(node, UnaryKind::kIdentity);
    if (node.op() == OpKind::kScaleShift && node.inputs[0] == v)
      follows = by_channel(node.inputs[1], [&](size_t c, double s) { scale[c] *= s, shift[c] *= s; }) &&
                by_channel(node.inputs[2], [&](size_t c, double t) { shift[c] += t; });
    if (node.op() == OpKind::kBinary) {
      const bool first = node.inputs[0] == v;
      const ValueId other = node.inputs[first ? 1 : 0];
      switch (std::get<BinaryAttrs>(node.attrs).kind) {
        case BinaryKind::kAdd: follows = by_channel(other, [&](size_t c, double t) { shift[c] += t; }); break;
        case BinaryKind::kMul: follows = by_channel(other, [&](size_t c, double s) { scale[c] *= s, shift[c] *= s; }); break;
        case BinaryKind::kSub: follows = first && by_channel(other, [&](size_t c, double t) { shift[c] -= t; }); break;
        case BinaryKind::kDiv: follows = first && by_channel(other, [&](size_t c, double s) { scale[c] /= s, shift[c] /= s; }); break;
        default: break;
      }
    }
    if (!follows) break;
    v = node.output;
  }
  if (!found) return {};
  double size = 0, mean = 0;  // of a unit of the input, and the input that becomes 0
  for (size_t c = 0; c < channels; ++c) {
    size += std::abs(scale[c]) / static_cast<double>(channels);
    mean -= shift[c] / scale[c] / static_cast<double>(channels);
  }
  // 0..255 becomes a range of 1 to 8, or only loses its mean; 0..1 loses a mean inside of it and becomes wider.
  if (size > 0.9 / 255 && size < 8.0 / 255 && mean > -1 && mean < 200) return "raw";
  if (size > 0.9 && size < 1.1 && mean > 60 && mean < 180) return "raw";
  if (size > 1.5 && size < 12 && mean > 0.2 && mean < 0.8) return "unit";
  return {};
}

}  // namespace actmatch
