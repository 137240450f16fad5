#include "engine/explain/classifier.h"

#include <algorithm>
#include <cmath>

#include "engine/backend/trace_range.h"
#include "engine/core/error.h"
#include "engine/explain/tap_nodes.h"

namespace actmatch {

namespace {

// Bytes of activations that the busiest operator reads and writes.
size_t busiest_bytes(const Graph& graph) {
  size_t most = 0;
  for (const Node& node : graph.nodes()) {
    size_t bytes = 0;
    const auto add = [&](ValueId v) {
      if (v == kNoValue || graph.value(v).kind != ValueKind::kActivation) return;
      bytes += static_cast<size_t>(element_count(graph.value(v).shape)) * size_of(graph.value(v).dtype);
    };
    for (ValueId v : node.inputs) add(v);
    add(node.output);
    most = std::max(most, bytes);
  }
  return most;
}

void run(Classifier::Training::Pass& pass, Backend& backend, const std::function<void()>& body) {
  if (pass.recording) {
    pass.recording->replay();
  } else if (pass.was_run) {
    pass.recording = backend.record(body);
  } else {
    body();
    pass.was_run = true;
  }
}

}  // namespace

void Classifier::Training::forward(Backend& backend) {
  run(forward_pass, backend, [p = program.get()] { p->forward(); });
}
void Classifier::Training::backward(Backend& backend) {
  run(backward_pass, backend, [p = program.get()] { p->backward(); });
}

Classifier::Classifier(Backend& backend, GraphSource source, Head head, int64_t label)
    : backend_(backend), source_(std::move(source)), head_(head), label_(label), max_batch_(backend.preferred_batch()) {
  Graph graph = source_(1, {});
  shape_ = decide(graph).shape;
  if (const size_t quick = backend.quick_bytes(), each = busiest_bytes(graph); quick > 0)
    while (max_batch_ > 1 && each * static_cast<size_t>(max_batch_) > quick) max_batch_ /= 2;
}

ClassifierEnds Classifier::decide(Graph& graph) const {
  ClassifierEnds ends = find_ends(graph, head_);
  if (ends.shape.head == Head::kSigmoid && label_ == kAllLabels)
    ends.shape.classes = ends.shape.labels;
  else
    add_decision(graph, ends, label_);
  return ends;
}

Classifier::TapView Classifier::Training::tap(size_t i) const {
  const Shape& s = graph.value(taps[i]).shape;
  if (s.size() == 3) return {s[2], s[1], kernels::ChannelOrder::kLast};
  return {s[1], s[2] * s[3], program->order(taps[i])};
}

Classifier::Training Classifier::compile(int64_t batch, const std::vector<std::string>& taps, bool gradients, bool in_place,
                                         int64_t pictures) {
  Training t{source_(batch, taps), {}, {}, nullptr};
  t.ends = decide(t.graph);
  for (const std::string& name : taps) {
    const ValueId v = t.graph.find(name);
    if (v == kNoValue)
      throw Error(ErrorCode::kInvalidArgument, "the model has no value '" + name + "' to tap; 'actmatch inspect MODEL' lists the taps");
    require_tap(t.graph, v);
    t.taps.push_back(v);
  }
  t.graph.set_outputs({t.ends.logits});
  drop_after(t.graph, t.ends.logits, t.taps);
  CompileOptions options;
  options.exposed = t.taps;
  if (in_place) {
    options.in_place = t.taps;
    options.in_place.insert(options.in_place.end(), {t.ends.input, t.ends.logits});
  }
  options.pictures = pictures;
  if (gradients) {
    options.gradients.seeds = t.taps;
    options.gradients.seeds.push_back(t.ends.logits);
    options.gradients.wanted = {t.ends.input};
  }
  t.program = backend_.compile(t.graph, options);
  return t;
}

Classifier::Training& Classifier::layer_program(const std::vector<std::string>& layers) {
  if (layer_program_.program && layers == layer_names_) return layer_program_;
  layer_program_ = {};  // first, so that there is room
  Training t{source_(1, layers), {}, {}, nullptr};
  t.ends = decide(t.graph);
  for (const std::string& name : layers) {
    const ValueId v = t.graph.find(name);
    if (v == kNoValue || t.graph.value(v).kind != ValueKind::kActivation || t.graph.value(v).dtype != DType::kF32)
      throw Error(ErrorCode::kInvalidArgument, "the model has no layer '" + name + "'; 'actmatch inspect MODEL' lists the taps");
    t.taps.push_back(v);
  }
  t.graph.set_outputs({t.ends.logits});
  drop_after(t.graph, t.ends.logits, t.taps);
  CompileOptions options;
  options.exposed = t.taps;
  options.gradients.seeds = {t.ends.logits};
  options.gradients.wanted = t.taps;
  options.gradients.wanted.push_back(t.ends.input);
  t.program = backend_.compile(t.graph, options);
  layer_names_ = layers;
  layer_program_ = std::move(t);
  return layer_program_;
}

Classifier::Training Classifier::compile_training(int64_t batch, const std::vector<std::string>& taps, int64_t pictures) {
  return compile(batch, taps, true, true, pictures);
}
Classifier::Training Classifier::compile_forward(int64_t batch, const std::vector<std::string>& taps) {
  return compile(batch, taps, false, true);
}

Classifier::Training& Classifier::forward_program(int64_t batch) {
  auto it = forward_programs_.find(batch);
  if (it == forward_programs_.end()) it = forward_programs_.emplace(batch, compile(batch, {}, false, false)).first;
  return it->second;
}

Classifier::Training& Classifier::gradient_program(int64_t batch) {
  auto it = gradient_programs_.find(batch);
  if (it == gradient_programs_.end()) it = gradient_programs_.emplace(batch, compile(batch, {}, true, false)).first;
  return it->second;
}

size_t Classifier::program_bytes() const {
  size_t bytes = 0;
  const auto add = [&](const Program& program) {
    const MemoryReport report = program.memory();
    bytes += report.arena_bytes + report.weight_bytes + report.exposed_bytes;
  };
  if (layer_program_.program) add(*layer_program_.program);
  for (const auto* programs : {&forward_programs_, &gradient_programs_})
    for (const auto& [batch, training] : *programs) add(*training.program);
  return bytes;
}

void Classifier::limit_batch(int64_t most) {
  max_batch_ = std::min(max_batch_, most);
  layer_program_ = {};
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
    const TraceRange range(backend_, "classifier, forward only");
    fill(t.program->data(t.ends.input), first, count);
    t.forward(backend_);
    backend_.download(out + first * shape_.classes, t.program->data(t.ends.logits), static_cast<size_t>(count * shape_.classes));
    images_run_ += count;
    first += count;
  }
}

