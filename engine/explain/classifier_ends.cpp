#include "engine/explain/classifier_ends.h"

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

// Number of classes when the shape is [N, K] or [N, K, 1, 1, ...]; 0 otherwise.
int64_t classes_of(const Shape& shape, int64_t batch) {
  if (shape.size() < 2 || shape[0] != batch) return 0;
  for (size_t i = 2; i < shape.size(); ++i)
    if (shape[i] != 1) return 0;
  return shape[1];
}

}  // namespace

ClassifierEnds find_ends(const Graph& graph) {
  ClassifierEnds ends;
  for (ValueId v : graph.inputs()) {
    const Value& value = graph.value(v);
    if (value.dtype != DType::kF32 || value.shape.size() != 4) continue;
    const bool channels_first = value.shape[1] == 1 || value.shape[1] == 3;
    if (!channels_first || value.shape[2] < 2 || value.shape[3] < 2) continue;
    if (ends.input != kNoValue)
      throw Error(ErrorCode::kUnsupported,
                  "the model has several image inputs (" + describe_inputs(graph) + "); an explanation needs exactly one");
    ends.input = v;
  }
  if (ends.input == kNoValue) {
    for (ValueId v : graph.inputs()) {
      const Shape& s = graph.value(v).shape;
      if (s.size() == 4 && (s[3] == 1 || s[3] == 3))
        throw Error(ErrorCode::kUnsupported, "the input '" + graph.value(v).name + "' is " + to_string(s) +
                                                 ", channels last; export the model with NCHW input (N, channels, height, width)");
    }
    throw Error(ErrorCode::kUnsupported, "the model has no image-like input (N x 1 or 3 channels x H x W, float); its inputs: " +
                                             describe_inputs(graph) + "; actmatch explains image classifiers");
  }
  if (graph.inputs().size() > 1)
    throw Error(ErrorCode::kUnsupported,
                "the model has inputs beside the image (" + describe_inputs(graph) + "); make them constants when exporting");
  const Shape& image = graph.value(ends.input).shape;
  ends.shape.input_name = graph.value(ends.input).name;
  ends.shape.channels = image[1];
  ends.shape.height = image[2];
  ends.shape.width = image[3];
  for (ValueId v : graph.outputs()) {
    const int64_t classes = classes_of(graph.value(v).shape, image[0]);
    if (classes < 2 || graph.value(v).dtype != DType::kF32) continue;
    ends.logits = v;
    ends.shape.classes = classes;
    ends.shape.output_name = graph.value(v).name;
    break;
  }
  if (ends.logits == kNoValue) {
    std::string outputs;
    for (ValueId v : graph.outputs())
      outputs += (outputs.empty() ? "" : ", ") + ("'" + graph.value(v).name + "' " + to_string(graph.value(v).shape));
    throw Error(ErrorCode::kUnsupported,
                "the model has no output of class scores (N x classes, at least 2 classes); its outputs: " + outputs);
  }
  // A trailing softmax, perhaps behind reshapes: the losses want its argument.
  ValueId v = ends.logits;
  while (graph.value(v).producer >= 0) {
    const Node& node = graph.node(graph.value(v).producer);
    if (node.op() == OpKind::kSoftmax) {
      const Shape& shape = graph.value(node.inputs[0]).shape;
      const auto axis = static_cast<size_t>(std::get<SoftmaxAttrs>(node.attrs).axis);
      if (classes_of(shape, image[0]) == ends.shape.classes && axis == 1) {
        ends.logits = node.inputs[0];
        ends.shape.ends_in_softmax = true;
      }
      break;
    }
    if (node.op() != OpKind::kReshape) break;
    v = node.inputs[0];
  }
  return ends;
}

}  // namespace actmatch
