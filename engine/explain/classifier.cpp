#include "engine/explain/classifier.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/explain/tap_nodes.h"

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

Classifier::Classifier(Backend& backend, GraphSource source)
    : backend_(backend), source_(std::move(source)), max_batch_(backend.preferred_batch()) {
  shape_ = find_ends(source_(1, {})).shape;
}

Classifier::Training Classifier::compile(int64_t batch, const std::vector<std::string>& taps, bool gradients, int64_t pictures) {
  Training t{source_(batch, taps), {}, {}, nullptr};
  t.ends = find_ends(t.graph);
  for (const std::string& name : taps) {
    const ValueId v = t.graph.find(name);
    if (v == kNoValue)
      throw Error(ErrorCode::kInvalidArgument, "the model has no value '" + name + "' to tap; 'actmatch inspect MODEL' lists the taps");
    t.taps.push_back(tap_view(t.graph, v));
  }
  t.graph.set_outputs({t.ends.logits});
  drop_after(t.graph, t.ends.logits, t.taps);
  CompileOptions options;
  options.exposed = t.taps;
  options.pictures = pictures;
  if (gradients) {
    options.gradients.seeds = t.taps;
    options.gradients.seeds.push_back(t.ends.logits);
    options.gradients.wanted = {t.ends.input};
  }
  t.program = backend_.compile(t.graph, options);
  return t;
}

Classifier::Training Classifier::compile_layers(int64_t batch, const std::vector<std::string>& layers) {
  Training t{source_(batch, layers), {}, {}, nullptr};
  t.ends = find_ends(t.graph);
  for (const std::string& name : layers) {
    const ValueId v = t.graph.find(name);
    if (v == kNoValue || t.graph.value(v).kind != ValueKind::kActivation || t.graph.value(v).dtype != DType::kF32)
      throw Error(ErrorCode::kInvalidArgument, "the model has no layer '" + name + "'; 'actmatch inspect MODEL' lists the taps");
    t.taps.push_back(v);
  }
  drop_after(t.graph, t.ends.logits, t.taps);
  CompileOptions options;
  options.exposed = t.taps;
  options.gradients.seeds = {t.ends.logits};
  options.gradients.wanted = t.taps;
  options.gradients.wanted.push_back(t.ends.input);
  t.program = backend_.compile(t.graph, options);
  return t;
}

Classifier::Training Classifier::compile_training(int64_t batch, const std::vector<std::string>& taps, int64_t pictures) {
  return compile(batch, taps, true, pictures);
}
Classifier::Training Classifier::compile_forward(int64_t batch, const std::vector<std::string>& taps) {
  return compile(batch, taps, false);
}

Classifier::Training& Classifier::forward_program(int64_t batch) {
  auto it = forward_programs_.find(batch);
  if (it == forward_programs_.end()) it = forward_programs_.emplace(batch, compile(batch, {}, false)).first;
  return it->second;
}

Classifier::Training& Classifier::gradient_program(int64_t batch) {
  auto it = gradient_programs_.find(batch);
  if (it == gradient_programs_.end()) it = gradient_programs_.emplace(batch, compile(batch, {}, true)).first;
  return it->second;
}

size_t Classifier::program_bytes() const {
  size_t bytes = 0;
  for (const auto* programs : {&forward_programs_, &gradient_programs_})
    for (const auto& [batch, training] : *programs) {
      const MemoryReport report = training.program->memory();
      bytes += report.arena_bytes + report.weight_bytes + report.exposed_bytes;
    }
  return bytes;
}

void Classifier::limit_batch(int64_t most) {
  max_batch_ = std::min(max_batch_, most);
  for (auto* programs : {&forward_programs_, &gradient_programs_}) programs->erase(programs->upper_bound(max_batch_), programs->end());
}

void Classifier::logits_of(float* out, int64_t n, const std::function<void(float*, int64_t, int64_t)>& fill) {
  for (int64_t first = 0; first < n;) {
    if (before_batch_) before_batch_();
    // Whole batches while they last, then powers of two: few sizes are ever compiled, and no image is computed for nothing.
    const int64_t left = n - first;
    int64_t count = max_batch_;
    while (count > left) count /= 2;
    Training& t = forward_program(count);
    fill(t.program->data(t.ends.input), first, count);
    t.program->forward();
    backend_.download(out + first * shape_.classes, t.program->data(t.ends.logits), static_cast<size_t>(count * shape_.classes));
    images_run_ += count;
    first += count;
  }
}

void Classifier::logits(float* out, const float* images, int64_t n) {
  logits_of(out, n, [&](float* input, int64_t first, int64_t count) {
    backend_.upload(input, images + first * image_floats(), static_cast<size_t>(count * image_floats()));
  });
}

std::vector<std::string> Classifier::automatic_taps(size_t limit) const {
  const Graph graph = source_(1, {});
  const ClassifierEnds ends = find_ends(graph);
  std::vector<std::string> names;
  for (ValueId v : find_taps(graph, ends.input, ends.logits, limit)) names.push_back(graph.value(v).name);
  return names;
}

std::vector<float> softmax(std::span<const float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  std::vector<float> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - top);
  for (float& v : p) v = static_cast<float>(v / sum);
  return p;
}

int32_t argmax(std::span<const float> values) {
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace actmatch