void Classifier::back_to_images(int64_t n, const std::function<void(float*, int64_t, int64_t)>& fill,
                                const std::function<void(std::span<float>, int64_t)>& seed,
                                const std::function<void(const float*, int64_t, int64_t)>& take, bool two_sizes) {
  constexpr int64_t kMost = 8;
  const auto classes = static_cast<size_t>(shape_.classes);
  const int64_t batch = std::min({two_sizes && n > 1 ? kMost : n, kMost, max_batch_});
  Training& net = gradient_program(batch);
  std::vector<float> z(static_cast<size_t>(batch) * classes);
  for (int64_t first = 0; first < n; first += batch) {
    const int64_t count = std::min(batch, n - first);
    const TraceRange range(backend_, "classifier, forward and back");
    fill(net.program->data(net.ends.input), first, count);
    net.forward(backend_);
    backend_.download(z.data(), net.program->data(net.ends.logits), z.size());
    for (int64_t i = 0; i < count; ++i) seed(std::span(z).subspan(static_cast<size_t>(i) * classes, classes), first + i);
    std::fill(z.begin() + count * shape_.classes, z.end(), 0.0f);
    backend_.upload(net.program->gradient(net.ends.logits), z.data(), z.size());
    net.backward(backend_);
    images_run_ += count;
    gradients_run_ += count;
    take(net.program->gradient(net.ends.input), first, count);
  }
}

void Classifier::logits(float* out, const float* images, int64_t n) {
  logits_of(out, n, [&](float* input, int64_t first, int64_t count) {
    backend_.upload(input, images + first * image_floats(), static_cast<size_t>(count * image_floats()));
  });
}

std::vector<std::string> Classifier::automatic_taps(size_t limit) const {
  const Graph graph = source_(1, {});
  const ClassifierEnds ends = find_ends(graph, head_);
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
